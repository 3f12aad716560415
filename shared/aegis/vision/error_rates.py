"""The statistics of errors: rates with their intervals, thresholds, differences between groups, accuracy on pairs.

Terms and counts are those of ISO/IEC 19795-1 and, for groups, ISO/IEC 19795-10.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SUPPORT = 5.0
"""With fewer expected errors than this, a rate is hardly more than its interval."""
CONFIDENCE = 0.95
BINS = 20_000
"""Steps of a histogram over cosines of -1 to 1: a threshold is exact to 0.0001."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors among trials."""

    errors: int
    trials: int
    expected: float | None = None
    """Errors that were to be expected beforehand; None where the errors themselves are all that is known."""

    @property
    def value(self) -> float | None:
        """Share of errors, 0 to 1; None without trials."""
        return self.errors / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95 % interval; 0 to 1 without trials."""
        return clopper_pearson(self.errors, self.trials)

    @property
    def supported(self) -> bool:
        """Whether at least five errors were to be expected."""
        # A share that was chosen so that just five are expected may be rounded.
        return (self.errors if self.expected is None else self.expected) >= SUPPORT - 1e-9


@cache
def clopper_pearson(errors: int, trials: int) -> tuple[float, float]:
    """Exact 95 % interval of a binomial share.

    Source: Clopper, Pearson, "The use of confidence or fiducial limits" (1934). Trials count as independent; where
    they share people, the true interval is wider. Raises ImportError without scipy.
    """
    # Only an evaluation needs scipy, so nothing else pays for it; it publishes no types.
    beta = importlib.import_module("scipy.stats").beta
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, errors, trials - errors + 1)) if errors else 0.0
    high = float(beta.ppf(1 - tail, errors + 1, trials - errors)) if errors < trials else 1.0
    return low, high


def threshold_at(scores: NDArray[np.floating], rate: float) -> float:
    """Give the lowest threshold that at most this share of ``scores`` (N,) reaches; infinite without scores."""
    if not len(scores):
        return float("inf")
    allowed = int(rate * len(scores) + 1e-9)
    if allowed >= len(scores):
        return float(np.min(scores))
    highest = np.partition(scores, len(scores) - 1 - allowed)[len(scores) - 1 - allowed]
    return float(np.nextafter(highest, np.array(np.inf, highest.dtype)))


def reaching(scores: NDArray[np.floating], threshold: float) -> int:
    """Count the scores at or above a threshold."""
    return int((scores >= threshold).sum())


class Histogram:
    """Counts of cosines: all pairs of ten thousand photos are too many scores to keep."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)

    def add(self, scores: NDArray[np.floating]) -> None:
        steps = ((scores + 1) * (BINS / 2)).astype(np.int64)
        self.counts += np.bincount(np.clip(steps, 0, BINS - 1), minlength=BINS)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def reaching(self, threshold: float) -> int:
        """Count the scores at or above a threshold, as if each were at the lower edge of its step."""
        return int(self.counts[max(0, int(np.ceil((threshold + 1) * BINS / 2 - 1e-6))) :].sum())

    def threshold_at(self, rate: float) -> float:
        """Give the lowest edge of a step that at most this share of the scores reaches."""
        above = np.append(np.cumsum(self.counts[::-1])[::-1], 0)
        return int(np.argmax(above <= rate * self.total + 1e-9)) * 2 / BINS - 1


def pair_scores(vectors: NDArray[np.float32], people: NDArray[np.integer]) -> tuple[Histogram, Histogram]:
    """Compare every photo with every other: mated and non-mated cosines.

    ``vectors`` (N, D) are of unit length and show ``people`` (N,).
    """
    mated, non_mated = Histogram(), Histogram()
    rows = 512
    for start in range(0, len(vectors), rows):
        cosines = vectors[start : start + rows] @ vectors[start:].T
        same = people[start : start + rows, None] == people[None, start:]
        above = np.triu(np.ones(cosines.shape, bool), 1)
        mated.add(cosines[same & above])
        non_mated.add(cosines[~same & above])
    return mated, non_mated


@dataclass(frozen=True, slots=True)
class Disparity:
    """How differently groups fare, as ISO/IEC 19795-10 compares them."""

    worst: str
    best: str
    worst_over_best: float | None
    """None where the best group has no error at all."""
    worst_over_mean: float | None
    """Against the mean of the groups' rates; None where no group has an error."""
    supported: bool
    """Whether every group's rate is."""


