"""How often alerts were false, by what people dismissed, and when that is more than chance explains."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.contracts.test_reviews import SIGHTING

from aegis.contracts.reviews import ACKNOWLEDGED, DISMISSED, Review
from aegis.registry import dismissals
from aegis.registry.dismissals import DAY

NOW = SIGHTING.raised_at + 100 * DAY
WEEK = 7 * DAY


def review(at: float, *, category: str = "barred", entry: str = "p1", drill: bool = False) -> Review:
    """Give an alert that was acknowledged and then dismissed at a time."""
    found = Review(sighting=replace(SIGHTING, category=category, entry=entry, drill=drill))
    for kind in (ACKNOWLEDGED, DISMISSED):
        found = found.followed(found.change(kind, kind, at, by="Ann", reason="not her"))
    return found


def test_the_last_thirty_days_are_counted_by_category_and_entry() -> None:
    made = [
        review(NOW - DAY),
        review(NOW - 2 * DAY),
        review(NOW - 3 * DAY, entry="p2"),
        review(NOW - DAY, category="other"),
        review(NOW - DAY, drill=True),
        review(NOW - 31 * DAY),
        Review(sighting=SIGHTING),
    ]
    counted = dismissals.count(made, 0.0, NOW)
    assert counted.seconds == 30 * DAY
    barred = counted.category("barred", None)
    assert (barred["count"], barred["entries"], barred["problem"]) == (3, {"p1": 2, "p2": 1}, "")
    assert barred["a_week"] == pytest.approx(3 / (30 / 7))
    assert counted.category("other", None)["count"] == 1
    assert counted.category("none", 1.0)["count"] == 0


def test_the_rate_is_over_the_time_in_which_somebody_could_dismiss() -> None:
    counted = dismissals.count([review(NOW - DAY)] * 4, NOW - 2 * WEEK, NOW)
    assert counted.category("barred", None)["a_week"] == pytest.approx(2.0)
    fresh = dismissals.count([review(NOW - 60)] * 4, NOW - 0.9 * DAY, NOW).category("barred", 0.1)
    assert (fresh["a_week"], fresh["problem"]) == (None, "")


@pytest.mark.parametrize(
    ("number", "accepted", "significant"),
    [(0, 1.0, False), (5, 1.0, False), (6, 1.0, True), (9, 5.0, False), (1, 0.0, True), (0, 0.0, False)],
)
def test_more_than_chance_explains_is_said(number: int, accepted: float, significant: bool) -> None:
    """In two weeks at one a week, chance brings five or more in 5.3 % of cases, and six or more in 1.7 %."""
    counted = dismissals.count([review(NOW - DAY)] * number, NOW - 2 * WEEK, NOW)
    problem = str(counted.category("barred", accepted)["problem"])
    assert ("more than chance explains" in problem) == significant
    assert counted.category("barred", None)["problem"] == ""


@given(st.integers(0, 60), st.floats(0.001, 60))
def test_the_chance_is_that_of_poisson(number: int, mean: float) -> None:
    fewer = sum(math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) for count in range(number))
    assert dismissals.reached(number, mean) == pytest.approx(1 - fewer, abs=1e-9)
