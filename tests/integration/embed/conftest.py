"""One embed process for all tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.match.world import Process, World, joined, serving


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Process]:
    settings = {"AEGIS_MODELS_DIR": str(models_dir), "AEGIS_PROVIDER": "cpu"}
    with serving("embed", tmp_path_factory.mktemp("embed"), **settings) as running:
        yield running


@pytest.fixture
async def world(process: Process) -> AsyncIterator[World]:
    async with joined(process, World) as world:
        await world.site()
        yield world