def disparity(rates: Mapping[str, Rate]) -> Disparity | None:
    """Compare groups by their rates; None with fewer than two groups that have trials."""
    values = {group: rate.value for group, rate in rates.items() if rate.value is not None}
    if len(values) < 2:  # noqa: PLR2004 -- a comparison needs two
        return None
    worst, best = max(values, key=lambda group: values[group]), min(values, key=lambda group: values[group])
    mean = sum(values.values()) / len(values)
    return Disparity(
        worst=worst,
        best=best,
        worst_over_best=values[worst] / values[best] if values[best] else None,
        worst_over_mean=values[worst] / mean if mean else None,
        supported=all(rates[group].supported for group in values),
    )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of verification in folds."""

    mean: float
    deviation: float
    """Standard deviation over the folds."""
    errors: Rate
    """Wrong decisions over all folds."""


def fold_accuracy(folds: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]]) -> Accuracy:
    """Decide the pairs of each fold (scores (P,), mated (P,)) by the threshold that is best on all the others.

    Source: Huang et al., "Labeled Faces in the Wild" (2007), restricted view 2.
    """
    right = []
    for held in range(len(folds)):
        others = [fold for number, fold in enumerate(folds) if number != held]
        threshold = _best_threshold(np.concatenate([s for s, _ in others]), np.concatenate([m for _, m in others]))
        scores, mated = folds[held]
        right.append(int(((scores >= threshold) == mated).sum()))
    shares = [count / len(scores) for count, (scores, _) in zip(right, folds, strict=True)]
    trials = sum(len(scores) for scores, _ in folds)
    return Accuracy(float(np.mean(shares)), float(np.std(shares)), Rate(trials - sum(right), trials))


def _best_threshold(scores: NDArray[np.floating], mated: NDArray[np.bool_]) -> float:
    order = np.argsort(scores, kind="stable")
    ranked, is_mated = scores[order], mated[order]
    # Right if the threshold lies at the i-th score: the non-mated below it and the mated from it on.
    right = np.append(0, np.cumsum(~is_mated)) + np.append(np.cumsum(is_mated[::-1])[::-1], 0)
    best = int(np.argmax(right))
    if best in (0, len(ranked)):
        return float(ranked[0]) if best == 0 else float("inf")
    return (float(ranked[best - 1]) + float(ranked[best])) / 2


def fold_pairs(
    photos: Mapping[str, Sequence[int]], pairs: int, folds: int, chance: np.random.Generator
) -> list[list[tuple[int, int, bool]]]:
    """Draw folds that share no person, each with as many mated as non-mated pairs (photo, photo, mated).

    ``photos`` are the numbers of each person's photos. Gives ``pairs`` in all, or what there is; empty where a fold
    would have none.
    """
    people = sorted(photos)
    chance.shuffle(people)
    mated: list[list[tuple[int, int, bool]]] = [[] for _ in range(folds)]
    members: list[list[str]] = [[] for _ in range(folds)]
    # Those with most pairs first, each to the fold that has fewest, so that every fold can give its share.
    for person in sorted(people, key=lambda name: -len(photos[name])):
        own = [(a, b, True) for i, a in enumerate(photos[person]) for b in photos[person][i + 1 :]]
        fold = min(range(folds), key=lambda number: (len(mated[number]), len(members[number])))
        mated[fold].extend(own)
        members[fold].append(person)
    each = min([pairs // (2 * folds), *map(len, mated)])
    if not each or min(len(group) for group in members) < 2:  # noqa: PLR2004 -- two people make a non-mated pair
        return []
    drawn = []
    for own, group in zip(mated, members, strict=True):
        chosen = [own[i] for i in chance.choice(len(own), each, replace=False)]
        drawn.append(chosen + _strangers(group, photos, each, chance))
    return drawn


def _strangers(
    group: Sequence[str], photos: Mapping[str, Sequence[int]], count: int, chance: np.random.Generator
) -> list[tuple[int, int, bool]]:
    """Draw distinct non-mated pairs, or fewer than ``count`` where a small group has no more."""
    found: set[tuple[int, int]] = set()
    for _ in range(20 * count):
        if len(found) == count:
            break
        one, other = (group[i] for i in chance.choice(len(group), 2, replace=False))
        pair = (int(chance.choice(photos[one])), int(chance.choice(photos[other])))
        found.add((min(pair), max(pair)))
    return [(one, other, False) for one, other in sorted(found)]
