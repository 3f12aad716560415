"""Alerts as messages of the Common Alerting Protocol 1.2: valid, in a chain, and with no more than may be said."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import alerts, cap, cloudevents, reviews
from aegis.contracts.alerts import LIFETIME, Sighting
from aegis.contracts.cap import History
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Update

SCHEMA = xmlschema.XMLSchema(Path(__file__).parents[2] / "peers" / "cap-1.2.xsd")
T = 1_780_000_000.75
SEEN = Sighting(
    alert="k7q2mx-0a1b",
    reference="K7Q-2MX",
    site="north",
    site_name="North High",
    category="barred",
    severity=Severity.HIGH,
    entry="p1",
    person="A Person",
    camera="lobby",
    camera_name="Main lobby",
    captured_at=T,
    first_captured_at=T - 2,
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


def raised(identity: str = "e1", **changes: object) -> CloudEvent:
    return alerts.event(alerts.RAISED, identity, replace(SEEN, **changes))  # type: ignore[arg-type]


def update(kind: str, state: AlertState, identity: str, at: float = T + 30, **changes: str) -> CloudEvent:
    told = Update(
        alert=SEEN.alert,
        reference=SEEN.reference,
        site="north",
        category="barred",
        entry="p1",
        state=state,
        updated_at=at,
        by="chris",
    )
    return CloudEvent(
        id=identity,
        source="/aegis/sites/north",
        type=kind,
        time=cloudevents.rfc3339(at),
        subject="barred/p1",
        data=cloudevents.to_data(replace(told, **changes)),  # type: ignore[arg-type]
    )


ACKNOWLEDGED = update(reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED, "e2")
CONFIRMED_ONCE = update(reviews.CONFIRMED, AlertState.CONFIRMED_ONCE, "e3")
CONFIRMED_TWICE = update(reviews.CONFIRMED, AlertState.CONFIRMED_TWICE, "e4")
ESCALATED = update(reviews.ESCALATED, AlertState.ESCALATED, "e5")
DISMISSED = update(reviews.DISMISSED, AlertState.DISMISSED, "e6", reason="A Person's brother")
EXPIRED = update(reviews.EXPIRED, AlertState.EXPIRED, "e7", at=T + LIFETIME)
CORRECTED = update(reviews.CORRECTED, AlertState.CORRECTED, "e8")


def tell(*events: CloudEvent, names: bool = False) -> list[bytes | None]:
    history, told = History(), []
    for sequence, event in enumerate(events, 1):
        history, message = cap.tell(history, sequence, event, names=names)
        assert history.sequence == sequence
        told.append(message)
    return told


def last(*events: CloudEvent, names: bool = False) -> ET.Element:
    message = tell(*events, names=names)[-1]
    assert message is not None
    SCHEMA.validate(message.decode())
    return ET.fromstring(message)  # noqa: S314 - our own message


def text(alert: ET.Element, path: str) -> str | None:
    return alert.findtext("/".join(f"{{{cap.NAMESPACE}}}{part}" for part in path.split("/")))


def test_an_alert_says_all_that_cap_asks_for() -> None:
    alert = last(raised())
    assert alert.tag == f"{{{cap.NAMESPACE}}}alert"
    expected = {
        "identifier": "e1",
        "sender": "aegis/north",
        "sent": "2026-05-28T20:26:40-00:00",
        "status": "Actual",
        "msgType": "Alert",
        "scope": "Restricted",
        "references": None,
        "incidents": "k7q2mx-0a1b",
        "info/category": "Security",
        "info/responseType": "Assess",
        "info/urgency": "Immediate",
        "info/severity": "Severe",
        "info/certainty": "Possible",
        "info/onset": "2026-05-28T20:26:38-00:00",
        "info/expires": "2026-05-28T20:36:40-00:00",
        "info/senderName": "Aegis, North High",
        "info/headline": "barred, Main lobby, North High",
        "info/area/areaDesc": "North High: Main lobby",
    }
    assert {path: text(alert, path) for path in expected} == expected
    assert text(alert, "restriction") == cap.RESTRICTION


def test_an_alert_carries_its_parts_as_parameters() -> None:
    alert = last(raised())
    pairs = {
        pair.findtext("{*}valueName"): pair.findtext("{*}value")
        for pair in (*alert.iterfind(".//{*}parameter"), *alert.iterfind(".//{*}geocode"))
    }
    assert pairs == {
        "aegis:reference": "K7Q-2MX",
        "aegis:state": "raised",
        "aegis:category": "barred",
        "aegis:camera": "lobby",
        "aegis:score": "0.750",
        "aegis:threshold": "0.500",
        "aegis:site": "north",
    }


@pytest.mark.parametrize(
    ("severity", "urgency", "severe"),
    [
        (Severity.CRITICAL, "Immediate", "Extreme"),
        (Severity.HIGH, "Immediate", "Severe"),
        (Severity.MEDIUM, "Expected", "Moderate"),
        (Severity.LOW, "Expected", "Minor"),
    ],
)
def test_severity_becomes_urgency_and_severity(severity: Severity, urgency: str, severe: str) -> None:
    alert = last(raised(severity=severity))
    assert (text(alert, "info/urgency"), text(alert, "info/severity")) == (urgency, severe)


@pytest.mark.parametrize(
    ("event", "certainty"),
    [
        (ESCALATED, "Possible"),
        (ACKNOWLEDGED, "Possible"),
        (CONFIRMED_ONCE, "Likely"),
        (CONFIRMED_TWICE, "Observed"),
    ],
)
def test_what_people_found_is_an_update_with_its_certainty(event: CloudEvent, certainty: str) -> None:
    alert = last(raised(), event)
    assert (text(alert, "msgType"), text(alert, "info/certainty")) == ("Update", certainty)
    assert text(alert, "references") == "aegis/north,e1,2026-05-28T20:26:40-00:00"


@pytest.mark.parametrize(("event", "certainty"), [(DISMISSED, "Unlikely"), (EXPIRED, "Possible")])
def test_the_end_cancels_every_message_before_it(event: CloudEvent, certainty: str) -> None:
    alert = last(raised(), ACKNOWLEDGED, ESCALATED, event)
    assert (text(alert, "msgType"), text(alert, "info/urgency")) == ("Cancel", "Past")
    assert text(alert, "info/certainty") == certainty
    references = (text(alert, "references") or "").split(" ")
    assert [reference.split(",")[1] for reference in references] == ["e1", "e2", "e5"]
    assert text(alert, "note")


def test_a_dismissal_is_an_all_clear_and_an_expiry_is_none() -> None:
    assert text(last(raised(), DISMISSED), "info/responseType") == "AllClear"
    assert text(last(raised(), EXPIRED), "info/responseType") == "None"


def test_a_cancelled_one_asks_nobody_to_act() -> None:
    assert text(last(raised()), "info/instruction") == "Ask the site for the pictures of K7Q-2MX before you act."
    for events in ((DISMISSED,), (EXPIRED,), (EXPIRED, DISMISSED)):
        assert (text(last(raised(), *events), "info/instruction") or "").startswith("Nothing is to be done")


def test_an_expiry_leaves_the_certainty_as_it_was() -> None:
    assert text(last(raised(), CONFIRMED_ONCE, EXPIRED), "info/certainty") == "Likely"


def test_what_expired_can_still_be_dismissed() -> None:
    alert = last(raised(), EXPIRED, DISMISSED)
    assert (text(alert, "msgType"), text(alert, "info/responseType")) == ("Cancel", "AllClear")
    assert [r.split(",")[1] for r in (text(alert, "references") or "").split(" ")] == ["e1", "e7"]
    assert tell(raised(), EXPIRED, CONFIRMED_ONCE)[-1] is None


def test_nothing_follows_a_dismissal() -> None:
    assert tell(raised(), DISMISSED, CORRECTED, EXPIRED, ACKNOWLEDGED)[2:] == [None, None, None]


def test_an_alert_that_is_raised_again_after_it_expired_begins_anew_with_what_people_said() -> None:
    again = raised("e9", severity=Severity.CRITICAL, captured_at=T + 660)
    alert = last(raised(), CONFIRMED_ONCE, EXPIRED, again)
    assert (text(alert, "msgType"), text(alert, "references")) == ("Alert", None)
    assert text(alert, "info/certainty") == "Likely"


def test_an_alert_that_was_dismissed_stays_dismissed() -> None:
    assert tell(raised(), DISMISSED, raised("e9", severity=Severity.CRITICAL))[-1] is None


def test_an_alert_that_became_more_severe_is_an_update() -> None:
    alert = last(raised(), raised("e2", severity=Severity.CRITICAL, captured_at=T + 9))
    assert (text(alert, "msgType"), text(alert, "info/severity")) == ("Update", "Extreme")
    assert text(alert, "sent") == "2026-05-28T20:26:49-00:00"


def test_a_sighting_tells_nothing_but_the_next_message_says_where() -> None:
    sighted = alerts.event(alerts.SIGHTED, "e2", replace(SEEN, camera="gate", camera_name="Gate", captured_at=T + 10))
    assert tell(raised(), sighted)[1] is None
    assert text(last(raised(), sighted, ACKNOWLEDGED), "info/area/areaDesc") == "North High: Gate"


def test_no_message_names_the_person_unless_it_may() -> None:
    events = (raised(), ACKNOWLEDGED, CONFIRMED_ONCE, CONFIRMED_TWICE, DISMISSED)
    for message in tell(*events):
        assert b"A Person" not in (message or b"")
        assert b"chris" not in (message or b"")
    assert text(last(*events, names=True), "info/headline") == "Cancelled: A Person (barred), Main lobby, North High"
    assert "Reason: A Person's brother" in (text(last(*events, names=True), "note") or "")


def test_a_drill_is_an_exercise_and_says_so_first() -> None:
    alert = last(raised(drill=True))
    assert text(alert, "status") == "Exercise"
    assert (text(alert, "info/headline") or "").startswith("DRILL: ")
    assert text(alert, "note") == "This is a drill."


def test_an_update_refers_to_its_own_alert_though_another_came_between() -> None:
    other = raised("f1", alert="zzzzzz-0a1b", captured_at=T + 400)
    alert = last(raised(), other, DISMISSED)
    assert text(alert, "references") == "aegis/north,e1,2026-05-28T20:26:40-00:00"


def test_only_so_many_alerts_of_a_person_are_remembered() -> None:
    later = [raised(f"f{n}", alert=f"a{n}") for n in range(cap.REMEMBERED)]
    with pytest.raises(DecodeError, match="nothing is known of the alert"):
        tell(raised(), *later, DISMISSED)
    assert tell(raised(), *later[1:], DISMISSED)[-1]


def test_what_is_told_again_is_the_same() -> None:
    events = (raised(), ACKNOWLEDGED, DISMISSED)
    assert tell(*events) == tell(*events)


def test_events_of_other_kinds_tell_nothing() -> None:
    assert tell(replace(raised(), type="aegis.alert.praised.v9")) == [None]


@pytest.mark.parametrize("identity", ["", "a b", "a,b", "a<b", "a&b", "a\nb", "a\x00b"])
def test_an_identifier_that_cap_forbids_is_refused(identity: str) -> None:
    with pytest.raises(DecodeError, match="identifier"):
        tell(raised(identity))


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(DecodeError, match="time"):
        tell(replace(raised(), time="yesterday"))


@given(name=st.text(max_size=40), names=st.booleans())
def test_whatever_people_are_called_the_message_is_valid(name: str, names: bool) -> None:
    alert = last(raised(person=name, camera_name=name, site_name=name), names=names)
    assert text(alert, "identifier") == "e1"


def test_the_schema_refuses_what_cap_refuses() -> None:
    message = (tell(raised())[0] or b"").decode()
    for wrong in (
        message.replace("-00:00</sent>", "Z</sent>"),
        message.replace(">Actual<", ">Real<"),
        message.replace("<scope>Restricted</scope>", ""),
        message.replace("<identifier>e1", "<identifier>e 1"),
    ):
        assert wrong != message
        assert not SCHEMA.is_valid(wrong)
