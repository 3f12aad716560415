"""Logs: every record is one line of JSON, whatever is in it."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis.runtime import logs
from aegis.runtime.logs import JsonFormatter


def line(message: str, *arguments: object, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("aegis.test").makeRecord(
        "aegis.test", logging.WARNING, "f.py", 1, message, arguments, None, extra=extra
    )
    text = JsonFormatter("detect", "r1").format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_record_is_one_object_with_who_and_when() -> None:
    found = line("%d cameras", 3)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "service": "detect",
        "replica": "r1",
        "logger": "aegis.test",
        "message": "3 cameras",
    }


def test_extra_fields_stand_beside_the_message() -> None:
    found = line("held", camera="lobby", epoch=7, path=Path("/x"))
    assert (found["camera"], found["epoch"], found["path"]) == ("lobby", 7, "/x")


def test_whatever_is_in_a_message_it_stays_one_line() -> None:
    assert line('two\nlines and "quotes" and ü')["message"] == 'two\nlines and "quotes" and ü'


def test_an_error_brings_its_trace() -> None:
    try:
        int("no number")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    found = json.loads(JsonFormatter("detect", "r1").format(record))
    assert "ValueError: invalid literal" in found["error"]


@pytest.fixture
def untouched() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def test_from_its_level_on_lines_go_into_the_file(tmp_path: Path, untouched: None) -> None:
    file = tmp_path / "service.log"
    logs.configure("detect", "r1", "warning", file)
    logging.getLogger("aegis.test").info("quiet")
    logging.getLogger("aegis.test").warning("told", extra={"camera": "lobby"})
    (found,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert (found["message"], found["camera"]) == ("told", "lobby")
