"""A cluster of real processes: what is killed is made up for, nothing is lost or doubled, and it scales."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bus import until
from tests.cluster import faults, invariants
from tests.cluster.chaos import Ordeal, ordeal
from tests.cluster.cluster import Cluster, people, running, scenes
from tests.cluster.faults import named
from tests.cluster.network import missing
from tests.cluster.servers import NAMES
from tests.cluster.watch import LEASED, Watch, watching

from aegis.contracts import subjects
from aegis.runtime.bus import Bus

EVEN_SECONDS = 10.0
AWAY = 9.0
"""Longer than a lease."""
SCALED = (*LEASED, "embed")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if reason := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture
async def suffering(tmp_path: Path, test_data: Path, models_dir: Path) -> AsyncIterator[Ordeal]:
    async with ordeal(tmp_path, test_data, cameras=4, seed=1) as found:
        yield found


async def test_what_is_killed_is_made_up_for_and_no_alert_is_lost_or_doubled(
    suffering: Ordeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "STEADY", 1.0)
    await suffering.suffer(replace(named("kill", "the leader of ALERTS"), lasts=AWAY))

    visited: list[str] = []

    async def visit() -> bool:
        now = time.time()
        visited.extend(camera for camera, scene in suffering.cluster.scenes.items() if scene.visited(now))
        return bool(visited)

    await until(visit, "somebody is in view", 30.0)

    async def holder(*_: object) -> list[str]:
        return [suffering.watch.matcher(visited[0])]

    killed = await suffering.suffer(replace(named("kill", "one match"), choose=holder, lasts=AWAY))
    rolled = await suffering.suffer(named("roll", "both detect"))
    assert await suffering.broken() == []
    assert killed.noticed is not None
    assert visited[0] in [told.sighting.person for told in suffering.watch.raised()]
    assert max(rolled.interrupted.values(), default=0.0) < AWAY


async def test_scaling_from_one_to_four_replicas_is_even_within_ten_seconds(
    tmp_path: Path, test_data: Path, models_dir: Path
) -> None:
    shown = scenes(people(test_data, 16), 75.0, 8.0)
    async with running(tmp_path, shown, replicas=1) as cluster, watching(cluster.servers) as watch:
        await until(lambda: watch.flowing(shown, 3.0), "every camera comes through", 20.0)
        for service in SCALED:
            for _ in range(3):
                cluster.start_spare(service)
        await cluster.all_ready()
        everybody = {kind: dict.fromkeys(cluster.of(kind), 2) for kind in LEASED}
        await until(lambda: {kind: watch.spread(kind) for kind in LEASED} == everybody, "leases are even", EVEN_SECONDS)
        await until(lambda: watch.flowing(shown, 3.0), "every camera comes through again", EVEN_SECONDS)
        await until(lambda: all_embed(cluster, watch), "every replica of embed has its share", EVEN_SECONDS)
        for name, seen in watch.seen.items():
            assert list(invariants.disorder(seen)) == [], name
        assert list(invariants.stale(watch)) == []


async def all_embed(cluster: Cluster, watch: Watch) -> bool:
    answers = await cluster.answers(watch.bus)
    return all(
        name in answers and answers[name]["metrics"]["aegis_looks_embedded_total"] > 0 for name in cluster.of("embed")
    )


async def test_a_server_that_is_cut_off_from_the_others_is_left_for_one_that_is_not(tmp_path: Path) -> None:
    async with (
        running(tmp_path, {}, replicas=0) as cluster,
        Bus.connect(cluster.servers.config("admin"), "test-admin") as bus,
    ):
        assert bus.client.connected_url is not None
        address = bus.client.connected_url.hostname
        alone = next(name for name in NAMES if cluster.network.hosts[name].address == address)
        cluster.network.cut_between(alone, [name for name in NAMES if name != alone])
        assert await bus.store(subjects.dead("test"), b"x", message_id="x", patience=20.0) == 1
        assert bus.client.connected_url.hostname != address
