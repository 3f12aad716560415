"""The story of an alert: one visit is one alert, whatever comes twice, late or in another order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import alerts, cloudevents
from aegis.contracts.alerts import LIFETIME, SIGHTING_INTERVAL, VISIT_GAP, Sighting, Story
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import Severity

T = 1_780_000_000.0
SIGHTING = Sighting(
    alert="a1",
    reference="K7Q2",
    site="north",
    site_name="North High",
    category="barred",
    severity=Severity.HIGH,
    entry="p1",
    person="A Person",
    camera="lobby",
    camera_name="Lobby",
    captured_at=T,
    first_captured_at=T,
    score=0.75,
    threshold=0.5,
    looks=3,
    track="lobby-41-3",
    detector="d",
    embedder="e",
    watchlist_version=12,
    raised_at=T,
    expires_at=T + LIFETIME,
    drill=False,
    chip="c",
    frame="f",
)


def told(story: Story, kind: str, at: float, **changes: object) -> Story:
    event = alerts.event(kind, "e", replace(SIGHTING, captured_at=at, **changes))  # type: ignore[arg-type]
    return alerts.fold(story, story.sequence + 1, event)


OPEN = told(Story(), alerts.RAISED, T)


def test_the_first_sighting_raises() -> None:
    assert alerts.decide(Story(), T, Severity.LOW) == "raise"


def test_a_raised_alert_opens_the_visit() -> None:
    assert (OPEN.alert, OPEN.reference, OPEN.severity, OPEN.sequence) == ("a1", "K7Q2", Severity.HIGH, 1)
    assert (OPEN.raised_at, OPEN.expires_at, OPEN.told_at, OPEN.last_seen_at) == (T, T + LIFETIME, T, T)
    assert OPEN.open_at(T)


@pytest.mark.parametrize(
    ("after", "decision"),
    [
        (0.0, "silent"),
        (SIGHTING_INTERVAL - 0.01, "silent"),
        (SIGHTING_INTERVAL, "sight"),
        (VISIT_GAP - 0.01, "sight"),
        (VISIT_GAP, "raise"),
        (10 * VISIT_GAP, "raise"),
        (-5.0, "silent"),
        (-10 * VISIT_GAP, "silent"),
    ],
)
def test_what_a_later_sighting_adds(after: float, decision: str) -> None:
    assert alerts.decide(OPEN, T + after, Severity.HIGH) == decision


@pytest.mark.parametrize(
    ("severity", "decision"),
    [
        (Severity.CRITICAL, "raise again"),
        (Severity.HIGH, "silent"),
        (Severity.LOW, "silent"),
    ],
)
def test_only_one_more_severe_is_raised_again(severity: Severity, decision: str) -> None:
    assert alerts.decide(OPEN, T + 1, severity) == decision


def test_an_alert_that_was_raised_again_is_not_raised_a_third_time() -> None:
    again = told(OPEN, alerts.RAISED, T + 1, severity=Severity.CRITICAL)
    assert again.alert == OPEN.alert
    assert alerts.decide(again, T + 2, Severity.CRITICAL) == "silent"


def test_a_sighting_lengthens_the_visit() -> None:
    longer = told(OPEN, alerts.SIGHTED, T + 50)
    assert longer.open_at(T + 50 + VISIT_GAP - 0.01)
    assert not longer.open_at(T + 50 + VISIT_GAP)
    assert alerts.decide(longer, T + 55, Severity.HIGH) == "silent"


def test_an_event_that_is_late_takes_nothing_back() -> None:
    late = told(told(OPEN, alerts.SIGHTED, T + 50), alerts.SIGHTED, T + 20)
    assert (late.told_at, late.last_seen_at, late.sequence) == (T + 50, T + 50, 3)


def test_a_person_who_stays_in_view_keeps_the_visit_open_without_a_word() -> None:
    story = OPEN
    for second in range(1, 300):
        story = alerts.note_seen(story, T + second)
    assert story.open_at(T + 299 + VISIT_GAP - 0.01)
    assert (story.told_at, story.alert) == (T, "a1")
    assert alerts.note_seen(story, T + 299 + VISIT_GAP) == story, "a visit that has ended stays so"
    assert alerts.note_seen(story, T) == story
    assert alerts.note_seen(Story(), T) == Story()


def test_a_kind_that_is_not_known_only_advances_the_sequence() -> None:
    event = CloudEvent(id="e", source="s", type="aegis.alert.reviewed.v1", time="", subject="", data={"any": "thing"})
    assert alerts.fold(OPEN, 9, event) == replace(OPEN, sequence=9)


def test_an_event_that_is_broken_is_an_error_with_the_field() -> None:
    event = alerts.event(alerts.RAISED, "e", SIGHTING)
    del event.data["severity"]
    with pytest.raises(DecodeError, match=r"Sighting\.severity"):
        alerts.fold(Story(), 1, event)


def test_an_event_names_its_subject_and_its_time() -> None:
    event = alerts.event(alerts.RAISED, "e1", SIGHTING)
    assert (event.id, event.type, event.source) == ("e1", alerts.RAISED, "/aegis/sites/north")
    assert (event.subject, cloudevents.seconds(event.time)) == ("barred/p1", T)


TIMES = st.lists(st.integers(0, 400), min_size=1, max_size=60)


@given(TIMES)
def test_there_is_at_most_one_alert_a_visit(offsets: list[int]) -> None:
    story = Story()
    newest = None
    for offset in offsets:
        when = T + offset
        decision = alerts.decide(story, when, Severity.HIGH)
        if decision == "raise":
            assert newest is None or when - newest >= VISIT_GAP, "the visit had not ended"
            story = told(story, alerts.RAISED, when, alert=f"a{offset}", raised_at=when)
        elif decision == "sight":
            assert when - story.told_at >= SIGHTING_INTERVAL
            story = told(story, alerts.SIGHTED, when, alert=story.alert, raised_at=story.raised_at)
        else:
            assert decision == "silent"
            story = alerts.note_seen(story, when)
        newest = when if newest is None else max(newest, when)
        assert story.last_seen_at == newest


@given(TIMES)
def test_a_gap_always_begins_a_visit(offsets: list[int]) -> None:
    """Seen in order, the alerts are as many as the stretches that a gap divides."""
    raised, story, last = 0, Story(), None
    stretches = 0
    for offset in sorted(offsets):
        stretches += last is None or offset - last >= VISIT_GAP
        last = offset
        if alerts.decide(story, T + offset, Severity.HIGH) == "raise":
            raised += 1
            story = told(story, alerts.RAISED, T + offset)
        story = alerts.note_seen(story, T + offset)
    assert raised == stretches
