"""The examples that follow a stream: what they do when somebody deletes their consumer, restarts the bus or errs."""

import asyncio
import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.bus import Server, until
from tests.conftest import ROOT, require
from tests.integration.integrators.conftest import integrator

from aegis.contracts import subjects
from aegis.runtime.bus import Bus

EXAMPLES = ROOT / "examples"
HOPPER = subjects.alert("north", "barred", "hopper")
LOBBY = subjects.camera("north", "lobby")
HEADERS = {"content-type": "application/cloudevents+json"}
Start = Callable[..., contextlib.AbstractAsyncContextManager["Running"]]


class Running:
    """An example that runs, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    @property
    def complaints(self) -> list[str]:
        return self._err.read_text().splitlines()

    def printed(self, word: str) -> int:
        return sum(word in line for line in self.lines)


@pytest.fixture(params=["python", "javascript"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Give the words that start the example, but for its arguments."""
    if request.param == "python":
        return [sys.executable, str(EXAMPLES / "python" / "follow.py")]
    modules = require(ROOT / "var" / "npm" / "installed", "what npm installs").parent / "node_modules"
    node = require(Path(shutil.which("node") or "/node"), "node")
    copy = tmp_path / "javascript"
    shutil.copytree(EXAMPLES / "javascript", copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(modules)
    return [str(node), str(copy / "follow.mjs")]


@pytest.fixture
def start(command: list[str], tmp_path: Path, server: Server) -> Start:
    """Give what starts the example; it is ended with the block."""
    (tmp_path / "running.json").write_text(json.dumps({"port": server.files.port}))

    @contextlib.asynccontextmanager
    async def starting(*arguments: str) -> AsyncIterator[Running]:
        out, err = (tmp_path / f"{secrets.token_hex(4)}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=stdout, stderr=stderr)
        try:
            yield Running(process, out, err)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    return starting


async def ended(start: Start, *arguments: str) -> Running:
    async with start(*arguments) as running, asyncio.timeout(30):
        await running.process.wait()
    return running


async def tell(bus: Bus, reference: str) -> None:
    data = {"reference": reference, "state": "acknowledged"}
    event = {"type": "aegis.alert.acknowledged.v1", "time": "2026-11-24T01:40:11.512Z", "data": data}
    await bus.store(HOPPER, json.dumps(event).encode(), headers=HEADERS)


async def name(server: Server) -> str:
    """Give the name under which the bus knows the one reader that there is."""
    async with integrator(server) as (_, jetstream, _refused):
        (found,) = await jetstream.consumers_info("ALERTS")
        return found.name


async def test_it_reads_on_when_its_consumer_was_deleted(
    bus: Bus, server: Server, start: Start, tmp_path: Path
) -> None:
    await tell(bus, "one")
    async with start(str(tmp_path)) as running:
        await until(lambda: running.printed("one") == 1, "the first is printed", 30)
        async with integrator(server) as (_, jetstream, _refused):
            assert await jetstream.delete_consumer("ALERTS", await name(server))
        await tell(bus, "two")
        await until(lambda: running.printed("two") == 1, "the next is printed", 60)
        assert any("does not know" in line for line in running.complaints)
        await tell(bus, "three")
        await until(lambda: running.printed("three") == 1, "and the next", 30)


async def test_it_reads_on_when_the_bus_is_back_and_prints_no_traceback(
    bus: Bus, server: Server, start: Start, tmp_path: Path
) -> None:
    await tell(bus, "one")
    async with start(str(tmp_path)) as running:
        await until(lambda: running.printed("one") == 1, "the first is printed", 30)
        server.kill()
        server.start()
        await tell(bus, "two")
        await until(lambda: running.printed("two") == 1, "the next is printed", 60)
        assert not [line for line in running.complaints if not line.startswith(("the bus ", "trouble with the bus: "))]


async def test_another_filter_is_refused_until_the_old_consumer_is_forgotten(
    bus: Bus, server: Server, start: Start, tmp_path: Path
) -> None:
    await tell(bus, "one")
    async with start(str(tmp_path), "aegis.v1.alert.>") as running:
        await until(lambda: running.printed("one") == 1, "it is printed", 30)
    other = await ended(start, str(tmp_path), HOPPER)
    assert other.process.returncode == 1
    assert "as a reader of aegis.v1.alert.>, not of" in other.complaints[-1]
    assert "--forget STATE_DIR 'aegis.v1.alert.>'" in other.complaints[-1]
    assert (await ended(start, "--forget", str(tmp_path), "aegis.v1.alert.>")).process.returncode == 0
    async with start(str(tmp_path), HOPPER) as running:
        await until(lambda: running.printed("one") == 1, "it is read anew", 30)
    forgotten = await ended(start, "--forget", str(tmp_path), "aegis.v1.camera.>")
    assert forgotten.process.returncode == 1
    assert "does not know" in forgotten.complaints[-1]


async def test_it_follows_cameras_and_other_forms_too(bus: Bus, start: Start, tmp_path: Path) -> None:
    event = {"type": "aegis.camera.offline.v1", "time": "2026-11-24T01:40:11.512Z"}
    event |= {"data": {"camera": "lobby", "reason": "no answer"}}  # type: ignore[dict-item]
    await bus.store(LOBBY, json.dumps(event).encode(), headers=HEADERS)
    await bus.store(subjects.cap("north", "barred", "p1"), b"<alert/>", headers={"content-type": "application/cap+xml"})
    async with start(str(tmp_path), "aegis.v1.camera.>") as running:
        await until(lambda: bool(running.printed("camera.offline lobby no answer")), "a camera event is printed", 30)
    async with start(str(tmp_path), "aegis.v1.cap.>") as running:
        await until(lambda: bool(running.printed("<alert/>")), "a message of CAP is printed", 30)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "STATE_DIR"),
        (("{}", "aegis.v1.delivery.>"), "SUBJECT begins with"),
        (("{}/nowhere",), "cannot read {}/nowhere/"),
    ],
    ids=["nothing", "subject", "nowhere"],
)
async def test_a_mistake_is_told_without_a_traceback(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    running = await ended(start, *(text.format(tmp_path) for text in arguments))
    assert running.process.returncode == 1
    assert says.format(tmp_path) in "\n".join(running.complaints)
    assert "Traceback" not in "\n".join(running.complaints)
    assert "    at " not in "\n".join(running.complaints)
