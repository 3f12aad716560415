"""Subjects: what may be a token of one, and that each says the same wherever it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import subjects

ALLOWED = "abcdefghijklmnopqrstuvwxyz0123456789_-"


@given(st.text(ALLOWED, min_size=1, max_size=64))
def test_these_are_tokens(text: str) -> None:
    assert subjects.token(text, "camera") == text


@given(st.text(min_size=1, max_size=64).filter(lambda text: set(text) - set(ALLOWED)))
def test_everything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^camera "):
        subjects.token(text, "camera")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 65,
        "a.b",
        ".",
        "*",
        ">",
        "a>",
        "a b",
        " a",
        "a\n",
        "a\r\nPUB x",
        "a\t",
        "Lobby",
        "ä",
        "٣",
        "a\0",
        "$js",
    ],
)
def test_nothing_can_be_smuggled_into_a_subject(text: str) -> None:
    with pytest.raises(ValueError, match="is not 1 to 64 of the characters"):
        subjects.token(text, "camera")


@pytest.mark.parametrize("value", [None, 3, b"lobby", ["lobby"]])
def test_what_is_no_text_is_no_token(value: object) -> None:
    with pytest.raises(ValueError, match="camera"):
        subjects.token(value, "camera")  # type: ignore[arg-type]


def test_subjects_are_these() -> None:
    assert subjects.frame_captured(3, "lobby") == "aegis.v1.frame.captured.3.lobby"
    assert subjects.face_detected(3, "lobby") == "aegis.v1.face.detected.3.lobby"
    assert subjects.face_embedded("*", "*") == "aegis.v1.face.embedded.*.*"
    assert subjects.look_requested(3, "lobby") == "aegis.v1.look.requested.3.lobby"
    assert subjects.alert("north", "barred", "p1") == "aegis.v1.alert.north.barred.p1"
    assert subjects.camera("north", "lobby") == "aegis.v1.camera.north.lobby"
    assert subjects.delivery("email", "a1", "e1", "r1") == "aegis.v1.delivery.email.a1.e1.r1"
    assert subjects.registry("add-entry") == "aegis.v1.registry.add-entry"
    assert subjects.dead("embed") == "aegis.v1.dead.embed"
    assert subjects.STATUS == "aegis.v1.status.requested"


@pytest.mark.parametrize(
    "subject",
    [subjects.frame_captured, subjects.face_detected, subjects.face_embedded, subjects.look_requested],
)
def test_the_partition_is_read_back(subject: object) -> None:
    assert callable(subject)
    for partition in (0, 7, subjects.PARTITIONS - 1):
        assert subjects.partition_of(subject(partition, "a-1")) == partition
