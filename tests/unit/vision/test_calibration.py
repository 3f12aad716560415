"""Thresholds that keep what they promise, on drawn scores whose true tail is known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aegis.vision.calibration import (
    HIGHEST,
    LEARNT_MOVES,
    LEARNT_VISITS,
    LOWEST,
    Derived,
    FairnessRow,
    derive,
    visit_scores,
)
from aegis.vision.embedding import normalise
from aegis.vision.impostors import BINS, ImpostorHistogram, ImpostorTail
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

SIZE = 64


def faces(count: int, seed: int) -> NDArray[np.float32]:
    return normalise(np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32))


def listed(count: int, seed: int, cohort: Cohort | None) -> Gallery:
    return Gallery.build({str(i): face[None] for i, face in enumerate(faces(count, seed))}, cohort)


def normal_scores(count: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.3, 0.05, size=count)


COHORT = Cohort.build(faces(300, 1))
LISTED = listed(20, 2, COHORT)


def derived(
    accepted: float = 5.0, cohort: Cohort | None = COHORT, *, visits: float = 1000.0, **given: object
) -> Derived:
    return derive({"barred": LISTED}, {"barred": accepted}, cohort=cohort, visits_a_week=visits, **given)["barred"]  # type: ignore[arg-type]


def test_a_visitor_is_left_out_of_the_cohort() -> None:
    people, cohort = faces(120, 3), Cohort.build(faces(120, 3))
    gallery = listed(5, 4, cohort)
    found = visit_scores(gallery, cohort)
    assert found.shape == (120,)
    for place in range(0, 120, 17):
        without = Cohort.build(np.delete(people, place, axis=0))
        plain = listed(5, 4, without).matrix(people[place][None]).max()
        # The two cohorts' averages, which are zero, differ by one person of 120.
        np.testing.assert_allclose(found[place], plain, atol=2e-3)
    assert (found > gallery.matrix(people).max(axis=1) + 0.01).all()


def test_visitors_that_are_not_in_the_cohort_of_the_gallery_score_as_anybody() -> None:
    for gallery in (listed(5, 4, None), listed(5, 4, Cohort.build(faces(100, 5)))):
        best = gallery.matrix(COHORT.templates).max(axis=1)
        np.testing.assert_allclose(visit_scores(gallery, COHORT), best, atol=1e-6)


def test_more_templates_than_are_scored_at_a_time_make_no_difference() -> None:
    people = faces(700, 12)
    whole = Gallery.build({str(n): face[None] for n, face in enumerate(people)}, COHORT)
    parts = [
        Gallery.build({str(n): face[None] for n, face in enumerate(part)}, COHORT)
        for part in (people[:300], people[300:])
    ]
    expected = np.maximum(*(visit_scores(part, COHORT) for part in parts))
    np.testing.assert_allclose(visit_scores(whole, COHORT), expected, atol=1e-6)


def test_what_is_counted_often_enough_is_measured() -> None:
    tail = ImpostorTail.of_scores(np.arange(1000) / 1000)
    rate = tail.rate(0.9)
    assert (rate.point, rate.basis) == (0.1, "measured")
    assert rate.upper == pytest.approx(0.1166, abs=1e-3)
    assert (tail.rate(0.995).point, tail.rate(0.995).basis) == (0.005, "measured")
    assert tail.rate(0.996).basis == "extrapolated"


@pytest.mark.parametrize("share", [1e-3, 3e-4, 1e-4])
def test_an_extrapolated_rate_errs_on_the_safe_side(share: float) -> None:
    """Scores are drawn from a normal distribution, whose tail decays faster than an exponential one."""
    exact = np.quantile(normal_scores(2_000_000, 0), 1 - share)
    rates = [ImpostorTail.of_scores(normal_scores(500, seed)).rate(float(exact)) for seed in range(1, 41)]
    assert {rate.basis for rate in rates} == {"extrapolated"}
    assert np.median([rate.point for rate in rates]) > share
    assert np.mean([rate.upper < share for rate in rates]) <= 0.05
    assert all(rate.upper > rate.point for rate in rates)


@given(st.integers(0, 50))
def test_an_upper_bound_never_lies_below_the_estimate(seed: int) -> None:
    tail = ImpostorTail.of_scores(normal_scores(300, seed))
    for threshold in np.arange(0.3, 0.8, 0.01):
        rate = tail.rate(float(threshold))
        assert 0 <= rate.point <= rate.upper <= 1


@pytest.mark.parametrize("scores", [np.zeros(49), np.zeros(0)])
def test_too_few_scores_have_no_tail(scores: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="too few"):
        ImpostorTail.of_scores(scores)
    assert ImpostorTail.of_scores(np.zeros(50)).rate(0.5).upper < 1e-9, "all alike"


def test_a_histogram_gives_nearly_the_rates_of_its_scores_and_never_lower_ones() -> None:
    scores, histogram = normal_scores(3000, 5), ImpostorHistogram()
    histogram.add(scores)
    exact, binned = ImpostorTail.of_scores(scores), ImpostorTail.of_histogram(histogram)
    for threshold in (0.35, 0.4, 0.45, 0.5, 0.55):
        one, other = exact.rate(threshold), binned.rate(threshold)
        assert one.point <= other.point < one.point * 1.4
        assert one.upper <= other.upper < one.upper * 1.4


@given(st.lists(st.floats(-1.5, 1.5), max_size=50), st.lists(st.floats(-1.5, 1.5), max_size=50))
def test_histograms_merge_and_travel(one: list[float], two: list[float]) -> None:
    first, second, both = ImpostorHistogram(), ImpostorHistogram(), ImpostorHistogram()
    first.add(np.array(one))
    second.add(np.array(two))
    both.add(np.array([*one, *two]))
    first.merge(ImpostorHistogram.from_bytes(bytes(second)))
    np.testing.assert_array_equal(first.counts, both.counts)
    assert len(first) == len(one) + len(two)
    assert len(bytes(first)) <= 2 + 4 * BINS


def test_a_histogram_counts_where_scores_lie_and_refuses_what_is_none() -> None:
    histogram = ImpostorHistogram()
    histogram.add(np.array([-2.0, -1.0, 0.0, 0.0049, 1.0, 2.0], np.float32))
    assert {int(i): int(histogram.counts[i]) for i in np.flatnonzero(histogram.counts)} == {0: 2, 200: 2, 399: 2}
    with pytest.raises(ValueError, match="not finite"):
        histogram.add(np.array([np.nan]))
    assert len(histogram) == 6


@pytest.mark.parametrize("data", [b"\0", b"\0\0", b"\0\0\1\0\0", b"\xff\xff\1\0\0\0", b"\0\0" + b"\1\0\0\0" * 401])
def test_bytes_that_are_no_histogram_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no histogram"):
        ImpostorHistogram.from_bytes(data)


def test_a_threshold_keeps_to_what_is_accepted_on_visits_that_it_has_not_seen() -> None:
    strangers = LISTED.matrix(faces(20_000, 9)).max(axis=1)
    for accepted, basis in ((200.0, "measured"), (20.0, "extrapolated"), (2.0, "extrapolated")):
        found = derived(accepted, visits=2000.0)
        assert (found.basis, found.problem) == (basis, "")
        assert found.threshold is not None
        assert found.expected is not None
        assert found.upper is not None
        assert LOWEST <= found.threshold < HIGHEST
        assert found.expected < found.upper <= accepted
        assert float((strangers >= found.threshold).mean()) * 2000 <= accepted


def test_who_accepts_less_or_has_more_visits_gets_a_higher_threshold() -> None:
    thresholds = [derived(accepted).threshold or 0 for accepted in (50, 5, 0.5)]
    assert all(low < high for low, high in pairwise(thresholds))
    assert derived(5, visits=1e5).threshold == derived(0.05).threshold


def test_categories_do_not_bear_on_each_other() -> None:
    found = derive(
        {"barred": LISTED, "missing": listed(2, 6, COHORT)},
        {"barred": 1, "missing": 1},
        cohort=COHORT,
        visits_a_week=1000,
    )
    assert found["barred"] == derived(1)
    assert (found["missing"].threshold or 1) < (found["barred"].threshold or 0)


def test_a_demand_that_cannot_be_met_is_said() -> None:
    found = derived(0.001, visits=1e9)
    assert found.threshold == pytest.approx(HIGHEST)
    assert (found.upper or 0) > 0.001
    assert "cannot be promised" in found.problem


def test_without_cohort_or_entries_nothing_is_derived() -> None:
    assert derived(cohort=None) == Derived(
        problem="There is no cohort, so scores are plain cosines, and no threshold can be derived."
    )
    for galleries in ({}, {"barred": Gallery.build({}, COHORT)}):
        found = derive(galleries, {"barred": 1}, cohort=COHORT, visits_a_week=1000)["barred"]
        assert found == Derived(problem="Nobody is listed, so no threshold can be derived.")


def test_enough_visits_are_believed_rather_than_the_cohort() -> None:
    histogram = ImpostorHistogram()
    histogram.add(normal_scores(LEARNT_VISITS - 1, 7) + 0.1)
    assert derived(learnt={"barred": histogram}) == derived()
    histogram.add(np.array([0.4]))
    found = derived(learnt={"barred": histogram})
    assert found.basis == "learnt"
    assert (found.threshold or 0) > (derived().threshold or 1)


def learnt_from(scores: NDArray[np.float64]) -> Derived:
    histogram = ImpostorHistogram()
    histogram.add(scores)
    return derived(learnt={"barred": histogram})


def test_what_was_learnt_moves_a_threshold_only_so_far_and_says_what_it_asked_for() -> None:
    by_cohort = derived().threshold or 0
    up, down = learnt_from(normal_scores(5000, 7) + 0.2), learnt_from(normal_scores(5000, 7) - 0.2)
    assert up.threshold == pytest.approx(by_cohort + LEARNT_MOVES)
    assert down.threshold == pytest.approx(by_cohort - LEARNT_MOVES)
    assert up.problem.startswith("This site's visits ask for a threshold of 0.")
    assert (up.upper or 0) > 5, "what it comes to is not hidden"
    assert (down.problem, down.basis, up.basis) == ("", "learnt", "learnt")


def test_somebody_listed_who_is_never_recognised_cannot_drive_the_threshold_away() -> None:
    """Week after week the person is seen just below the threshold of the week before."""
    random, histogram, threshold = np.random.default_rng(3), ImpostorHistogram(), derived().threshold or 0
    first = threshold
    for _ in range(30):
        visits = random.choice(visit_scores(LISTED, COHORT), 1000)
        histogram.add(np.append(visits, np.full(10, threshold - 0.001)))
        threshold = derived(learnt={"barred": histogram}).threshold or 0
    assert threshold <= first + LEARNT_MOVES + 1e-9


def test_a_threshold_is_raised_until_no_group_is_too_much_worse_off() -> None:
    lowest = derived().threshold or 0
    rows = [FairnessRow(threshold=lowest + 0.1 * step, worst_over_mean=4 - step) for step in (2, 0, 1)]
    assert derived(fairness=rows, worst_group=4) == derived()
    assert derived(fairness=rows, worst_group=3.5).threshold == pytest.approx(lowest + 0.1, abs=0.006)
    assert derived(fairness=rows, worst_group=3).problem == ""
    last = derived(fairness=rows, worst_group=2)
    assert last.threshold == pytest.approx(lowest + 0.2, abs=0.006)
    assert (last.expected or 1) < (derived().expected or 0)


def test_groups_that_stay_too_far_apart_or_were_not_measured_are_said() -> None:
    lowest = derived().threshold or 0
    rows = [FairnessRow(threshold=0.3, worst_over_mean=2.5), FairnessRow(threshold=0.693, worst_over_mean=2.0)]
    too_far = derived(fairness=rows, worst_group=1.5)
    assert too_far.problem == (
        "The worst group has 2.5 times the mean's false alerts, and 1.5 are accepted: no higher threshold mends that "
        "as far as was measured, up to 0.693, so it is not raised."
    )
    assert too_far.threshold == lowest
    beyond = derived(fairness=rows, worst_group=2)
    assert beyond.problem == "How groups compare was measured up to a threshold of 0.693 only."
    assert (beyond.threshold or 0) > 0.693
    assert derived(worst_group=2).problem == "No evaluation says how groups compare."


@pytest.mark.parametrize("worst_group", [1.5, 2, 100])
def test_an_evaluation_that_ends_below_the_threshold_bounds_nothing_and_that_is_said(worst_group: float) -> None:
    rows = [FairnessRow(threshold=0.3, worst_over_mean=2.5), FairnessRow(threshold=0.32, worst_over_mean=2.0)]
    found = derived(fairness=rows, worst_group=worst_group)
    assert found.threshold == derived().threshold
    assert found.problem == (
        f"The evaluation report says too little of groups above a threshold of 0.32, and {found.threshold:.3f} is "
        "needed: the limit of worst_group is not applied; evaluate more photos."
    )
