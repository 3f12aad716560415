"""Error rates of groups of people, side by side, as ISO/IEC 19795-10 asks for them.

The groups are columns of a CSV that somebody wrote for an evaluation set. Aegis itself never guesses what anybody is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aegis.cli.evaluation.photos import Photo
from aegis.cli.evaluation.searches import FPIRS, Experiment, Search, needed, percent
from aegis.vision.error_rates import SUPPORT, Disparity, Histogram, Rate, disparity, pair_scores, reaching

MIN_GROUP = 20
"""People below which a group is named and counted, and not compared."""
FMRS = (1e-3, 1e-4, 1e-5)
THRESHOLDS = tuple(round(0.2 + step / 100, 2) for step in range(61))
"""Of the table that `aegis calibrate` reads: every threshold that a site may sensibly set."""
TOO_OFTEN = 0.5
"""With an FPIR above this nobody would run a watchlist, so no rate at it is worth stating."""

Columns = tuple[str, ...]
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Each group's rate of one kind of error, and how they differ."""

    rates: dict[str, Rate]
    disparity: Disparity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtThreshold:
    """Groups at one threshold."""

    threshold: float
    why: str
    false: Comparison
    """FPIR, or FMR of pairs within the group."""
    missed: Comparison | None
    """FNIR, or FNMR; None without mated trials."""
    told: bool
    """Whether at least five errors of everybody set the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """One column, or the product of two."""

    columns: Columns
    people: dict[str, int]
    """Of each group that is compared."""
    small: dict[str, int]
    """Groups with too few people to be compared, and how many each has."""
    no_look: Comparison
    """Photos without a usable look."""
    not_enrolled: Comparison
    """Photos that cannot be enrolled."""
    searches: list[AtThreshold]
    """At each threshold that the searches can tell, as ``pairs`` are."""
    pairs: list[AtThreshold]
    lowest_fpir: float | None
    """The lowest at which every group expects at least five errors."""

    @property
    def name(self) -> str:
        return " and ".join(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """One line of the table that `aegis calibrate` reads."""

    threshold: float
    worst_over_mean: float
    column: str
    group: str
    """The worst one."""
    supported: bool
    unsupported: list[str]
    """Columns of which the data says too little at this threshold."""


def groupings(photos: Sequence[Photo], tested: Experiment | None, pairs: Histogram) -> list[Grouping]:
    """Compare the groups of each column with several values, and of the product of each two such columns.

    ``pairs`` are the cosines of all non-mated pairs, from which the thresholds for pairs come.
    """
    names = [column for column, values in _values(photos).items() if len(values) > 1]
    return [_grouping(photos, chosen, tested, pairs) for chosen in (*((n,) for n in names), *combinations(names, 2))]


def uniform(photos: Sequence[Photo]) -> list[str]:
    """Name the columns with only one value, in which there is nothing to compare."""
    return [column for column, values in _values(photos).items() if len(values) == 1]


def fairness(found: Sequence[Grouping], tested: Experiment) -> list[Fairness]:
    """Tell for each threshold by how much the worst group's FPIR exceeds the mean, in the worst of the columns."""
    wrong = {group.name: _scores(tested.non_mated, group.columns, group.people, "wrong") for group in found}
    table = []
    for threshold in THRESHOLDS:
        overall = tested.fpir(threshold).value or 0.0
        differing = {name: _false(scores, threshold, overall).disparity for name, scores in wrong.items()}
        rows = [
            Fairness(
                threshold=threshold,
                worst_over_mean=differ.worst_over_mean,
                column=name,
                group=differ.worst,
                supported=differ.supported,
                unsupported=[other for other, its in differing.items() if not (its and its.supported)],
            )
            for name, differ in differing.items()
            if differ and differ.worst_over_mean is not None
        ]
        if rows:
            # What is supported comes first: among a handful of errors, chance makes any difference.
            table.append(max(rows, key=lambda row: (row.supported, row.worst_over_mean)))
    return table


def _values(photos: Sequence[Photo]) -> dict[str, set[str]]:
    """Give the values that each column has, by the columns' names in order."""
    found: dict[str, set[str]] = {}
    for photo in photos:
        for column, value in photo.listed.groups.items():
            found.setdefault(column, set()).add(value)
    return dict(sorted(found.items()))


