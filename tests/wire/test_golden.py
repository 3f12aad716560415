"""The bytes of every message as they were once written: they are still read, and still written so."""

import dataclasses
from pathlib import Path

import pytest
from tests.wire.examples import EVENTS, GOLDEN, MESSAGES, OLDER, OLDER_EVENTS, files

from aegis.contracts import alerts, cameras, cloudevents, codec, deliveries, messages, people, reviews


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_and_written_as_it_was(message: object) -> None:
    golden = (GOLDEN / f"{type(message).__name__}.bin").read_bytes()
    assert codec.decode(type(message), golden) == message
    assert codec.encode(message) == golden


@pytest.mark.parametrize("name", OLDER)
def test_a_message_of_before_is_read(name: str) -> None:
    message = OLDER[name]
    assert codec.decode(type(message), (GOLDEN / f"{name}.bin").read_bytes()) == message


@pytest.mark.parametrize("name", OLDER_EVENTS)
def test_an_event_of_before_is_read(name: str) -> None:
    record = OLDER_EVENTS[name]
    event = cloudevents.load((GOLDEN / f"{name}.json").read_bytes())
    assert cloudevents.from_data(type(record), event.data) == record


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_read_and_written_as_it_was(name: str) -> None:
    event, record = EVENTS[name]
    golden = (GOLDEN / f"{name}.json").read_bytes()
    assert cloudevents.load(golden) == event
    assert cloudevents.from_data(type(record), cloudevents.load(golden).data) == record
    assert cloudevents.dump(event) == golden


def test_every_kind_has_its_bytes() -> None:
    kinds = {kind for module in (messages, deliveries, people) for kind in vars(module).values() if _is_message(kind)}
    parts = {messages.Look, messages.EmbeddedLook, messages.Category, messages.Template, messages.SharedPicture}
    assert {type(message) for message in MESSAGES} == kinds - parts
    types = {value for module in (alerts, cameras, reviews) for value in vars(module).values() if _is_event_type(value)}
    assert {event.type for event, _ in EVENTS.values()} == types


def _is_message(value: object) -> bool:
    return isinstance(value, type) and dataclasses.is_dataclass(value)


def _is_event_type(value: object) -> bool:
    return isinstance(value, str) and value.startswith("aegis.") and value.endswith(".v1")


def test_every_committed_file_is_held_to() -> None:
    committed: set[Path] = set(GOLDEN.iterdir())
    older = {GOLDEN / f"{name}.bin" for name in OLDER} | {GOLDEN / f"{name}.json" for name in OLDER_EVENTS}
    assert committed == set(files()) | older


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_field_of_an_example_differs_from_its_default(message: object) -> None:
    """What is left at its default could be lost on the way without a test that sees it."""
    fields = [f for f in dataclasses.fields(message) if f.default is not dataclasses.MISSING]  # type: ignore[arg-type]
    same = {f.name for f in fields if getattr(message, f.name) == f.default}
    assert same <= {"problem", "media_time"}
