"""New certificates for a bus that runs: its servers are restarted one by one, and none ever refuses another."""

import argparse
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import overlay

from aegis.cli import cluster
from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.bus import Bus, BusConfig

SITE = "site: {id: test, name: Test, kind: venue, jurisdiction: US-PA}\n"


@pytest.fixture
def init(tmp_path: Path) -> Callable[[], Path]:
    """Make the keys as a command line does; the second time with ``--renew``."""
    config, folder = tmp_path / "site.yaml", tmp_path / "made"
    config.write_text(SITE)

    def run() -> Path:
        renew = folder.exists()
        cluster.init(argparse.Namespace(directory=folder, config=config, site_key=None, host=[], renew=renew))
        return folder / "bus"

    return run


@pytest.fixture
def servers(tmp_path: Path, init: Callable[[], Path]) -> Iterator[BusCluster]:
    (tmp_path / "servers").mkdir()
    servers = BusCluster(overlay("production"), tmp_path / "servers")
    servers.mount(init())
    for number in range(servers.size):
        servers.start(number)
    yield servers
    servers.close()


def trusting(servers: BusCluster, name: str, number: int | None = None) -> BusConfig:
    """Connect as a service that read the authority now, whatever becomes of the file."""
    kept = servers.folder / name
    if not kept.exists():
        shutil.copy(servers.folder / "ca.crt", kept)
    return dataclasses.replace(servers.config("admin", number), ca=kept)


async def roll(servers: BusCluster, client: Bus, ca: str) -> None:
    """Restart the servers as a StatefulSet does, each when the one before is well; ``client`` stays."""
    for number in reversed(range(servers.size)):
        servers.kill(number)
        servers.start(number)
        await servers.passes("startupProbe")
        await client.store(subjects.alert("site", "barred", "x"), b"raised")
        async with Bus.connect(trusting(servers, ca, number), "test-new") as other:
            await other.store(subjects.alert("site", "barred", "x"), b"raised")


@pytest.mark.timeout(180)
async def test_a_bus_takes_new_certificates_while_it_runs(servers: BusCluster, init: Callable[[], Path]) -> None:
    await servers.passes("startupProbe")
    async with Bus.connect(trusting(servers, "first"), "test-service") as service:
        await topology.declare(service, replicas=servers.size)
        servers.mount(init())
        await roll(servers, service, "first")


@pytest.mark.timeout(240)
async def test_a_bus_takes_a_new_authority_in_two_steps(
    servers: BusCluster, init: Callable[[], Path], tmp_path: Path
) -> None:
    (tmp_path / "made" / "bus" / "ca.key").unlink()
    await servers.passes("startupProbe")
    async with Bus.connect(trusting(servers, "first"), "test-service") as service:
        await topology.declare(service, replicas=servers.size)
        servers.mount(init())
        await roll(servers, service, "first")
    # The services are restarted, too, before the second step.
    async with Bus.connect(trusting(servers, "both"), "test-service") as service:
        servers.mount(init())
        await roll(servers, service, "both")
