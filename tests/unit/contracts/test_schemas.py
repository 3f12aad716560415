"""The schemas hold for every event that the code writes, and refuse what is not one."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from tests.wire.examples import GOLDEN

from aegis.contracts import alerts, cameras, cloudevents, deliveries, onvif, reviews, schemas
from aegis.contracts.reviews import AlertState, Update
from aegis.contracts.schemas import EVENTS, PublicEvent


def validator(event: PublicEvent) -> Draft202012Validator:
    return Draft202012Validator(schemas.event_schema(event), format_checker=FormatChecker())


BY_NAME = {event.name: event for event in EVENTS}
KEPT = [path for path in sorted(GOLDEN.glob("*.json")) if json.loads(path.read_bytes())["type"] in BY_NAME]


def test_every_event_for_integrators_has_a_schema() -> None:
    told = {getattr(module, name) for module in (alerts, cameras) for name in vars(module) if name.isupper()}
    kinds = {name for name in told if isinstance(name, str) and not name.startswith("aegis.shadow.")}
    assert set(BY_NAME) == kinds | set(reviews.EVENT_TYPES) | {deliveries.TEST}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.title)
def test_a_schema_is_one(event: PublicEvent) -> None:
    Draft202012Validator.check_schema(schemas.event_schema(event))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_was_ever_written_is_valid(path: Path) -> None:
    plain = json.loads(path.read_bytes())
    validator(BY_NAME[plain["type"]]).validate(plain)


def test_sightings_and_reports_were_among_them() -> None:
    assert {"alert-raised", "alert-raised-1", "camera-offline"} <= {path.stem for path in KEPT}


@given(
    kind=st.sampled_from(reviews.EVENT_TYPES),
    update=st.builds(Update, updated_at=st.floats(0, 4e9), step=st.integers(0, 99)),
)
@settings(max_examples=50)
def test_every_update_is_valid(kind: str, update: Update) -> None:
    written = reviews.Change(id="e1", type=kind, update=update).event()
    plain = json.loads(cloudevents.dump(written))
    plain.update(source="/aegis/sites/north")
    validator(BY_NAME[kind]).validate(plain)


def raised() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((GOLDEN / "alert-raised.json").read_bytes())
    return plain


@pytest.mark.parametrize("attribute", ["id", "type", "specversion", "data", "time"])
def test_an_attribute_must_be_there(attribute: str) -> None:
    plain = raised()
    del plain[attribute]
    assert not validator(BY_NAME[alerts.RAISED]).is_valid(plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", "0.7"), ("severity", "urgent"), ("drill", 1), ("looks", 1.5), ("person", None), ("raised_at", 1.0)],
)
def test_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    plain = copy.deepcopy(raised())
    plain["data"][name] = value
    assert not validator(BY_NAME[alerts.RAISED]).is_valid(plain)


def test_required_are_the_fields_without_a_default_and_a_newer_field_is_no_mistake() -> None:
    plain = raised()
    del plain["data"]["cohort"], plain["data"]["media_time"]
    plain["data"]["newer"] = {"a": 1}
    validator(BY_NAME[alerts.RAISED]).validate(plain)
    del plain["data"]["entry"]
    assert not validator(BY_NAME[alerts.RAISED]).is_valid(plain)


def test_another_event_is_refused() -> None:
    assert not validator(BY_NAME[alerts.SIGHTED]).is_valid(raised())


def test_a_test_is_about_nobody() -> None:
    assert schemas.event_schema(BY_NAME[deliveries.TEST])["properties"]["subject"]["const"] == "test"


@pytest.mark.parametrize("names", [True, False])
def test_a_face_event_has_what_its_schema_says_and_nothing_else(*, names: bool) -> None:
    event = cloudevents.load((GOLDEN / "alert-raised.json").read_bytes())
    seen = onvif.sighting(event)
    assert seen is not None
    written = json.loads(onvif.face(event, seen, names=names))
    schema = schemas.face_schema()
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema, format_checker=FormatChecker())
    check.validate(written)
    data = schema["properties"]["Data"]
    assert set(written["Data"]) == (set(data["properties"]) if names else set(data["required"]))
    for name in data["required"]:
        assert not check.is_valid(written | {"Data": {k: v for k, v in written["Data"].items() if k != name}})


def test_states_and_severities_are_those_of_the_code() -> None:
    state = schemas.data_schema(Update)["properties"]["state"]
    assert state["enum"] == [member.value for member in AlertState]


def test_a_field_that_says_nothing_is_found() -> None:
    class Silent:
        field: str

    with pytest.raises(LookupError, match=r"Silent\.field"):
        schemas.description(Silent, "field")
