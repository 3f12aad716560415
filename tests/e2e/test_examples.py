"""The examples and every documented operation, with the integrators' key against a whole system that runs."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from nats.aio.msg import Msg
from referencing import Registry, Resource
from tests.bus import until
from tests.conftest import ROOT, require
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, running

from aegis.runtime.bus import Bus
from aegis.runtime.bus_server import free_port

EXAMPLES = ROOT / "examples"
SECRET = "whsec_" + "c29tZSBzZWNyZXQ="
DOCUMENT = yaml.safe_load((ROOT / "docs" / "integrators" / "asyncapi.yaml").read_text())


class Program:
    """An example that runs, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def said(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in line for word in words)]


@contextlib.asynccontextmanager
async def program(folder: Path, *command: object, **environ: str) -> AsyncIterator[Program]:
    log = folder / f"{secrets.token_hex(4)}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdout=out, stderr=out, env={**os.environ, **environ}
        )
    try:
        yield Program(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


class Told:
    """All that came on the documented channels of the bus, each checked against its message's schema."""

    def __init__(self) -> None:
        self.types: dict[str, list[str]] = defaultdict(list)
        self.problems: list[str] = []

    def check(self, channel: dict[str, Any], message: Msg) -> None:
        content_type = (message.headers or {}).get("content-type")
        declared = [resolved(reference) for reference in channel["messages"].values()]
        fitting = [each for each in declared if each["contentType"] == content_type]
        if content_type == "application/cloudevents+json":
            name = json.loads(message.data)["type"]
            fitting = [each for each in fitting if each["name"] == name]
        if not fitting:
            self.problems.append(f"{message.subject}: nothing like it is declared: {message.data[:200]!r}")
            return
        (kind,) = fitting
        payload: object = message.data.decode() if content_type == "application/cap+xml" else json.loads(message.data)
        self.problems += [f"{kind['name']}: {error.message}" for error in validator(kind).iter_errors(payload)]
        self.types[channel["address"]].append(kind["name"])


def resolved(reference: dict[str, str]) -> dict[str, Any]:
    found: Any = DOCUMENT
    for part in reference["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def validator(message: dict[str, Any]) -> Draft202012Validator:
    base = "urn:document"
    registry: Registry[Any] = Registry().with_resource(
        base, Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **DOCUMENT})
    )
    schema = json.loads(json.dumps(message["payload"]).replace('"#/', f'"{base}#/'))
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


async def listen(bus: Bus) -> Told:
    """Subscribe to every channel that the document has on the bus."""
    told = Told()
    for channel in DOCUMENT["channels"].values():
        if channel["servers"] != [{"$ref": "#/servers/bus"}]:
            continue
        subject = channel["address"]
        for name in channel["parameters"]:
            subject = subject.replace("{" + name + "}", "*")

        async def take(message: Msg, channel: dict[str, Any] = channel) -> None:
            told.check(channel, message)

        await bus.subscribe(subject, take)
    return told


@contextlib.asynccontextmanager
async def integrator(system: System) -> AsyncIterator[Bus]:
    async with Bus.connect(system.state.bus_config(None, "integrator"), "test") as bus:
        yield bus


async def first_alert(system: System, people: People) -> str:
    await system.enrol("person a", people.photo("again.mkv"), people.photo("help.mkv"))
    await system.command("camera", "add", "gate", f"file:{people.clip('brother.mkv')}")
    await until(lambda: _raised(system), "an alert was raised", 60)
    return str((await system.alerts("raised"))[0]["reference"])


async def _raised(system: System) -> bool:
    return bool(await system.raised())


