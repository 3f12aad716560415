"""A real nats-server for the tests: started, killed, paused and started again on the port that it chose."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig


class Server:
    """An embedded bus below a directory of the test."""

    def __init__(self, directory: Path) -> None:
        self.files = bus_server.prepare(directory / "bus")
        self._log = directory / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = bus_server.run(self.files, self._log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as whoever runs it does: it may still write down what it knows."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def config(self, role: str) -> BusConfig:
        return BusConfig(url=self.files.url, ca=self.files.ca, key=self.files.key(role), inbox=topology.inbox(role))

    async def _listens(self) -> None:
        """Wait for a moment while it starts: a client that comes too early lets 200 ms pass before it comes again."""
        for _ in range(40):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(bus_server.HOST, self.files.port)
                writer.close()
                return
            await asyncio.sleep(0.005)

    @contextlib.asynccontextmanager
    async def connect(self, role: str = "admin") -> AsyncIterator[Bus]:
        await self._listens()
        async with Bus.connect(self.config(role), f"test-{role}") as bus:
            yield bus


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, patience: float = 15.0) -> None:
    """Wait until something is so, however soon, and fail with ``what`` if it never is."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {patience:g} s: {what}")
