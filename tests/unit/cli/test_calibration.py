"""What ``aegis calibrate`` and ``aegis status`` say of thresholds and of the state, in words."""

import time
from collections import Counter
from typing import Any

import pytest

from aegis.cli import calibration, site
from aegis.contracts.messages import SiteRecord, SiteState

BUILT = 1_780_000_000.0
NEVER: dict[str, Any] = {"count": 0, "seconds": 60.0, "a_week": None, "entries": {}, "problem": ""}
CATEGORY: dict[str, Any] = {
    "entries": 12, "threshold": 0.52, "accepted": 1.0, "expected": 0.416, "upper": 0.953, "basis": "extrapolated",
    "problem": "", "would_have_alerted": 3, "dismissed": NEVER,
}  # fmt: skip
FIXED = {**CATEGORY, "accepted": None, "basis": "measured", "threshold": 0.45, "expected": 2.1, "upper": 31.4}
IN_SHADOW = "North is in shadow since {}: it would have alerted "
UNKNOWN = {
    "entries": 0, "threshold": 0.5, "accepted": 0.5, "expected": None, "upper": None, "basis": "", "problem": "",
    "dismissed": NEVER,
}  # fmt: skip


def found(**changes: Any) -> dict[str, Any]:
    return {
        "scores": "normalised",
        "cohort": {"size": 858, "embedder": "sface.1", "built_at": BUILT},
        "visits_per_week": {"assumed": 5000.0, "learnt": None},
        "learnt": {"visits": 12, "seconds": 8640.0},
        "categories": {"barred": CATEGORY, "missing": FIXED, "empty": UNKNOWN},
        **changes,
    }


def test_every_category_is_one_row() -> None:
    lines = calibration.lines(found())
    built = time.strftime("%Y-%m-%d %H:%M", time.localtime(BUILT))
    assert lines[0] == f"scores:  normalised by a cohort of 858 people, as templates of sface.1, built {built}"
    assert lines[1] == "traffic: 5000 visits a week assumed; 12 faces followed in 0.1 days, too short to tell"
    barred, missing, empty = (line.split() for line in lines[4:7])
    assert barred == [*["barred", "12", "0.520", "1", "0.42", "0.95", "the", "cohort,", "extrapolated", "3", "0", "-"]]
    assert missing == [*["missing", "12", "0.450", "fixed", "2.1", "31", "the", "cohort", "3", "0", "-"]]
    assert empty == [*["empty", "0", "0.500", "0.5", "-", "-", "-", "-", "0", "-"]]
    assert len(lines) == 8


def test_what_is_wrong_stands_below() -> None:
    lines = calibration.lines(found(categories={"barred": {**CATEGORY, "problem": "It cannot be."}}))
    assert lines[-1] == "barred: It cannot be."


def test_dismissals_stand_in_the_row_and_by_entry_below() -> None:
    dismissed = {"count": 9, "seconds": 2e6, "a_week": 2.72, "entries": {"p1": 2, "p2": 7}, "problem": "Too many."}
    lines = calibration.lines(found(categories={"barred": {**CATEGORY, "dismissed": dismissed}}))
    assert lines[4].split()[-2:] == ["9", "2.7"]
    assert lines[-2:] == ["barred: Too many.", "barred: dismissed by entry: p2 7, p1 2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": "plain", "cohort": None}, "plain cosines, since there is no cohort"),
        ({"scores": "plain"}, "plain cosines, since the cohort's templates are of sface.1; build it anew"),
    ],
)
def test_plain_cosines_are_told_with_the_reason(changes: dict[str, Any], said: str) -> None:
    assert calibration.lines(found(**changes))[0] == f"scores:  {said}"


def test_traffic_that_was_learnt_is_told() -> None:
    changed = {"visits_per_week": {"assumed": 100.0, "learnt": 7001.4}, "learnt": {"visits": 1, "seconds": 86_400.0}}
    line = calibration.lines(found(**changed))[1]
    assert line == "traffic: 100 visits a week assumed; 1 face followed in 1.0 days, that is 7001 a week"


@pytest.mark.parametrize(
    ("state", "counted", "said"),
    [
        (SiteState.DISARMED, None, "North is disarmed: no face is processed"),
        (SiteState.ARMED, None, "North is armed: faces are processed and alerts are raised"),
        (SiteState.SHADOW, Counter(), IN_SHADOW + "0 times, and alerted nobody"),
        (SiteState.SHADOW, Counter(a=1), IN_SHADOW + "1 time, and alerted nobody"),
        (SiteState.SHADOW, Counter(a=1, b=2), IN_SHADOW + "3 times, and alerted nobody"),
    ],
)
def test_the_state_is_told_with_what_it_means(state: SiteState, counted: Counter[str] | None, said: str) -> None:
    record = SiteRecord(id="n", name="North", kind="venue", state=state, state_since=BUILT, categories={})
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(BUILT))
    assert site.headline(record, counted) == said.format(since)
