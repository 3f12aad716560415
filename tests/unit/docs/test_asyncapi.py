"""The document for integrators is the one that the code gives, and AsyncAPI's own parser takes it."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from tests.conftest import require
from tests.unit.docs import integrators
from tests.unit.docs.pages import page
from tests.unit.docs.reference import ROOT, between

from aegis.contracts import asyncapi
from aegis.runtime import topology

MEND = "run: .venv/bin/python -m tests.unit.docs.integrators"
WORST = 2
"""Severities of the parser: 0 is an error, 1 a warning; a newer version of AsyncAPI is only an information."""


@pytest.mark.parametrize("name", integrators.files())
def test_a_file_is_current(name: str) -> None:
    assert (integrators.FOLDER / name).read_text() == integrators.files()[name], MEND


def test_no_file_is_left_over() -> None:
    found = {str(path.relative_to(integrators.FOLDER)) for path in integrators.FOLDER.rglob("*") if path.is_file()}
    assert found == set(integrators.files()), MEND


@pytest.mark.parametrize("name", integrators.TABLES)
def test_a_table_of_the_guide_is_current(name: str) -> None:
    assert between(page("docs/guides/integrators.md"), name) == integrators.TABLES[name](), MEND


def test_every_published_stream_has_its_channel() -> None:
    assert {channel.stream for channel in asyncapi.CHANNELS} == set(topology.PUBLISHED)
    for channel in asyncapi.CHANNELS:
        subjects = topology.declared(channel.stream).subjects or []
        assert [subject for subject in subjects if channel.filter.startswith(subject.removesuffix(">"))] == subjects


def parsed(path: str) -> list[Any]:
    """Give what AsyncAPI's parser prints, a value a line."""
    if shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("node is not installed")
        pytest.skip("node is not installed")
    modules = require(ROOT / "var" / "npm" / "installed", "what npm installs").parent / "node_modules"
    command = ["node", str(ROOT / "tests" / "peers" / "asyncapi_parse.mjs"), str(modules), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_parser_takes_it_and_reads_what_was_meant() -> None:
    *problems, operations = parsed(str(integrators.FOLDER / "asyncapi.yaml"))
    assert [problem for problem in problems if problem["severity"] < WORST] == []
    assert all(operation["action"] == "receive" for operation in operations)
    read = {operation["id"]: operation for operation in operations}
    for channel in asyncapi.CHANNELS:
        names = [message.name for message in channel.messages]
        assert read[f"receive-{channel.name}"]["addresses"] == [channel.address]
        assert read[f"receive-{channel.name}"]["messages"] == names
        assert read[f"receive-mqtt-{channel.name}"]["messages"] == names
    assert read["receive-webhook"]["messages"] == [message.name for message in asyncapi.WEBHOOK]


def test_mqtt_asks_for_no_header_and_the_bus_for_its_own() -> None:
    document = asyncapi.document()
    messages = document["components"]["messages"]
    for channel in asyncapi.CHANNELS:
        for message in channel.messages:
            over_mqtt = document["channels"][f"mqtt-{channel.name}"]["messages"][message.title]["$ref"]
            assert "headers" not in messages[over_mqtt.rpartition("/")[2]]
            assert set(messages[message.title]["headers"]["properties"]) == {"content-type", "Nats-Msg-Id"}


def test_the_parser_finds_a_mistake(tmp_path: Any) -> None:
    document = yaml.safe_load((integrators.FOLDER / "asyncapi.yaml").read_text())
    document["operations"]["receive-alerts"]["channel"]["$ref"] = "#/channels/nowhere"
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(document))
    *problems, _ = parsed(str(tmp_path / "bad.yaml"))
    assert any(problem["severity"] == 0 for problem in problems)
