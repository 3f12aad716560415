"""What an evaluation computes, all of it: the figures behind the report, as data."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aegis.cli.evaluation.groups import Fairness, Grouping, fairness, groupings, uniform
from aegis.cli.evaluation.photos import Photo, templates
from aegis.cli.evaluation.searches import (
    FPIRS,
    Experiment,
    Roles,
    assign,
    compared,
    experiment,
    held_out,
    needed,
    percent,
)
from aegis.contracts.messages import Category
from aegis.runtime.progress import Progress
from aegis.vision.error_rates import Accuracy, Histogram, Rate, fold_accuracy, fold_pairs, pair_scores
from aegis.vision.normalisation import MIN_PEOPLE, Cohort
from aegis.vision.search import TemplateIndex

FARS = (1e-3, 1e-4, 1e-5)
FOLDS = 10
DRAWS = 10
"""Times that people are drawn, since at a low FPIR a few errors decide what one draw says. It is how Liao et al. do it,
"A Benchmark Study of Large-scale Unconstrained Face Recognition" (2014)."""
FOLD_PAIRS = 6000
DOUBTFUL = 0.5
"""Two people who score this much are more often one person under two names."""
SAME_PERSON = 0.6
"""The cosine from which the registry, too, keeps somebody out of a cohort for resembling somebody on the list."""
SAME_PHOTO = 0.9
"""The cosine from which two photos are one, cropped or compressed again; two photos of one person seldom reach it."""
BLOCK = 512
"""Photos compared with all others at a time, so that memory stays small."""
NO_RATE = Rate(0, 0, 0.0)
CURVE = np.geomspace(1e-6, 0.5, 60)
"""False alarm rates at which a curve is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What became of the photos before anything was compared."""

    unreadable: Rate
    no_face: Rate
    """Failure to detect, of the readable photos."""
    no_look: Rate
    """Failure to acquire, of the readable photos: no face was found, or none was usable."""
    flaws: dict[str, int]
    """Why faces were not usable; a photo can have several."""
    not_enrolled: Rate
    """Failure to enrol, of all photos."""
    refusals: dict[str, int]
    people_lost: int
    """People of whom no photo can be used for anything."""
    copies: int
    """Photos that are the same as one of another person, and were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtFar:
    """Pairs at one threshold."""

    wanted: float
    threshold: float
    """Infinite where there are fewer pairs than ``needed``; there is no rate then."""
    needed: int
    far: Rate
    missed: Rate
    """1 - TAR."""

    @property
    def told(self) -> bool:
        """Whether at least five errors set the threshold."""
        return self.far.supported


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Pairs of photos, by plain cosine."""

    photos: int
    people: int
    mated: int
    non_mated: int
    at: list[AtFar]
    folds: Accuracy | None
    """LFW-style; None where there are too few pairs."""
    curve: list[tuple[float, float, float | None]]
    """Threshold, FAR, and share of misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A watchlist at one threshold."""

    why: str
    threshold: float
    """Infinite where there are fewer searches than ``needed``; there is no rate then."""
    needed: int
    """Non-mated searches; none for a threshold that a site sets."""
    fpir: Rate
    fnir: Rate
    misnamed: Rate
    """Mated searches that point at somebody else."""
    beside: Rate
    """Photos of strangers in which another face, of whom nobody says who it is, points at somebody."""
    held_out: tuple[Rate, Rate] | None
    """FPIR and FNIR with thresholds that other people of the set asked for; each half has to have the ``needed``."""

    @property
    def told(self) -> bool:
        """Whether at least five errors set the threshold, or a site does."""
        return not self.needed or self.fpir.supported


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """Watchlist searches of one kind."""

    scores: str
    """"cosine" or "normalised"."""
    enrolled: int
    photos: int
    looks: int
    mated_people: int
    non_mated_people: int
    mated: int
    non_mated: int
    default: Point
    """At the threshold of a category that sets none."""
    points: list[Point]
    """At stated FPIRs."""
    curve: list[tuple[float, float, float | None]]
    """Threshold, FPIR, FNIR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Misses of one enrolled photo and one look at a stated FPIR, in several draws of who is enrolled."""

    wanted: float
    """The FPIR."""
    median: float
    """What half of the draws stay below: a draw in which somebody stands under two names can be far off."""
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The whole evaluation."""

    photos: int
    people: int
    enrol_only: str
    acquisition: Acquisition
    cohort_people: int
    cohort_left_out: int
    """Of a cohort that was given: people who resemble one of the photos as the same person would."""
    cohort_from: str
    verification: Verification | None
    identification: list[Identification]
    """One photo, one look: by plain cosine and, with a cohort, by normalised score."""
    redrawn: list[Spread]
    """By the score that the product would use, with others enrolled, searched and set aside; where FNIR is known."""
    compared: list[Identification]
    """One and two photos, one and two looks, by the score that the product would use."""
    doubtful: int
    """Pairs of people who look like one person under two names, and count as errors of the system."""
    groups: list[Grouping]
    uniform: list[str]
    """Columns with only one value, in which there is nothing to compare."""
    fairness: list[Fairness]


