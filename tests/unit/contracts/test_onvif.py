"""Sightings as face recognition events of ONVIF, as its specification words them."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.contracts.test_cap import ACKNOWLEDGED, SEEN, T

from aegis.contracts import alerts, cloudevents, onvif, subjects
from aegis.contracts.codec import DecodeError


def face(*, names: bool = False, **changes: Any) -> dict[str, Any]:
    event = alerts.event(alerts.SIGHTED, "e1", replace(SEEN, **changes))
    seen = onvif.sighting(event)
    assert seen is not None
    message: dict[str, Any] = json.loads(onvif.face(event, seen, names=names))
    return message


def test_a_sighting_is_a_face_recognition_event() -> None:
    assert face() == {
        "UtcTime": "2026-05-28T20:26:40.750Z",
        "Source": {"VideoSource": "lobby", "Rule": "barred"},
        "Data": {
            "Likelihood": 0.75,
            "EnrollmentID": "p1",
            "aegis:Event": "e1",
            "aegis:Alert": "k7q2mx-0a1b",
            "aegis:Reference": "K7Q-2MX",
            "aegis:Severity": "high",
            "aegis:Threshold": 0.5,
            "aegis:ExpiresAt": cloudevents.rfc3339(T + alerts.LIFETIME),
            "aegis:Drill": False,
        },
    }


def test_the_topic_is_prefix_form_topic_and_source() -> None:
    topic = subjects.onvif("north", "lobby", onvif.rule(SEEN)).replace(".", "/")
    assert topic == "aegis/v1/onvif/north/onvif-ej/RuleEngine/Recognition/Face/&lobby/barred"


def test_it_names_the_person_only_if_it_may() -> None:
    assert "A Person" not in json.dumps(face())
    assert face(names=True)["Data"]["aegis:Name"] == "A Person"


def test_a_likelihood_is_within_nought_and_one() -> None:
    assert [face(score=score)["Data"]["Likelihood"] for score in (-0.5, 0.123456, 1.5)] == [0.0, 0.1235, 1.0]


def test_no_rule_of_a_category_reacts_to_a_drill() -> None:
    message = face(drill=True)
    assert message["Source"]["Rule"] == "drill-barred"
    assert message["Data"]["aegis:Drill"] is True


def test_what_people_found_is_no_sighting() -> None:
    assert onvif.sighting(ACKNOWLEDGED) is None


@pytest.mark.parametrize("name", ["site", "category", "camera"])
@pytest.mark.parametrize("bad", ["", "a.b", "a b", "a/b", "*", ">", "Lobby\r\n"])
def test_what_cannot_be_in_a_topic_is_refused(name: str, bad: str) -> None:
    with pytest.raises(DecodeError, match=name):
        face(names=False, **{name: bad})


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        face(threshold=math.nan)
