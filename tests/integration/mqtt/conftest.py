"""A bus that listens for MQTT too, and Debian's mosquitto_sub and mosquitto_pub, which know nothing of it."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bus import Server
from tests.conftest import require

from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus

PATIENCE = 15.0


class MqttServer(Server):
    """An embedded bus with MQTT on a port of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = bus_server.free_port()
        self.files = bus_server.prepare(directory / "bus", self.files.port, (bus_server.HOST, self.port))

    def arguments(self, **changes: str) -> list[str]:
        """Give what every client is started with."""
        values = {
            "-h": bus_server.HOST,
            "-p": str(self.port),
            "--cafile": str(self.files.mqtt_ca),
            "-u": bus_server.MQTT_USER,
            "-P": self.files.mqtt_password.read_text(),
        }
        values |= {f"-{name}" if len(name) == 1 else f"--{name}": value for name, value in changes.items()}
        return [part for name, value in values.items() for part in (name, value)]


class Listener:
    """A running mosquitto_sub."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self.heard: list[dict[str, object]] = []
        """Messages as the client writes them: topic, qos, retain, payload."""
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode().strip()
            if text.startswith("{"):
                self.heard.append(json.loads(text))
            else:
                self.log.append(text)
            async with self._changed:
                self._changed.notify_all()

    async def until(self, count: int) -> list[dict[str, object]]:
        """Wait until it has heard so many messages."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.heard) >= count)
        return self.heard

    async def says(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: any(text in line for line in self.log))

    async def subscribed(self) -> "Listener":
        await self.says("Subscribed (mid")
        return self

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.ended()


class Clients:
    """Starts clients and ends them with the test."""

    def __init__(self, server: MqttServer, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    async def listen(self, *topics: str, qos: int = 0, options: tuple[str, ...] = (), **changes: str) -> Listener:
        chosen = [part for topic in topics for part in ("-t", topic)]
        command = ["stdbuf", "-oL", "mosquitto_sub", *self.server.arguments(**changes), *chosen, "-q", str(qos)]
        process = await asyncio.create_subprocess_exec(
            *command, "-d", "-F", "%j", *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        listener = Listener(process)
        self._stack.push_async_callback(listener.kill)
        return listener

    async def publish(self, topic: str, *options: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", *self.server.arguments(), "-t", topic, "-m", "forged", *options
        )
        async with asyncio.timeout(PATIENCE):
            await process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MqttServer]:
    require(Path(shutil.which("mosquitto_sub") or "/usr/bin/mosquitto_sub"), "mosquitto_sub")
    made = MqttServer(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
async def admin(server: MqttServer) -> AsyncIterator[Bus]:
    async with server.connect("admin") as bus:
        bus.on_reconnect(lambda: topology.declare(bus))
        await topology.declare(bus)
        yield bus


@pytest.fixture
async def clients(server: MqttServer, admin: Bus) -> AsyncIterator[Clients]:
    async with contextlib.AsyncExitStack() as stack:
        yield Clients(server, stack)
