"""What only a stream of several servers answers to its writers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import overlay

from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.bus import Bus

WRITES = 20


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[BusCluster]:
    cluster = BusCluster(overlay("production"), tmp_path)
    for number in range(cluster.size):
        cluster.start(number)
    yield cluster
    cluster.close()


async def test_two_who_write_the_same_at_once_are_both_told_that_it_is_stored(servers: BusCluster) -> None:
    """As two replicas of notify do, which decide the same: the second comes while the first is being agreed on."""
    await servers.passes("startupProbe")
    async with (
        Bus.connect(servers.config("admin", 0), "test-one") as one,
        Bus.connect(servers.config("admin", 1), "test-other") as other,
    ):
        await topology.declare(one, replicas=servers.size)
        for number in range(WRITES):
            subject = subjects.delivery("email", f"a{number}", "e", "r")
            first, second = await asyncio.gather(
                *(bus.store(subject, b"due", message_id=subject) for bus in (one, other))
            )
            assert first == second
