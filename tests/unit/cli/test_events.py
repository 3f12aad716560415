"""Events of the bus in words."""

import dataclasses
import json
import time

import pytest

from aegis.cli.events import clock, parse
from aegis.contracts import alerts, cameras, cloudevents, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.cameras import CameraReport
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Change, Update

AT = 1_700_000_000.0
SIGHTING = Sighting(
    alert="k7q2mx-1", reference="K7Q-2MX", site="s", site_name="S", category="barred", severity=Severity.HIGH,
    entry="e", person="Grace Hopper", camera="gate", camera_name="North gate", captured_at=AT, first_captured_at=AT,
    score=0.714, threshold=0.5, looks=4, track="gate.1.1", detector="d", embedder="e", watchlist_version=3,
    raised_at=AT, expires_at=AT + 600, drill=False, chip="", frame="",
)  # fmt: skip
REPORT = CameraReport(site="s", camera="gate", camera_name="North gate", reported_at=AT, reason="it does not answer")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (alerts.RAISED, "ALERT"),
        (alerts.SIGHTED, "still in view"),
        (alerts.WOULD_RAISE, "would have alerted"),
        (alerts.WOULD_SIGHT, "still in view, in shadow"),
    ],
)
@pytest.mark.parametrize("drill", [True, False])
def test_an_alert_in_one_line(kind: str, word: str, drill: bool) -> None:
    raw = cloudevents.dump(alerts.event(kind, "id1", dataclasses.replace(SIGHTING, drill=drill)))
    event = parse(raw)
    assert (event.raw, event.type, event.camera) == (raw, kind, "gate")
    mark = "DRILL " if drill else ""
    assert event.line() == (
        f"{clock(AT)} {mark}{word} K7Q-2MX: Grace Hopper (barred, high) at North gate, "
        "score 0.71 of 0.50 needed, 4 looks"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (cameras.ONLINE, "online"),
        (cameras.OFFLINE, "offline"),
        (cameras.ENDED, "played to its end"),
        ("aegis.camera.newer.v1", "aegis.camera.newer.v1"),
    ],
)
def test_a_camera_in_one_line(kind: str, words: str) -> None:
    event = parse(cloudevents.dump(cameras.event(kind, "id1", REPORT)))
    # What an ended file says of itself, as that it was played to its end, stands alone.
    said = "it does not answer" if kind == cameras.ENDED else f"{words}: it does not answer"
    assert event.line() == f"{clock(AT)} camera gate {said}"
    quiet = parse(cloudevents.dump(cameras.event(kind, "id1", dataclasses.replace(REPORT, reason=""))))
    assert quiet.line() == f"{clock(AT)} camera gate {words}"


UPDATE = Update(
    alert="k7q2mx-1", reference="K7Q-2MX", site="s", category="barred", entry="e", state=AlertState.RAISED,
    updated_at=AT, by="Ann", reason="not her", step=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [
        (reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED, "acknowledged by Ann"),
        (reviews.ACKNOWLEDGED, AlertState.CONFIRMED_ONCE, "acknowledged by Ann"),
        (reviews.CONFIRMED, AlertState.CONFIRMED_ONCE, "confirmed by Ann"),
        (reviews.CONFIRMED, AlertState.CONFIRMED_TWICE, "confirmed by Ann, the second person"),
        (reviews.DISMISSED, AlertState.DISMISSED, "dismissed by Ann: not her"),
        (reviews.ESCALATED, AlertState.ESCALATED, "went on to step 2: nobody has acknowledged it"),
        (reviews.EXPIRED, AlertState.EXPIRED, "expired: nobody may act on it any more"),
        (
            reviews.CORRECTED,
            AlertState.CORRECTED,
            "corrected: those who had been told of it were told that it was dismissed",
        ),
    ],
)
@pytest.mark.parametrize("drill", [True, False])
def test_what_became_of_an_alert_in_one_line(kind: str, state: AlertState, words: str, drill: bool) -> None:
    update = dataclasses.replace(UPDATE, state=state, drill=drill)
    raw = cloudevents.dump(Change(id="e", type=kind, update=update).event())
    event = parse(raw)
    assert (event.raw, event.type, event.update) == (raw, kind, update)
    assert event.line() == f"{clock(AT)} {'DRILL ' if drill else ''}K7Q-2MX {words}"


def broken(**changes: object) -> bytes:
    document = json.loads(cloudevents.dump(alerts.event(alerts.RAISED, "id1", SIGHTING)))
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "not JSON"),
        (b"[]", "a JSON object"),
        (broken(specversion="2.0"), "specversion"),
        (broken(type=None), "type"),
        (broken(data={}), "alert: is missing"),
        (broken(type="somebody.else.v1", data={}), "site: is missing"),
        (broken(data={"captured_at": "yesterday"}), "captured_at"),
    ],
)
def test_what_is_no_event_is_refused_by_field(data: bytes, field: str) -> None:
    with pytest.raises(DecodeError, match=field):
        parse(data)


def test_a_canary_in_one_line() -> None:
    seen = dataclasses.replace(SIGHTING, canary=True, drill=True)
    line = parse(cloudevents.dump(alerts.event(alerts.RAISED, "id1", seen))).line()
    assert line.startswith(f"{clock(AT)} CANARY ALERT K7Q-2MX: ")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "those who had been told of it were told that it was dismissed"),
        (0, "nobody had been told of it"),
        (2, "those who had been told of it were told that it was dismissed"),
    ],
)
def test_a_correction_says_whether_anybody_had_been_told(told: int | None, words: str) -> None:
    update = dataclasses.replace(UPDATE, state=AlertState.CORRECTED, told=told)
    event = parse(cloudevents.dump(Change(id="e", type=reviews.CORRECTED, update=update).event()))
    assert event.line() == f"{clock(AT)} K7Q-2MX corrected: {words}"


def test_a_time_has_its_date_unless_it_is_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock(AT) == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(AT))
    now = time.localtime(AT)
    taken = time.localtime
    monkeypatch.setattr(time, "localtime", lambda seconds=None: now if seconds is None else taken(seconds))
    assert clock(AT) == time.strftime("%H:%M:%S", now)
    assert clock(float("inf")) == "--:--:--"
