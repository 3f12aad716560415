"""One match process for all tests of a module; each test has cameras and people of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.integration.match.world import Process, World, joined, serving


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving("match", tmp_path_factory.mktemp("match")) as running:
        yield running


@pytest.fixture
async def world(process: Process) -> AsyncIterator[World]:
    async with joined(process, World) as world:
        await world.site()
        await world.camera("gate")
        yield world
