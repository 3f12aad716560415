"""Thresholds derived from the false alerts that a site accepts.

The people of a cohort, who are not on the list, are scored as if they visited; the tail of these scores says how often
somebody reaches a threshold, and how sure that is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aegis.vision.impostors import ImpostorHistogram, ImpostorTail
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

LOWEST, HIGHEST, STEP = 0.35, 0.7, 0.005
"""The thresholds to choose from. With one photo and one look, 1 % of those who are listed score below the lowest, and
60 % below the highest."""
LEARNT_VISITS = 1000
"""How many visits a histogram must hold to be believed rather than the cohort."""

LEARNT_MOVES = 0.05
"""How far what was learnt may move a threshold from the one that the cohort asks for, up or down.

Whoever is listed and not recognised is learnt as a stranger, so without a bound a threshold would follow such people
up, and miss more of them. Of strangers who were taken for an entry nothing is learnt, so it could sink too far, too.
"""

_ROWS = 256
"""Templates whose scores are computed at a time, to bound memory."""

Basis = Literal["measured", "extrapolated", "learnt"]


def visit_scores(gallery: Gallery, cohort: Cohort) -> NDArray[np.float32]:
    """Give the best score of each person of ``cohort`` with anybody of the gallery, as of a visit with one look, (M,).

    Where this cohort normalises the gallery, a visitor is left out of it, for its own offset and for the templates':
    otherwise up to 1.6 times as many visits reach a threshold as was expected. Several looks, of different days,
    reached one up to 1.7 times as often as one look did.
    """
    known, people = gallery.cohort, cohort.templates
    within = known is not None and np.array_equal(known.templates, people)
    best = np.full(len(people), -np.inf, np.float32)
    for start in range(0, len(gallery.templates), _ROWS):
        some = slice(start, start + _ROWS)
        scores = people @ gallery.templates[some].T
        scores -= known.offsets_without_each(gallery.templates[some]).T if known and within else gallery.offsets[some]
        np.maximum(best, scores.max(axis=1), out=best)
    if known is None:
        return best
    return best - (known.own_offsets if within else known.offsets(people))


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
    from ``LEARNT_VISITS`` on, as far as ``LEARNT_MOVES`` from the threshold that the cohort asks for. With
    ``worst_group``, a threshold is raised until the FPIR of the worst group is at most so many times the mean of all
    groups, as far as ``fairness`` tells.
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
        tail = ImpostorTail.of_scores(visit_scores(gallery, cohort))
        lowest, beyond = _lowest(tail, allowed / visits_a_week), ""
        known = histogram is not None and len(histogram) >= LEARNT_VISITS
        if histogram is not None and known:
            tail = ImpostorTail.of_histogram(histogram)
            lowest, beyond = _moved(lowest, _lowest(tail, allowed / visits_a_week))
        threshold, unfair = (lowest, "") if worst_group is None else _fair(lowest, fairness, worst_group)
        rate = tail.rate(threshold)
        upper = rate.upper * visits_a_week
        found[category] = Derived(
            threshold=threshold,
            expected=rate.point * visits_a_week,
            upper=upper,
            basis="learnt" if known else rate.basis,
            problem=" ".join(filter(None, (beyond or _too_many(upper, allowed), unfair))),
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


def _moved(by_cohort: float, by_visits: float) -> tuple[float, str]:
    """Give the threshold that visits ask for, no farther from the cohort's than they may move it, and what that costs.

    Nothing is wrong where they ask for less.
    """
    highest = min(by_cohort + LEARNT_MOVES, HIGHEST)
    if by_visits <= highest:
        return max(by_visits, by_cohort - LEARNT_MOVES), ""
    return highest, (
        f"This site's visits ask for a threshold of {by_visits:.3f}, and {highest:.3f} is the highest that the cohort "
        "bears out: somebody who is listed may be seen and not recognised, or visitors are unlike the cohort. Add "
        "better photos, or build the cohort of people like those who visit."
    )


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
    measured = rows[-1].threshold
    if measured < lowest:
        return lowest, (
            f"The evaluation report says too little of groups above a threshold of {measured:g}, and {lowest:.3f} is "
            "needed: the limit of worst_group is not applied; evaluate more photos."
        )
    choice = next((t for t in _thresholds(lowest) if _worst_over_mean(rows, t) <= limit), None)
    if choice is None:
        worst = _worst_over_mean(rows, lowest)
        return lowest, (
            f"The worst group has {worst:.1f} times the mean's false alerts, and {limit:g} are accepted: no higher "
            f"threshold mends that as far as was measured, up to {measured:g}, so it is not raised."
        )
    if choice > measured:
        return choice, f"How groups compare was measured up to a threshold of {measured:g} only."
    return choice, ""


def _worst_over_mean(rows: Sequence[FairnessRow], threshold: float) -> float:
    """Give the worse of the two rows around a threshold, the outermost beyond them all."""
    above = min(sum(row.threshold < threshold for row in rows), len(rows) - 1)
    below = max(sum(row.threshold <= threshold for row in rows) - 1, 0)
    return max(rows[above].worst_over_mean, rows[below].worst_over_mean)