def _grouping(photos: Sequence[Photo], columns: Columns, tested: Experiment | None, pairs: Histogram) -> Grouping:
    members: dict[str, list[Photo]] = {}
    for photo in photos:
        if label := _label(photo.listed.groups, columns):
            members.setdefault(label, []).append(photo)
    people = {group: len({photo.listed.person for photo in members[group]}) for group in sorted(members)}
    large = {group: members[group] for group, count in people.items() if count >= MIN_GROUP}
    searches, lowest = _searches(tested, columns, large) if tested else ([], None)
    return Grouping(
        columns=columns,
        people={group: people[group] for group in large},
        small={group: count for group, count in people.items() if group not in large},
        no_look=_compare({g: Rate(sum(not photo.looks for photo in own), len(own)) for g, own in large.items()}),
        not_enrolled=_compare(
            {g: Rate(sum(photo.template is None for photo in own), len(own)) for g, own in large.items()}
        ),
        searches=searches,
        pairs=_pairs(large, pairs),
        lowest_fpir=lowest,
    )


def _searches(tested: Experiment, columns: Columns, groups: Iterable[str]) -> tuple[list[AtThreshold], float | None]:
    """Compare the groups' searches at stated FPIRs, the lowest that every group supports first."""
    groups = list(groups)
    wrong = _scores(tested.non_mated, columns, groups, "wrong")
    right = _scores(tested.mated, columns, groups, "right")
    least = min(map(len, wrong.values()), default=0)
    lowest = SUPPORT / least if least and SUPPORT / least <= TOO_OFTEN else None
    known = len(tested.non_mated)
    points = [(fpir, f"FPIR {percent(fpir)} over everybody") for fpir in FPIRS if known >= needed(fpir)]
    if lowest is not None:
        points.insert(0, (lowest, f"FPIR {percent(lowest)}, the lowest at which every group expects five errors"))
    found = []
    for fpir, why in points:
        threshold = tested.threshold(fpir)
        missed = _compare({g: Rate(len(s) - reaching(s, threshold), len(s)) for g, s in right.items()})
        found.append(
            AtThreshold(
                threshold=threshold,
                why=why,
                false=_false(wrong, threshold, fpir),
                missed=missed if any(map(len, right.values())) else None,
                told=Rate(0, known, fpir * known).supported,
            )
        )
    return found, lowest


def _pairs(groups: Mapping[str, Sequence[Photo]], everybody: Histogram) -> list[AtThreshold]:
    """Compare pairs of photos within each group at thresholds of stated FMRs over everybody."""
    if not everybody.total:
        return []
    within = {}
    for group, photos in groups.items():
        able = [photo for photo in photos if photo.looks]
        number = {person: place for place, person in enumerate(dict.fromkeys(photo.listed.person for photo in able))}
        people = np.array([number[photo.listed.person] for photo in able], np.intp)
        vectors = np.stack([photo.looks[0].vector for photo in able]) if able else np.empty((0, 0), np.float32)
        within[group] = pair_scores(vectors, people)
    found = []
    for fmr in (fmr for fmr in FMRS if everybody.total >= needed(fmr)):
        threshold = everybody.threshold_at(fmr)
        missed = {g: Rate(m.total - m.reaching(threshold), m.total) for g, (m, _) in within.items()}
        false = {g: Rate(n.reaching(threshold), n.total, fmr * n.total) for g, (_, n) in within.items()}
        found.append(
            AtThreshold(
                threshold=threshold,
                why=f"FMR {fmr:g} over everybody",
                false=_compare(false),
                missed=_compare(missed) if any(rate.trials for rate in missed.values()) else None,
                told=Rate(0, everybody.total, fmr * everybody.total).supported,
            )
        )
    return found


def _scores(searches: Sequence[Search], columns: Columns, groups: Iterable[str], kind: str) -> Scores:
    """Give each group's scores of one kind."""
    found: dict[str, list[float]] = {group: [] for group in groups}
    for search in searches:
        label = _label(search.groups, columns)
        if label in found:
            found[label].append(getattr(search, kind))
    return {group: np.array(scores, np.float64) for group, scores in found.items()}


def _false(scores: Scores, threshold: float, overall: float) -> Comparison:
    """Compare FPIRs at a threshold; each group is expected to have the ``overall`` one."""
    return _compare({g: Rate(reaching(s, threshold), len(s), overall * len(s)) for g, s in scores.items()})


def _compare(rates: dict[str, Rate]) -> Comparison:
    return Comparison(rates=rates, disparity=disparity(rates))


def _label(groups: Mapping[str, str], columns: Columns) -> str:
    """Name the group; empty where a column says nothing."""
    values = [groups.get(column, "") for column in columns]
    return ", ".join(values) if all(values) else ""
