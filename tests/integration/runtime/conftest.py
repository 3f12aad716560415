"""A server for each test, its streams declared on request, and an alarm for whatever blocks the event loop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from tests.bus import Server

from aegis.runtime import topology
from aegis.runtime.bus import Bus

START_ONLY = ("aegis/runtime/bus.py", {"connect"}), ("nats/aio/client.py", {"_setup_nkeys_seed_connect", "sig_cb"})
"""Once a connection: its certificate and its key are read from small files."""


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as alarm:
        for function in alarm.functions.values():
            for place, names in START_ONLY:
                function.can_block_in(place, names)
        yield alarm


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    started.start()
    yield started
    with contextlib.suppress(ProcessLookupError):
        started.send(signal.SIGKILL)
    started.kill()


@pytest.fixture
async def bus(server: Server) -> AsyncIterator[Bus]:
    """An admin's connection to a server on which everything is declared."""
    async with server.connect() as connected:
        await topology.declare(connected)
        yield connected


async def kill(server: Server) -> None:
    await asyncio.to_thread(server.kill)


async def start(server: Server) -> None:
    await asyncio.to_thread(server.start)


async def restart(server: Server) -> None:
    await kill(server)
    await start(server)
