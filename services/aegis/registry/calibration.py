"""Thresholds, pure: from entries, cohort, traffic and what was learnt to the categories of the policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import Category, EntryRecord
from aegis.runtime.site_categories import Calibration
from aegis.vision.calibration import LEARNT_VISITS, Derived, derive, visit_scores
from aegis.vision.impostors import ImpostorHistogram, ImpostorTail
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

WEEK = 7 * 86_400.0
LEAST_SECONDS = 86_400.0
"""Traffic is not told from less than a day."""
RESEMBLES_MANY = 0.98
"""Who resembles others more than so large a share of the cohort does is marked: such people are mistaken more often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What match has seen of people who were compared with an entry and were not taken for it."""

    histogram: ImpostorHistogram
    since: float


def galleries(
    entries: Mapping[str, EntryRecord], templates: Mapping[str, NDArray[np.float32]], cohort: Cohort | None
) -> dict[str, Gallery]:
    """Build the gallery of each category from the templates (n, D) of its entries."""
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, rows in templates.items():
        found.setdefault(entries[name].category, {})[name] = rows
    return {category: Gallery.build(fellows, cohort) for category, fellows in found.items()}


def of_category(fellows: Sequence[ImpostorHistogram]) -> ImpostorHistogram:
    """Make of the histograms of a category's entries that of a visit's best score with any of them.

    Which scores were of one visit is not known, so each is taken for another visit's: at most too many high ones. As
    many visits are counted as the entry has seen that saw the fewest.
    """
    found = ImpostorHistogram()
    visits = min((len(histogram) for histogram in fellows), default=0)
    if not visits:
        return found
    reached = sum(
        visits / len(histogram) * np.cumsum(histogram.counts[::-1]).astype(np.float64) for histogram in fellows
    )
    whole = np.minimum(np.ceil(np.round(reached, 6)), visits).astype(np.int64)
    found.counts = np.diff(whole, prepend=0)[::-1].copy()
    return found


def traffic(learnt: Mapping[str, Learnt], now: float) -> tuple[int, float, float | None]:
    """Give how many visits the entry has seen that saw the most, over how many seconds, and how many a week that is.

    None as long as that is less than a day.
    """
    if not learnt:
        return 0, 0.0, None
    longest = max(learnt.values(), key=lambda one: len(one.histogram))
    seconds, visits = max(0.0, now - longest.since), len(longest.histogram)
    return visits, seconds, visits / seconds * WEEK if seconds >= LEAST_SECONDS else None


def calibrate(
    categories: Mapping[str, Category],
    found: Mapping[str, Gallery],
    cohort: Cohort | None,
    learnt: Mapping[str, ImpostorHistogram],
    settings: Calibration,
) -> dict[str, Category]:
    """Derive every category anew; where that fails a threshold stays, but never below the one without calibration."""
    return {
        name: _calibrated(name, category, found.get(name), cohort=cohort, learnt=learnt, settings=settings)
        for name, category in categories.items()
    }


def _calibrated(
    name: str,
    category: Category,
    gallery: Gallery | None,
    *,
    cohort: Cohort | None,
    learnt: Mapping[str, ImpostorHistogram],
    settings: Calibration,
) -> Category:
    if gallery is None or not len(gallery):
        return _unknown(category, "")
    try:
        if category.accepted is None:
            return _fixed(category, gallery, cohort, learnt.get(name), settings.visits_per_week)
        derived = derive(
            {name: gallery},
            {name: category.accepted},
            cohort=cohort,
            visits_a_week=settings.visits_per_week,
            learnt=learnt,
            fairness=settings.fairness,
            worst_group=settings.worst_group,
        )[name]
    except ValueError as error:
        return _unknown(category, f"No threshold can be derived: {error}.")
    return _taken(category, derived)


def _taken(category: Category, derived: Derived) -> Category:
    if derived.threshold is None:
        return _unknown(category, derived.problem)
    return replace(
        category,
        threshold=round(derived.threshold, 4),
        expected=derived.expected,
        upper=derived.upper,
        basis=derived.basis or "",
        problem=derived.problem,
    )


def _unknown(category: Category, problem: str) -> Category:
    threshold = category.threshold if category.accepted is None else max(Category().threshold, category.threshold)
    return replace(category, threshold=threshold, expected=None, upper=None, basis="", problem=problem)


def _fixed(
    category: Category, gallery: Gallery, cohort: Cohort | None, learnt: ImpostorHistogram | None, visits: float
) -> Category:
    """Say what a fixed threshold comes to, if that can be known."""
    if learnt is not None and len(learnt) >= LEARNT_VISITS:
        rate, basis = ImpostorTail.of_histogram(learnt).rate(category.threshold), "learnt"
    elif cohort is not None:
        rate = ImpostorTail.of_scores(visit_scores(gallery, cohort)).rate(category.threshold)
        basis = rate.basis
    else:
        return _unknown(category, "")
    return replace(category, expected=rate.point * visits, upper=rate.upper * visits, basis=basis, problem="")


def stricter(now: Mapping[str, Category], then: Mapping[str, Category]) -> dict[str, Category]:
    """Give the categories of ``then``, none with a lower threshold than it has now."""
    return {
        name: replace(category, threshold=max(category.threshold, now[name].threshold)) if name in now else category
        for name, category in then.items()
    }


def resembling_many(templates: Mapping[str, NDArray[np.float32]], cohort: Cohort) -> set[str]:
    """Give the entries whose templates (n, D) resemble the people of a cohort more than almost all of them do."""
    limit = float(np.quantile(cohort.own_offsets, RESEMBLES_MANY))
    return {name for name, rows in templates.items() if float(cohort.offsets(rows).max()) > limit}
