"""The example of the integrators' guide: it hears alerts also after the bus was killed, and leaves nothing behind."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.bus import until
from tests.integration.mqtt.conftest import PATIENCE, MqttServer

from aegis.contracts import subjects
from aegis.runtime import bus_server
from aegis.runtime.bus import Bus, BusUnavailableError, RefusedError

SCRIPT = Path(__file__).parents[3] / "examples" / "mqtt" / "listen.sh"
ALERT = subjects.alert("north", "barred", "p1")


async def test_the_example_prints_alerts_across_a_restart_of_the_bus(server: MqttServer, admin: Bus) -> None:
    script = await asyncio.create_subprocess_exec(
        *("sh", str(SCRIPT), str(server.files.directory.parent), f"{bus_server.HOST}:{server.port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed: list[dict[str, Any]] = []

    async def read() -> None:
        assert script.stdout is not None
        async for line in script.stdout:
            printed.append(json.loads(line))  # noqa: PERF401 - others look at it meanwhile

    async def prints(told: str) -> bool:
        # Nobody can tell when it listens, and what is told before that it does not hear.
        with contextlib.suppress(BusUnavailableError, RefusedError):
            await admin.store(ALERT, json.dumps({"id": told}).encode(), patience=1.0)
        return {"topic": ALERT.replace(".", "/"), "event": {"id": told}} in printed

    reading = asyncio.create_task(read())
    try:
        await until(lambda: prints("before"), "an alert is printed", 30.0)
        server.kill()
        server.start()
        await until(lambda: prints("after"), "an alert after the restart is printed", 30.0)
    finally:
        script.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await reading
            await script.wait()


async def test_a_message_of_cap_is_a_text_in_a_json_object(server: MqttServer, admin: Bus) -> None:
    cap = b"<?xml version='1.0' encoding='utf-8'?>\n<alert>\"quoted\"</alert>"
    async with running(server, "aegis/v1/cap/#") as script:
        assert script.stdout is not None
        line = asyncio.create_task(script.stdout.readline())

        async def printed() -> bool:
            await admin.store(subjects.cap("north", "barred", "p1"), cap)
            return line.done()

        await until(printed, "a message is printed", 30.0)
        told = json.loads(await line)
        assert told["topic"] == "aegis/v1/cap/north/barred/p1"
        assert told["payload"] == cap.decode()


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_it_leaves_nothing_behind_however_often_it_is_ended(
    server: MqttServer, admin: Bus, tmp_path: Path, times: int
) -> None:
    async with running(server, TMPDIR=str(tmp_path)) as script:
        children = Path(f"/proc/{script.pid}/task/{script.pid}/children")
        await until(lambda: any(client(pid) for pid in children.read_text().split()), "the client was started")
        started = children.read_text().split()
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                script.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await script.wait() == 0
        await until(lambda: not any(client(pid) for pid in started), "the client has ended")
        assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.parametrize(
    ("arguments", "says"), [((), "listen.sh STATE HOST:PORT"), (("/nowhere", "127.0.0.1:1"), "cannot read /nowhere/")]
)
async def test_a_mistake_is_told_in_one_line(server: MqttServer, arguments: tuple[str, ...], says: str) -> None:
    script = await asyncio.create_subprocess_exec(
        "sh", str(SCRIPT), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    (line,) = (await script.communicate())[0].decode().splitlines()
    assert script.returncode != 0
    assert says in line


def client(pid: str) -> bool:
    """Tell whether a process is mosquitto_sub and has not ended."""
    try:
        return "mosquitto_sub" in Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.asynccontextmanager
async def running(server: MqttServer, *topic: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    script = await asyncio.create_subprocess_exec(
        *("sh", str(SCRIPT), str(server.files.directory.parent), f"{bus_server.HOST}:{server.port}", *topic),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    try:
        yield script
    finally:
        with contextlib.suppress(ProcessLookupError):
            script.terminate()
        await script.wait()
