"""CloudEvents: read as written, refused by the attribute's name, and times as RFC 3339 has them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import cameras, cloudevents
from aegis.contracts.cameras import CameraReport
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.codec import DecodeError

EVENT = CloudEvent(
    id="e1",
    source="/aegis/sites/north",
    type="aegis.x.v1",
    time="2026-11-23T12:00:00.250Z",
    subject="a/b",
    data={"a": 1},
)
REPORT = CameraReport(site="north", camera="lobby", camera_name="Lobby", reported_at=1_780_000_000.25)
REQUIRED = ("id", "source", "type", "time", "subject", "data")


def plain(**changes: Any) -> bytes:
    document = json.loads(cloudevents.dump(EVENT)) | changes
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.text(), st.text(), st.dictionaries(st.text(), JSON, max_size=4))
def test_an_event_is_read_as_it_was_written(identity: str, subject: str, data: dict[str, Any]) -> None:
    event = CloudEvent(id=identity, source="/s", type="t", time="2026-11-23T12:00:00Z", subject=subject, data=data)
    written = json.dumps(data, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return
    assert cloudevents.load(cloudevents.dump(event)) == event


def test_it_is_structured_json_of_version_1() -> None:
    document = json.loads(cloudevents.dump(EVENT))
    assert document["specversion"] == "1.0"
    assert document["datacontenttype"] == "application/json"
    assert cloudevents.CONTENT_TYPE == "application/cloudevents+json"


def test_extensions_are_ignored() -> None:
    assert cloudevents.load(plain(traceparent="00-1", newer={"x": 1})) == EVENT


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [..., None, 3, []])
def test_an_attribute_that_is_missing_or_ill_typed_is_named(name: str, value: object) -> None:
    with pytest.raises(DecodeError) as error:
        cloudevents.load(plain(**{name: value}))
    assert error.value.field == name


@pytest.mark.parametrize("version", [..., "0.3", 1.0, None])
def test_another_version_is_refused(version: object) -> None:
    with pytest.raises(DecodeError) as error:
        cloudevents.load(plain(specversion=version))
    assert error.value.field == "specversion"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 200_000, b'{"a":' * 200_000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="JSON"):
        cloudevents.load(data)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_780_000_000.25, "2026-05-28T20:26:40.250Z"),
        (1_780_000_000.0009, "2026-05-28T20:26:40.000Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(seconds: float, text: str) -> None:
    assert cloudevents.rfc3339(seconds) == text


@given(st.floats(0, 4e9))
def test_a_time_is_read_back_to_the_millisecond(seconds: float) -> None:
    assert abs(cloudevents.seconds(cloudevents.rfc3339(seconds)) - seconds) <= 0.00101


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-28T20:26:40.25Z",
        "2026-05-28T20:26:40.250+00:00",
        "2026-05-28T22:26:40.250000+02:00",
        "2026-05-28 16:56:40.25-03:30",
        "2026-05-28t20:26:40.250z",
    ],
)
def test_any_rfc_3339_time_is_read(text: str) -> None:
    assert cloudevents.seconds(text) == 1_780_000_000.25


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-05-28",
        "20260528T202640Z",
        "2026-W22-4T20:26:40Z",
        "2026-05-28T20:26:40",
        "2026-05-28T20:26Z",
        "2026-13-28T20:26:40Z",
        "2026-05-28T25:26:40Z",
        "2026-05-28T20:26:40Z ",
        "٢٠٢٦-05-28T20:26:40Z",
        "1780000000",
    ],
)
def test_every_other_time_is_refused_by_its_name(text: str) -> None:
    data = cloudevents.to_data(REPORT) | {"reported_at": text}
    with pytest.raises(DecodeError) as error:
        cloudevents.from_data(CameraReport, data)
    assert error.value.field == "reported_at"


def test_the_ends_of_time_are_no_error_of_another_kind() -> None:
    for text in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert isinstance(cloudevents.seconds(text), float)


def test_data_is_read_as_it_was_written() -> None:
    data = cloudevents.to_data(REPORT)
    assert data["reported_at"] == "2026-05-28T20:26:40.250Z"
    assert cloudevents.from_data(CameraReport, data | {"newer": 1}) == REPORT


def test_a_missing_field_of_the_data_is_named() -> None:
    data = cloudevents.to_data(REPORT)
    del data["camera"]
    with pytest.raises(DecodeError, match=r"CameraReport\.camera: is missing"):
        cloudevents.from_data(CameraReport, data)


def test_a_cameras_event_is_about_the_camera() -> None:
    event = cameras.event(cameras.OFFLINE, "e1", REPORT)
    assert (event.subject, event.source, event.time) == ("lobby", "/aegis/sites/north", "2026-05-28T20:26:40.250Z")
