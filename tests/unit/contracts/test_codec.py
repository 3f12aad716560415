"""The codec: what a newer or older writer sent is read, and everything else is refused by name and at once."""

import dataclasses
import enum
import time
import types
import typing
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import codec, messages
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import (
    Category,
    FacesDetected,
    FrameCaptured,
    LookRequested,
    Remove,
    SetState,
    Severity,
    SiteRecord,
)

KINDS = [kind for kind in vars(messages).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
FRAME = {"v": 1, "camera": "a", "lease": 1, "sequence": 2, "captured_at": 3.5, "jpeg": b"x"}
LOOK = {
    "track": 1,
    "look": 1,
    "captured_at": 1.0,
    "first_captured_at": 1.0,
    "seen_at": 1.0,
    "quality": 1.0,
    "chip": b"",
}
FACES = {"v": 1, "camera": "a", "lease": 1, "detector": "d", "looks": [LOOK, LOOK]}
SITE = {"v": 1, "id": "s", "name": "S", "kind": "demo", "categories": {"barred": {"severity": "low"}}}


def pack(plain: object) -> bytes:
    packed: bytes = msgpack.packb(plain)
    return packed


def refused(kind: type, data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as error:
        codec.decode(kind, data)
    assert error.value.kind == kind.__name__
    return error.value


def test_a_newer_field_is_ignored() -> None:
    frame = codec.decode(FrameCaptured, pack({**FRAME, "newer": {"deep": [1, {"x": None}]}}))
    assert frame == codec.decode(FrameCaptured, pack(FRAME))
    looks = codec.decode(FacesDetected, pack({**FACES, "looks": [{**LOOK, "newer": 1}]})).looks
    assert len(looks) == 1


def test_a_missing_field_takes_its_default() -> None:
    assert codec.decode(FrameCaptured, pack(FRAME)).media_time is None
    assert codec.decode(SiteRecord, pack(SITE)).categories["barred"] == Category(severity=Severity.LOW, threshold=0.5)


@pytest.mark.parametrize("field", sorted(FRAME.keys() - {"v"}))
def test_a_missing_required_field_is_named(field: str) -> None:
    error = refused(FrameCaptured, pack({name: value for name, value in FRAME.items() if name != field}))
    assert (error.field, error.problem) == (field, "is missing")


def test_a_field_inside_is_named_with_its_path() -> None:
    broken = {**FACES, "looks": [LOOK, {name: value for name, value in LOOK.items() if name != "chip"}]}
    assert refused(FacesDetected, pack(broken)).field == "looks[1].chip"
    broken = {**SITE, "categories": {"barred": {"threshold": "much"}}}
    error = refused(SiteRecord, pack(broken))
    assert error.field == "categories.barred.threshold"
    assert str(error) == "SiteRecord.categories.barred.threshold: float is expected, not 'much'"


@pytest.mark.parametrize(
    ("kind", "plain", "field"),
    [
        (FrameCaptured, {**FRAME, "camera": 1}, "camera"),
        (FrameCaptured, {**FRAME, "camera": b"a"}, "camera"),
        (FrameCaptured, {**FRAME, "camera": None}, "camera"),
        (FrameCaptured, {**FRAME, "lease": 1.0}, "lease"),
        (FrameCaptured, {**FRAME, "lease": True}, "lease"),
        (FrameCaptured, {**FRAME, "captured_at": "now"}, "captured_at"),
        (FrameCaptured, {**FRAME, "captured_at": False}, "captured_at"),
        (FrameCaptured, {**FRAME, "media_time": []}, "media_time"),
        (FrameCaptured, {**FRAME, "jpeg": "text"}, "jpeg"),
        (FacesDetected, {**FACES, "looks": {}}, "looks"),
        (FacesDetected, {**FACES, "looks": "look"}, "looks"),
        (FacesDetected, {**FACES, "looks": [1]}, "looks[0]"),
        (SiteRecord, {**SITE, "categories": []}, "categories"),
        (SiteRecord, {**SITE, "categories": {"barred": 1}}, "categories.barred"),
        (SetState, {"v": 1, "state": "shut"}, "state"),
        (SetState, {"v": 1, "state": ["armed"]}, "state"),
        (SetState, {"v": 1, "state": {"armed": 1}}, "state"),
    ],
)
def test_an_ill_typed_field_is_named(kind: type, plain: object, field: str) -> None:
    assert refused(kind, pack(plain)).field == field


def test_a_whole_number_is_a_number() -> None:
    frame = codec.decode(FrameCaptured, pack({**FRAME, "captured_at": 3}))
    assert frame.captured_at == 3.0
    assert type(frame.captured_at) is float


def test_an_error_shows_little_of_what_was_sent() -> None:
    error = refused(Remove, pack({"v": 1, "id": b"face" * 100}))
    assert "face" not in str(error)
    assert len(str(refused(LookRequested, pack({"v": 1, "camera": "a", "lease": "x" * 10_000})))) < 200


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_refused(version: object) -> None:
    error = refused(Remove, pack({"v": version, "id": "a"}))
    assert error.field == "v"
    assert "knows version 1" in error.problem


def test_no_version_is_another_version() -> None:
    assert refused(Remove, pack({"id": "a"})).field == "v"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"{}",
        b"\x81",
        pack({"v": 1, "id": "a"})[:-1],
        pack({"v": 1, "id": "a"}) + b"x",
        b"\x81\xa1v\xa1\xff",
    ],
)
def test_what_is_not_msgpack_is_refused(data: bytes) -> None:
    assert "msgpack" in str(refused(Remove, data)) or "map" in str(refused(Remove, data))


@pytest.mark.parametrize("plain", [None, 1, "text", b"bytes", [], [{"v": 1}]])
def test_what_is_no_map_is_refused(plain: object) -> None:
    assert "a map is expected" in refused(Remove, pack(plain)).problem


def test_keys_that_are_no_text_are_refused() -> None:
    assert "msgpack" in str(refused(Remove, b"\x82\xa1v\x01\x01\x02"))


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 1_000_000,
        b"\x81\xa1v" * 300_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffx",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x82\xa1v\x01\xa2id" + b"\x91" * 900 + b"\x01",
        pack({"v": 1, "id": [0] * 900_000}),
    ],
)
def test_depth_and_length_cost_nothing(data: bytes) -> None:
    started = time.process_time()
    refused(Remove, data)
    assert time.process_time() - started < 1


@given(st.binary(max_size=200))
def test_no_bytes_bring_another_error(data: bytes) -> None:
    for kind in (FacesDetected, SiteRecord, SetState):
        try:
            codec.decode(kind, data)
        except DecodeError:
            continue
        pytest.fail("random bytes are no message")


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Give values of a field's type, as wide as the wire allows."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values(argument) for argument in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=8), values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        given_fields = {f.name: values(hints[f.name]) for f in dataclasses.fields(kind)}
        return st.builds(typing.cast("Any", kind), **given_fields)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**64 - 1),
        float: st.floats(allow_nan=False),
        str: st.text(),
        bytes: st.binary(),
    }[kind]


@given(st.one_of(*(values(kind) for kind in KINDS)))
def test_every_message_is_read_as_it_was_written(message: object) -> None:
    assert codec.decode(type(message), codec.encode(message)) == message


def test_a_message_that_refuses_its_own_values_is_named() -> None:
    @dataclass(frozen=True)
    class Even:
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("it is odd")

    assert refused(Even, pack({"v": 1, "number": 3})).problem == "it is odd"
    assert codec.decode(Even, pack({"v": 1, "number": 2})) == Even(2)