@pytest.mark.usefixtures("models_dir")
async def test_every_operation_and_example(people: People, tmp_path: Path) -> None:
    hook = free_port()
    webhooks = f'notify:\n  webhooks:\n    - {{url: "http://127.0.0.1:{hook}/", secret_env: HOOK}}\n'
    receiver = EXAMPLES / "webhook" / "receiver.py"
    async with (
        program(tmp_path, sys.executable, receiver, hook, AEGIS_WEBHOOK_SECRET=SECRET) as taking,
        running(tmp_path, SITE + webhooks, environ={"HOOK": SECRET}) as system,
        integrator(system) as bus,
    ):
        told = await listen(bus)
        follow = (sys.executable, EXAMPLES / "python" / "follow.py", system.state.directory)
        async with program(tmp_path, *follow) as python:
            reference = await first_alert(system, people)
            await until(lambda: bool(python.said("raised", reference, "person a")), "Python was told")
        await until(lambda: bool(taking.said("aegis.alert.raised.v1", reference)), "the webhook was told")
        keys = [tmp_path / f"{name}.nk" for name in ("ann", "bob")]
        for key in keys:
            await system.command("user", "add", key.stem, "--out", key)
        await system.command("alerts", "ack", reference, "--as", keys[0])
        await system.command("alerts", "confirm", reference, "--as", keys[1])
        await system.command("alerts", "dismiss", reference, "--reason", "somebody else", "--as", keys[0])
        await until(lambda: bool(taking.said("aegis.alert.dismissed.v1", reference)), "the webhook was told so")
        kinds = [f"aegis.alert.{kind}.v1" for kind in ("acknowledged", "confirmed", "corrected")]
        await until(lambda: all(taking.said(kind, reference) for kind in kinds), "the webhook was told the rest")
        assert not taking.said("aegis.alert.sighted.v1")
        async with program(tmp_path, *follow) as python:
            await until(lambda: bool(python.said("corrected", reference)), "Python reads on where it stopped")
            assert python.said("acknowledged", reference, "acknowledged")
            assert python.said("dismissed", reference)
            assert not python.said("raised")
        await until(lambda: "aegis.camera.ended.v1" in told.types["aegis.v1.camera.{site}.{camera}"], "the film ended")
        assert told.problems == []
        alerts = told.types["aegis.v1.alert.{site}.{category}.{entry}"]
        assert {"raised", "acknowledged", "confirmed", "dismissed", "corrected"} <= {t.split(".")[2] for t in alerts}
        assert "aegis.camera.online.v1" in told.types["aegis.v1.camera.{site}.{camera}"]
        heard = {channel for channel, names in told.types.items() if names}
        assert heard == {c["address"] for c in DOCUMENT["channels"].values() if "x-jetstream-stream" in c}
        await javascript(tmp_path, system, reference)
        port = next(status["port"] for (name, _), status in (await system.services()).items() if name == "notify")
        async with program(tmp_path, "sh", EXAMPLES / "curl" / "health.sh", port) as health:
            assert await health.process.wait() == 0, health.lines
            assert health.lines[0] == "ok"
            assert health.said("aegis_deliveries_total")


async def javascript(folder: Path, system: System, reference: str) -> None:
    """Run the example for JavaScript, with the packages that the tests install."""
    modules = require(ROOT / "var" / "npm" / "installed", "what npm installs").parent / "node_modules"
    require(Path(shutil.which("node") or "/node"), "node")
    copy = folder / "javascript"
    shutil.copytree(EXAMPLES / "javascript", copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(modules)
    follow = ("node", copy / "follow.mjs", system.state.directory)
    async with program(folder, *follow) as script:
        await until(lambda: bool(script.said("corrected", reference)), "JavaScript reads all of it")
        assert script.said("raised", reference, "person a")
    async with program(folder, *follow, "aegis.v1.alert.>") as script, integrator(system) as bus:
        jetstream = bus.client.jetstream()

        async def waiting() -> bool:
            info = await jetstream.consumer_info("ALERTS", "example-javascript")
            return not info.num_ack_pending and bool(info.num_waiting)

        await until(waiting, "it has acknowledged all, and waits")
        assert script.lines == []


def test_the_packages_of_the_example_are_those_that_are_tested() -> None:
    wanted = json.loads((EXAMPLES / "javascript" / "package.json").read_text())["dependencies"]
    tested = json.loads((ROOT / "tests" / "peers" / "npm" / "package.json").read_text())["dependencies"]
    assert wanted.items() <= tested.items()


EVENT = ROOT / "tests" / "wire" / "golden" / "alert-raised.json"


@pytest.mark.parametrize(
    ("secret", "code"), [(SECRET, "204"), ("whsec_YW5vdGhlcg==", "401"), ("plain text", "401")], ids=str
)
async def test_the_receiver_takes_what_curl_signs(tmp_path: Path, secret: str, code: str) -> None:
    port = free_port()
    receiver, post = EXAMPLES / "webhook" / "receiver.py", EXAMPLES / "curl" / "post.sh"
    async with program(tmp_path, sys.executable, receiver, port, AEGIS_WEBHOOK_SECRET=SECRET) as taking:
        await until(lambda: bool(taking.said("listening")), "it listens")
        url = f"http://127.0.0.1:{port}/"
        async with program(tmp_path, "sh", post, url, EVENT, AEGIS_WEBHOOK_SECRET=secret) as posting:
            await posting.process.wait()
            assert posting.lines == [code]
        assert len(taking.said("aegis.alert.raised.v1")) == (1 if code == "204" else 0)
