"""Thresholds derived from the false alerts that a site accepts.

The people of a cohort, who are not on the list, are scored as if they visited; the tail of these scores says how often
somebody reaches a threshold, and how sure that is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

LOWEST, HIGHEST, STEP = 0.35, 0.7, 0.005
"""The thresholds to choose from. With one photo and one look, 1 % of those who are listed score below the lowest, and
60 % below the highest."""
LEARNT_VISITS = 1000
"""How many visits a histogram must hold to be believed rather than the cohort."""
BINS = 400
"""Steps of a histogram over scores of -1 to 1."""

_CONFIDENT = 1.645
"""Standard deviations above the mean that are exceeded once in twenty times."""
_SUPPORT = 5
"""So many visits must have reached a threshold for their share to be an estimate."""
_TAIL = 0.1
"""The share of the scores that the tail is fitted to."""
_SHORTEST = 1e-3
"""The least decay of a tail, in score: scores that are all alike say nothing of what lies above."""

Basis = Literal["measured", "extrapolated", "learnt"]


def visit_scores(gallery: Gallery, cohort: Cohort) -> NDArray[np.float32]:
    """Score each person of ``cohort`` against each entry, as if it visited with one look, (M, entries).

    Where this cohort normalises the gallery, a visitor is left out of it, for its own offset and for the templates':
    otherwise up to 1.6 times as many visits reach a threshold as was expected. Several looks, of different days,
    reached one up to 1.7 times as often as one look did.
    """
    known = gallery.cohort
    if known is None or not len(gallery) or not np.array_equal(known.templates, cohort.templates):
        return gallery.matrix(cohort.templates)
    cosines = cohort.templates @ gallery.templates.T - known.offsets_without_each(gallery.templates).T
    scores: NDArray[np.float32] = np.maximum.reduceat(cosines, gallery.starts, axis=1)
    return scores - known.own_offsets[:, None]


class ImpostorHistogram:
    """Counts of non-mated scores, the only form in which a running system remembers any.

    A score beyond -1 or 1 counts as that.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add(self, scores: NDArray[np.floating]) -> None:
        """Count ``scores`` (N,). Raises ValueError when one is not finite."""
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
        steps = ((np.asarray(scores, np.float64) + 1) * (BINS / 2)).astype(np.intp)
        self.counts += np.bincount(np.clip(steps, 0, BINS - 1), minlength=BINS)

    def merge(self, other: "ImpostorHistogram") -> None:
        """Count what ``other`` has counted, too."""
        self.counts += other.counts

    def __bytes__(self) -> bytes:
        """Give a first bin, and the counts from it to the last that is not zero: little-endian, 2 and 4 bytes each."""
        used = np.flatnonzero(self.counts)
        if not used.size:
            return b""
        counts = np.minimum(self.counts[used[0] : used[-1] + 1], np.iinfo(np.uint32).max)
        return np.array(used[0], "<u2").tobytes() + counts.astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ImpostorHistogram":
        """Read what ``bytes`` gave. Raises ValueError for anything else."""
        histogram = cls()
        if not data:
            return histogram
        first, rest = int.from_bytes(data[:2], "little"), len(data) - 2
        if rest <= 0 or rest % 4 or first + rest // 4 > BINS:
            raise ValueError(f"{len(data)} bytes are no histogram of {BINS} bins")
        histogram.counts[first : first + rest // 4] = np.frombuffer(data, "<u4", offset=2)
        return histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositiveRate:
    """How often somebody who is not on the list reaches a threshold."""

    point: float
    """Share of visits, the best estimate."""
    upper: float
    """Share of visits that is not exceeded, with 95 % confidence."""
    basis: Literal["measured", "extrapolated"]
    """Whether at least five visits reached it, or it lies beyond what they say and follows from the tail's decay."""


class ImpostorTail:
    """The upper tail of non-mated scores: peaks over a threshold, which decay exponentially.

    An exponential rather than a generalised Pareto tail: cosines end at 1, so it errs on the safe side, and the third
    parameter cannot be had from so few. On held-out people, rates of 1e-3 to 1e-4 came out .2 to 1.4 times as high as
    was said with it, and up to 20 times with a generalised Pareto tail. Source: Coles, "An Introduction to Statistical
    Modeling of Extreme Values" (2001), 4.
    """

    def __init__(self, scores: NDArray[np.floating], counts: NDArray[np.integer], width: float) -> None:
        self._within = max(width / 2 - 1e-9, 0.0)
        kept = np.flatnonzero(counts)
        order = kept[np.argsort(-scores[kept])]
        self._scores, self._reached = scores[order].astype(np.float64), np.cumsum(counts[order])
        self._total = int(self._reached[-1]) if order.size else 0
        if self._total < _SUPPORT / _TAIL:
            raise ValueError(f"{self._total} scores are too few to tell a tail")
        # The tail begins where the bin of its lowest score does, or at the next score where there are no bins.
        place = min(int(np.searchsorted(self._reached, _TAIL * self._total)), len(order) - 1)
        self._peaks = int(self._reached[place])
        self._from = float(self._scores[min(place + 1, len(order) - 1)]) + width / 2
        mean = float(np.average(self._scores[: place + 1], weights=counts[order][: place + 1]))
        self._decay = max(mean - self._from, _SHORTEST)

    @classmethod
    def of_scores(cls, scores: NDArray[np.floating]) -> "ImpostorTail":
        """Fit one score (N,) of each visit. Raises ValueError when there are fewer than fifty."""
        return cls(scores, np.ones(len(scores), np.int64), 0.0)

    @classmethod
    def of_histogram(cls, histogram: ImpostorHistogram) -> "ImpostorTail":
        """Fit counted scores. Raises ValueError when there are fewer than fifty."""
        return cls((np.arange(BINS) + 0.5) * (2 / BINS) - 1, histogram.counts, 2 / BINS)

    def rate(self, threshold: float) -> FalsePositiveRate:
        """Tell how often a visit reaches ``threshold``; a bin that it divides counts as reaching it."""
        place = int(np.searchsorted(-self._scores, self._within - threshold, side="right"))
        reached = int(self._reached[place - 1]) if place else 0
        if reached >= _SUPPORT:
            return FalsePositiveRate(
                point=reached / self._total, upper=_wilson_upper(reached, self._total), basis="measured"
            )
        decays = max(threshold - self._from, 0.0) / self._decay
        slowest = 1 + _CONFIDENT / np.sqrt(self._peaks)
        return FalsePositiveRate(
            point=self._peaks / self._total * float(np.exp(-decays)),
            upper=_wilson_upper(self._peaks, self._total) * float(np.exp(-decays / slowest)),
            basis="extrapolated",
        )


def _wilson_upper(errors: int, trials: int) -> float:
    """One-sided upper bound of a share; Wilson, "Probable inference" (1927)."""
    square = _CONFIDENT**2
    spread = _CONFIDENT * np.sqrt(errors * (trials - errors) / trials + square / 4)
    return float((errors + square / 2 + spread) / (trials + square))


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessRow:
    """How a threshold treats the groups of an evaluation."""

    threshold: float
    worst_over_mean: float
    """FPIR of the worst group over the mean of all groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A category's threshold and what it promises."""

    threshold: float | None = None
    """None where nothing can be derived, and all else is None too."""
    expected: float | None = None
    """False alerts a week at that threshold, the best estimate."""
    upper: float | None = None
    """False alerts a week that are not exceeded, with 95 % confidence."""
    basis: Basis | None = None
    """Whether that is counted, extrapolated beyond what could be counted, or learnt from the site's own visits."""
    problem: str = ""
    """Sentences that say which demand is not met; empty where all are."""


def derive(
    galleries: Mapping[str, Gallery],
    accepted: Mapping[str, float],
    *,
    cohort: Cohort | None,
    visits_a_week: float,
    learnt: Mapping[str, ImpostorHistogram] | None = None,
    fairness: Sequence[FairnessRow] = (),
    worst_group: float | None = None,
) -> dict[str, Derived]:
    """Derive the threshold of each category from the false alerts a week that are ``accepted`` for it.

    It is the lowest from which on so many are not exceeded with 95 % confidence. They are ``visits_a_week``, of people
    who are not on the list, times the share that reaches the threshold against anybody of the category's gallery.
    ``learnt`` holds each visit's best score with a category as it is listed now, and is believed rather than the cohort
    from ``LEARNT_VISITS`` on. With ``worst_group``, a threshold is raised until the FPIR of the worst group is at most
    so many times the mean of all groups, as far as ``fairness`` tells.
    """
    if cohort is None:
        problem = "There is no cohort, so scores are plain cosines, and no threshold can be derived."
        return dict.fromkeys(accepted, Derived(problem=problem))
    found = {}
    for category, allowed in accepted.items():
        gallery, histogram = galleries.get(category), (learnt or {}).get(category)
        if gallery is None or not len(gallery):
            found[category] = Derived(problem="Nobody is listed, so no threshold can be derived.")
            continue
        known = histogram is not None and len(histogram) >= LEARNT_VISITS
        tail = (
            ImpostorTail.of_histogram(histogram)
            if histogram is not None and known
            else ImpostorTail.of_scores(visit_scores(gallery, cohort).max(axis=1))
        )
        lowest = _lowest(tail, allowed / visits_a_week)
        threshold, unfair = (lowest, "") if worst_group is None else _fair(lowest, fairness, worst_group)
        rate = tail.rate(threshold)
        upper = rate.upper * visits_a_week
        found[category] = Derived(
            threshold=threshold,
            expected=rate.point * visits_a_week,
            upper=upper,
            basis="learnt" if known else rate.basis,
            problem=" ".join(filter(None, (_too_many(upper, allowed), unfair))),
        )
    return found


def _thresholds(lowest: float) -> list[float]:
    return [float(step) for step in np.arange(round(lowest / STEP), round(HIGHEST / STEP) + 1) * STEP]


def _lowest(tail: ImpostorTail, share: float) -> float:
    """Give the threshold from which on no more than ``share`` of the visits reach it, or the highest there is."""
    choice = HIGHEST
    for threshold in reversed(_thresholds(LOWEST)):
        if tail.rate(threshold).upper > share:
            break
        choice = threshold
    return choice


def _too_many(upper: float, allowed: float) -> str:
    if upper <= allowed:
        return ""
    return (
        f"{allowed:g} false alerts a week cannot be promised: at a threshold of {HIGHEST:g}, which most of those who "
        f"are listed do not reach, there may be {upper:.2g}; list fewer people or accept more."
    )


def _fair(lowest: float, fairness: Sequence[FairnessRow], limit: float) -> tuple[float, str]:
    """Give the lowest threshold at which no group is too much worse off, and what is wrong if there is none."""
    rows = sorted(fairness, key=lambda row: row.threshold)
    if not rows:
        return lowest, "No evaluation says how groups compare."
    choice = next((t for t in _thresholds(lowest) if _worst_over_mean(rows, t) <= limit), None)
    if choice is None:
        worst = _worst_over_mean(rows, lowest)
        return lowest, f"The worst group has {worst:.1f} times the mean's false alerts, and {limit:g} are accepted."
    measured = rows[-1].threshold
    if choice > measured:
        return choice, f"How groups compare was measured up to a threshold of {measured:g} only."
    return choice, ""


def _worst_over_mean(rows: Sequence[FairnessRow], threshold: float) -> float:
    """Give the worse of the two rows around a threshold, the outermost beyond them all."""
    above = min(sum(row.threshold < threshold for row in rows), len(rows) - 1)
    below = max(sum(row.threshold <= threshold for row in rows) - 1, 0)
    return max(rows[above].worst_over_mean, rows[below].worst_over_mean)