def compute(
    photos: Sequence[Photo],
    *,
    size: int,
    only: tuple[str, str] | None,
    given: Sequence[Photo] | None,
    seed: int,
    progress: Progress,
) -> tuple[Figures, list[str]]:
    """Compute everything; ``given`` are photos of a cohort, without which some of the people become one.

    The same ``seed`` gives the same figures. Besides them comes, for nobody but whoever has the photos, who may stand
    there under two names.
    """
    photos, copies = _without_copies(photos)
    rows, left_out = (None, 0) if given is None else _strangers_only(given, photos)
    always = None if rows is None else Cohort.build(rows)

    def drawn(chance: np.random.Generator) -> tuple[Roles, Cohort | None]:
        roles = assign(photos, size, only, chance, own_cohort=given is None)
        return roles, always if roles.cohort is None else Cohort.build(roles.cohort)

    def others() -> Iterator[Experiment]:
        for number in range(1, DRAWS):
            progress(f"drawing people {DRAWS} times", number, DRAWS)
            yield experiment(*drawn(np.random.default_rng([seed, number])))
        progress(f"drawing people {DRAWS} times", DRAWS, DRAWS)

    roles, cohort = drawn(np.random.default_rng(seed))
    kinds = [("cosine", None), *([("normalised", cohort)] if cohort else [])]
    tested = {name: experiment(roles, used) for name, used in kinds} if roles.gallery else {}
    product = tested.get(kinds[-1][0])
    verification, non_mated = _verification(photos, seed)
    groups = groupings(photos, product, non_mated)
    doubtful = _doubtful(product) if product else []
    figures = Figures(
        photos=len(photos),
        people=len({photo.listed.person for photo in photos}),
        enrol_only="=".join(only or ()),
        acquisition=_acquisition(photos, copies),
        cohort_people=len(cohort) if cohort else 0,
        cohort_left_out=left_out,
        cohort_from="people set aside" if given is None else "the folder that was given",
        verification=verification,
        identification=[_identification(name, found) for name, found in tested.items()],
        redrawn=_redrawn([product, *others()]) if product and product.mated else [],
        compared=[_identification(kinds[-1][0], found) for found in compared(roles, cohort, size)],
        doubtful=len(doubtful),
        groups=groups,
        uniform=uniform(photos),
        fairness=fairness(groups, product) if product else [],
    )
    return figures, doubtful


def _without_copies(photos: Sequence[Photo]) -> tuple[list[Photo], int]:
    """Leave out a photo that is the same as an earlier one of somebody else: a fault of the set, not of the system."""
    able = [place for place, photo in enumerate(photos) if photo.looks]
    vectors = np.stack([photos[place].looks[0].vector for place in able]) if able else np.empty((0, 1), np.float32)
    copies = set()
    for start in range(0, len(able), BLOCK):
        rows, earlier = np.nonzero(vectors[start : start + BLOCK] @ vectors[: start + BLOCK].T >= SAME_PHOTO)
        for row, other in zip(rows + start, earlier, strict=True):
            if other < row and photos[able[other]].listed.person != photos[able[row]].listed.person:
                copies.add(able[row])
    return [photo for place, photo in enumerate(photos) if place not in copies], len(copies)


def _doubtful(found: Experiment) -> list[str]:
    alike = sorted((search for search in found.non_mated if search.wrong >= DOUBTFUL), key=lambda s: -s.wrong)
    return list(dict.fromkeys(f"{search.person} and {search.pointed}" for search in alike))


def _strangers_only(given: Sequence[Photo], photos: Sequence[Photo]) -> tuple[NDArray[np.float32] | None, int]:
    """Give the templates (M, D) of a cohort's people without those who are on the photos, too; and how many those are.

    None where too few are left.
    """
    found = list(templates(given).values())
    faces = [look.vector for photo in photos for look in photo.looks]
    if not found or not faces:
        return (np.stack(found) if len(found) >= MIN_PEOPLE else None), 0
    rows, index = np.stack(found), TemplateIndex(np.stack(faces))
    known = np.unique(index.above(rows, None, SAME_PERSON)[0])
    kept = np.delete(rows, known, axis=0)
    return (kept if len(kept) >= MIN_PEOPLE else None), len(known)


def _acquisition(photos: Sequence[Photo], copies: int) -> Acquisition:
    readable = [photo for photo in photos if photo.refusal != "no picture"]
    usable = {photo.listed.person for photo in photos if photo.looks or photo.template is not None}
    return Acquisition(
        unreadable=Rate(len(photos) - len(readable), len(photos)),
        no_face=Rate(sum(not photo.looks and not photo.flaws for photo in readable), len(readable)),
        no_look=Rate(sum(not photo.looks for photo in readable), len(readable)),
        flaws=dict(Counter(flaw for photo in readable for flaw in photo.flaws).most_common()),
        not_enrolled=Rate(sum(photo.template is None for photo in photos), len(photos)),
        refusals=dict(Counter(photo.refusal for photo in photos if photo.refusal).most_common()),
        people_lost=len({photo.listed.person for photo in photos} - usable),
        copies=copies,
    )


