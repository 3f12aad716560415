"""A bus with everything declared, and connections of an integrator that note what they are refused."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.js.client import JetStreamContext
from tests.bus import Server

from aegis.runtime import topology
from aegis.runtime.bus import Bus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
async def bus(server: Server) -> AsyncIterator[Bus]:
    """An admin's connection to a server on which everything is declared."""
    async with server.connect() as connected:
        await topology.declare(connected)
        yield connected


@contextlib.asynccontextmanager
async def integrator(server: Server) -> AsyncIterator[tuple[Bus, JetStreamContext, list[str]]]:
    """Connect as integrators do; the list fills with what the server refuses."""
    refused: list[str] = []
    async with server.connect("integrator") as mine:

        async def note(error: Exception) -> None:
            refused.append(str(error).lower())

        mine.client._error_cb = note
        yield mine, mine.client.jetstream(timeout=5), refused
