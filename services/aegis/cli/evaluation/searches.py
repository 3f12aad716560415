"""Watchlist identification as NIST's FRTE 1:N measures it: who is enrolled, who is searched, and what a search says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aegis.cli.evaluation.photos import Photo
from aegis.vision.error_rates import Rate, reaching, threshold_at
from aegis.vision.normalisation import MIN_PEOPLE, Cohort
from aegis.vision.scoring import Gallery, Look, best_evidence

COHORT_SHARE = 0.2
"""Of the people who are not enrolled, where no cohort is given."""
SEARCHES_EACH = 5
"""Photos of one person that are searched, so that nobody alone makes the figures."""
FPIRS = (1e-2, 3e-3, 1e-3)
MIN_COMPARED = 20
"""People with four photos from which on a second photo and a second look are compared with one."""
LOWEST = 0.0
"""A score that no site can set as its threshold; what is below it is the same as nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who plays which part; nobody plays two."""

    gallery: dict[str, list[Photo]]
    """Photos of each enrolled person, one that can be enrolled first."""
    strangers: dict[str, list[Photo]]
    cohort: NDArray[np.float32] | None
    """(M, D) of the people that were set aside, or None where they are too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the product would say of one photo, or of two looks at one person."""

    person: str
    groups: Mapping[str, str]
    right: float
    """Score with which it points at the right person; -inf where it does not."""
    wrong: float
    """Score with which the face that the photo is of points at somebody else; -inf where it does not."""
    pointed: str
    """At whom, then."""
    beside: float | None
    """Greatest score with which another face of the photo points at somebody; None where there is no other.

    Nobody says who that face is, and it may be of somebody on the list: no error can be told from a success.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Mated and non-mated searches of one gallery."""

    enrolled: int
    """People in the gallery."""
    photos: int
    """Enrolled photos of each."""
    looks: int
    """Looks at each probe."""
    mated: list[Search]
    non_mated: list[Search]

    def threshold(self, fpir: float) -> float:
        return max(threshold_at(np.array([search.wrong for search in self.non_mated]), fpir), LOWEST)

    def fpir(self, threshold: float, expected: float | None = None) -> Rate:
        wrong = np.array([search.wrong for search in self.non_mated])
        share = None if expected is None else expected * len(wrong)
        return Rate(reaching(wrong, threshold), len(wrong), share)

    def fnir(self, threshold: float) -> Rate:
        right = np.array([search.right for search in self.mated])
        return Rate(len(right) - reaching(right, threshold), len(right))

    def misnamed(self, threshold: float) -> Rate:
        """Mated searches that point at somebody else."""
        return Rate(sum(search.wrong >= threshold for search in self.mated), len(self.mated))

    def beside(self, threshold: float) -> Rate:
        """Photos of strangers in which another face, of whom nobody says who it is, points at somebody."""
        scores = np.array([search.beside for search in self.non_mated if search.beside is not None])
        return Rate(reaching(scores, threshold), len(scores))


def needed(share: float) -> int:
    """Give the trials from which on a threshold of this share of errors can be told: it lets one through."""
    return math.ceil(1 / share - 1e-9)


def percent(share: float) -> str:
    """Write a share with two digits that say something."""
    value = 100 * share
    if value == 0:
        return "0 %"
    places = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:.{min(places, 6)}f} %"


def assign(
    photos: Sequence[Photo], size: int, only: tuple[str, str] | None, chance: np.random.Generator, *, own_cohort: bool
) -> Roles:
    """Draw who is enrolled, who is a stranger and, with ``own_cohort``, who is set aside as cohort.

    Enrolled are up to ``size`` people who have another photo; where nobody has, a third of the people. ``only`` is a
    column and the value that an enrolled photo has in it.
    """
    by_person: dict[str, list[Photo]] = {}
    for place in chance.permutation(len(photos)):
        by_person.setdefault(photos[place].listed.person, []).append(photos[place])
    ready = {person: own for person, found in by_person.items() if (own := _enrollable_first(found, only))}
    several = [person for person, own in ready.items() if len(own) > 1]
    chosen = several[:size] if several else list(ready)[: min(size, len(by_person) // 3)]
    rest = [person for person in by_person if person not in set(chosen)]
    aside = rest[: int(COHORT_SHARE * len(rest))] if own_cohort else []
    templates = [t for person in aside if (t := _template(by_person[person])) is not None]
    return Roles(
        gallery={person: ready[person] for person in chosen},
        strangers={person: by_person[person] for person in rest[len(aside) :]},
        cohort=np.stack(templates) if len(templates) >= MIN_PEOPLE else None,
    )


def experiment(roles: Roles, cohort: Cohort | None) -> Experiment:
    """Search every photo as a frame: one enrolled photo, one look."""
    enrolled = {person: [own[0]] for person, own in roles.gallery.items()}
    gallery = _gallery(enrolled, cohort)
    mated = [
        _search(gallery, photo, person, [[look] for look in photo.looks])
        for person, own in roles.gallery.items()
        for photo in own[1 : 1 + SEARCHES_EACH]
    ]
    non_mated = [
        _search(gallery, photo, person, [[look] for look in photo.looks])
        for person, own in roles.strangers.items()
        for photo in own[:SEARCHES_EACH]
    ]
    return Experiment(enrolled=len(gallery), photos=1, looks=1, mated=mated, non_mated=non_mated)


def compared(roles: Roles, cohort: Cohort | None, size: int) -> list[Experiment]:
    """One or two enrolled photos by one or two looks, with the same people and photos each time; empty if too few."""
    everybody = {person: _with_looks(own) for person, own in (*roles.gallery.items(), *roles.strangers.items())}
    able = {person: pair for person, own in everybody.items() if (pair := _two_and_rest(own))}
    chosen = dict(list(able.items())[:size])
    strangers = {p: pairs for p, own in everybody.items() if p not in chosen and (pairs := _pairs(own))}
    if len(chosen) < MIN_COMPARED or len(strangers) < MIN_COMPARED:
        return []
    done = []
    for count in (1, 2):
        gallery = _gallery({person: enrolled[:count] for person, (enrolled, _) in chosen.items()}, cohort)
        mated = [(person, pair) for person, (_, pairs) in chosen.items() for pair in pairs]
        non_mated = [(person, pair) for person, pairs in strangers.items() for pair in pairs]
        for looks in (1, 2):
            sets = [[_of_pair(gallery, person, pair, looks) for person, pair in those] for those in (mated, non_mated)]
            mated_done, non_mated_done = ([search for found in those for search in found] for those in sets)
            done.append(
                Experiment(enrolled=len(gallery), photos=count, looks=looks, mated=mated_done, non_mated=non_mated_done)
            )
    return done


def held_out(experiment: Experiment, fpir: float) -> tuple[Rate, Rate]:
    """FPIR and FNIR of each half of the people at the threshold that the other half asks for, together."""
    halves = [_half(experiment, number) for number in (0, 1)]
    thresholds = [half.threshold(fpir) for half in reversed(halves)]
    false = [half.fpir(threshold, fpir) for half, threshold in zip(halves, thresholds, strict=True)]
    missed = [half.fnir(threshold) for half, threshold in zip(halves, thresholds, strict=True)]
    return (
        Rate(sum(r.errors for r in false), sum(r.trials for r in false), fpir * len(experiment.non_mated)),
        Rate(sum(r.errors for r in missed), sum(r.trials for r in missed)),
    )


def _half(experiment: Experiment, number: int) -> Experiment:
    parts = []
    for searches in (experiment.mated, experiment.non_mated):
        order = {person: place for place, person in enumerate(dict.fromkeys(search.person for search in searches))}
        parts.append([search for search in searches if order[search.person] % 2 == number])
    return Experiment(
        enrolled=experiment.enrolled,
        photos=experiment.photos,
        looks=experiment.looks,
        mated=parts[0],
        non_mated=parts[1],
    )


def _enrollable_first(photos: list[Photo], only: tuple[str, str] | None) -> list[Photo]:
    for photo in photos:
        if photo.template is not None and (only is None or photo.listed.groups.get(only[0]) == only[1]):
            return [photo, *(other for other in photos if other is not photo)]
    return []


def _template(photos: list[Photo]) -> NDArray[np.float32] | None:
    return next((photo.template for photo in photos if photo.template is not None), None)


def _with_looks(photos: list[Photo]) -> list[Photo]:
    return [photo for photo in photos if photo.looks]


def _pairs(photos: list[Photo]) -> list[tuple[Photo, Photo]]:
    return list(zip(photos[0:SEARCHES_EACH:2], photos[1:SEARCHES_EACH:2], strict=False))


def _two_and_rest(photos: list[Photo]) -> tuple[list[Photo], list[tuple[Photo, Photo]]] | None:
    """Two photos to enrol and pairs of others to search; None where there are not enough."""
    enrolled = [photo for photo in photos if photo.template is not None][:2]
    pairs = _pairs([photo for photo in photos if photo not in enrolled])
    return (enrolled, pairs) if len(enrolled) == 2 and pairs else None  # noqa: PLR2004 -- two photos


def _gallery(enrolled: Mapping[str, Sequence[Photo]], cohort: Cohort | None) -> Gallery:
    rows = {person: [p.template for p in own if p.template is not None] for person, own in enrolled.items()}
    return Gallery.build({person: np.stack(templates) for person, templates in rows.items()}, cohort)


def _of_pair(gallery: Gallery, person: str, pair: tuple[Photo, Photo], looks: int) -> list[Search]:
    """Search the faces that two photos are of: each alone, or both as two looks at one person."""
    one, other = (photo.looks[0] for photo in pair)
    if looks == 1:
        return [_search(gallery, photo, person, [[look]]) for photo, look in zip(pair, (one, other), strict=True)]
    return [_search(gallery, pair[0], person, [[one, other]])]


def _search(gallery: Gallery, photo: Photo, person: str, faces: Sequence[Sequence[Look]]) -> Search:
    """Ask for each face of a photo, each with its looks, whom it shows."""
    right, wrong, pointed = -np.inf, -np.inf, ""
    beside = -np.inf if len(faces) > 1 else None
    for place, looks in enumerate(faces):
        found = best_evidence(gallery, looks, at_least=LOWEST)
        if not found:
            continue
        name, score = found[0][0], found[0][1].score
        if name == person:
            right = max(right, score)
        elif place == 0:
            wrong, pointed = score, name
        else:
            beside = max(beside if beside is not None else score, score)
    return Search(person=person, groups=photo.listed.groups, right=right, wrong=wrong, pointed=pointed, beside=beside)