def _verification(photos: Sequence[Photo], seed: int) -> tuple[Verification | None, Histogram]:
    """Compare the faces that the photos are of; gives the non-mated cosines too."""
    able = [photo for photo in photos if photo.looks]
    own: dict[str, list[int]] = {}
    for place, photo in enumerate(able):
        own.setdefault(photo.listed.person, []).append(place)
    if len(own) < 2:  # noqa: PLR2004 -- two people make a non-mated pair
        return None, Histogram()
    number = {person: place for place, person in enumerate(own)}
    vectors = np.stack([photo.looks[0].vector for photo in able])
    mated, non_mated = pair_scores(vectors, np.array([number[photo.listed.person] for photo in able], np.intp))
    found = Verification(
        photos=len(able),
        people=len(own),
        mated=mated.total,
        non_mated=non_mated.total,
        at=[_at_far(mated, non_mated, far) for far in FARS],
        folds=_folds(vectors, own, seed),
        curve=[
            (threshold, non_mated.reaching(threshold) / non_mated.total, _share_below(mated, threshold))
            for threshold in dict.fromkeys(non_mated.threshold_at(far) for far in CURVE)
        ],
    )
    return found, non_mated


def _at_far(mated: Histogram, non_mated: Histogram, far: float) -> AtFar:
    least = needed(far)
    if non_mated.total < least:
        return AtFar(wanted=far, threshold=math.inf, needed=least, far=NO_RATE, missed=NO_RATE)
    threshold = non_mated.threshold_at(far)
    false = Rate(non_mated.reaching(threshold), non_mated.total, far * non_mated.total)
    missed = Rate(mated.total - mated.reaching(threshold), mated.total)
    return AtFar(wanted=far, threshold=threshold, needed=least, far=false, missed=missed)


def _share_below(scores: Histogram, threshold: float) -> float | None:
    return 1 - scores.reaching(threshold) / scores.total if scores.total else None


def _folds(vectors: NDArray[np.float32], own: dict[str, list[int]], seed: int) -> Accuracy | None:
    folds = fold_pairs(own, FOLD_PAIRS, FOLDS, np.random.default_rng(seed))
    scored = []
    for fold in folds:
        one, other, mated = (np.array(column) for column in zip(*fold, strict=True))
        scored.append((np.einsum("ij,ij->i", vectors[one], vectors[other]), mated))
    return fold_accuracy(scored) if scored else None


def _identification(scores: str, found: Experiment) -> Identification:
    thresholds = dict.fromkeys(found.threshold(fpir) for fpir in CURVE)
    return Identification(
        scores=scores,
        enrolled=found.enrolled,
        photos=found.photos,
        looks=found.looks,
        mated_people=len({search.person for search in found.mated}),
        non_mated_people=len({search.person for search in found.non_mated}),
        mated=len(found.mated),
        non_mated=len(found.non_mated),
        default=_point(found, Category().threshold, "default threshold"),
        points=[_at_fpir(found, fpir) for fpir in FPIRS],
        curve=[
            (threshold, found.fpir(threshold).value or 0.0, found.fnir(threshold).value) for threshold in thresholds
        ],
    )


def _redrawn(draws: Sequence[Experiment]) -> list[Spread]:
    wanted = [fpir for fpir in FPIRS if all(len(found.non_mated) >= needed(fpir) for found in draws)]
    missed = {fpir: [found.fnir(found.threshold(fpir)).value or 0.0 for found in draws] for fpir in wanted}
    return [
        Spread(wanted=fpir, median=float(np.median(those)), least=min(those), most=max(those))
        for fpir, those in missed.items()
    ]


def _at_fpir(found: Experiment, fpir: float) -> Point:
    why, least = f"FPIR {percent(fpir)}", needed(fpir)
    if len(found.non_mated) >= least:
        return _point(found, found.threshold(fpir), why, fpir)
    return Point(
        why=why,
        threshold=math.inf,
        needed=least,
        fpir=NO_RATE,
        fnir=NO_RATE,
        misnamed=NO_RATE,
        beside=NO_RATE,
        held_out=None,
    )


def _point(found: Experiment, threshold: float, why: str, fpir: float | None = None) -> Point:
    return Point(
        why=why,
        threshold=threshold,
        needed=0 if fpir is None else needed(fpir),
        fpir=found.fpir(threshold, fpir),
        fnir=found.fnir(threshold),
        misnamed=found.misnamed(threshold),
        beside=found.beside(threshold),
        held_out=None if fpir is None or len(found.non_mated) < 2 * needed(fpir) else held_out(found, fpir),
    )
