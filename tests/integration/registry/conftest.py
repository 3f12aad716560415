"""The registry as a process, asked as the command line asks it."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.match.world import Process, World, joined, serving

from aegis.contracts import codec, subjects
from aegis.contracts.messages import Reply

SITE = "site: {{id: north, name: North, kind: venue, jurisdiction: US-PA, state: {state}}}\n"


class Registry(World):
    """A registry that runs, with the site file that it reads."""

    async def ask(self, operation: str, request: object) -> Any:
        """Give the answer; there must be no problem."""
        reply = await self._reply(operation, codec.encode(request))
        assert reply.problem == "", reply.problem
        return json.loads(reply.body)

    async def refused(self, operation: str, request: object) -> str:
        """Give the problem; there must be one."""
        return await self.refused_bytes(operation, codec.encode(request))

    async def refused_bytes(self, operation: str, body: bytes) -> str:
        reply = await self._reply(operation, body)
        assert reply.problem
        assert reply.body == ""
        return reply.problem

    async def _reply(self, operation: str, body: bytes) -> Reply:
        return codec.decode(Reply, await self.bus.request(subjects.registry(operation), body, patience=10))

    async def restart(self, **environ: str) -> None:
        self.process.stop()
        self.process.start(**environ)
        await self.ready()


def write_site(directory: Path, cameras: str = "", *, state: str = "armed") -> None:
    (directory / "site.yaml").write_text(SITE.format(state=state) + cameras)


@pytest.fixture(scope="module")
def process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[Process]:
    """Run a registry; a test module's ``POLICY`` is added to its site file."""
    directory = tmp_path_factory.mktemp("registry")
    write_site(directory, getattr(request.module, "POLICY", ""))
    settings = {
        "AEGIS_SITE_FILE": str(directory / "site.yaml"),
        "AEGIS_MODELS_DIR": str(models_dir),
        "AEGIS_PROVIDER": "cpu",
        "AEGIS_RUN": "first",
    }
    with serving("registry", directory, **settings) as running:
        yield running


@pytest.fixture
async def registry(process: Process) -> AsyncIterator[Registry]:
    async with joined(process, Registry) as registry:
        yield registry


@pytest.fixture(scope="session")
def photo(test_data: Path) -> bytes:
    return (test_data / "lfw" / "Al_Gore" / "Al_Gore_0001.jpg").read_bytes()
