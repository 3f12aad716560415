"""The bus as it is deployed, run for real: it forms a cluster, keeps what is stored, and lets each key do its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from tests.bus import until
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import overlay, the

from aegis.contracts import subjects
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, Msg


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[BusCluster]:
    servers = BusCluster(overlay("production"), tmp_path)
    for number in range(servers.size):
        servers.start(number)
    yield servers
    servers.close()


async def test_three_servers_become_one_bus_and_one_may_leave_at_a_time(cluster: BusCluster) -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        await cluster.passes(probe)
    async with Bus.connect(cluster.config("admin"), "test-admin") as admin:
        assert not admin.alone
        await topology.declare(admin, replicas=cluster.size)
        stream = admin.client.jetstream()
        found = (await stream.stream_info(subjects.ALERTS)).cluster
        assert found is not None
        assert found.leader is not None
        assert {found.leader, *(peer.name for peer in found.replicas or ())} == {"nats-0", "nats-1", "nats-2"}
        stored = await stream.publish(subjects.alert("site", "barred", "x"), b"raised")
        # As in a rolling update: it hands its streams over, and the startup probe says when all is caught up.
        leader = int(found.leader.removeprefix("nats-"))
        assert await asyncio.to_thread(cluster.lame_duck, leader) == 0
        assert (await stream.get_msg(subjects.ALERTS, stored.seq)).data == b"raised"
        cluster.start(leader)
        await cluster.passes("startupProbe")
    # All at once: what is in memory is lost, and its stream is there again without being declared.
    for number in range(cluster.size):
        cluster.kill(number)
    for number in range(cluster.size):
        cluster.start(number)
    await cluster.passes("startupProbe")
    async with Bus.connect(cluster.config("admin"), "test-admin") as admin:
        info = await admin.client.jetstream().stream_info(subjects.FACES)
        assert info.state.messages == 0


async def test_a_key_may_do_its_own_on_every_server_and_nothing_else(cluster: BusCluster) -> None:
    await cluster.passes("startupProbe")
    async with Bus.connect(cluster.config("admin"), "test-admin") as admin:
        await topology.declare(admin, replicas=cluster.size)
        heard: list[str] = []

        async def hear(message: Msg) -> None:
            heard.append(message.subject)

        await admin.client.subscribe("aegis.v1.frame.>", cb=hear)
        await admin.client.flush()
        for number in range(cluster.size):
            async with Bus.connect(cluster.config("ingest", number), "test-ingest") as ingest:
                await ingest.client.publish(subjects.alert("site", "barred", "x"), b"forged")
                await ingest.client.publish(subjects.frame_captured("0", f"camera-{number}"), b"a frame")
                # Hidden from it, not merely empty.
                with pytest.raises((nats.errors.TimeoutError, nats.js.errors.APIError)):
                    await ingest.client.jetstream(timeout=0.5).stream_info("KV_watchlist")
        await until(lambda: len(heard) == cluster.size, "a frame from each server")
        assert (await admin.client.jetstream().stream_info(subjects.ALERTS)).state.messages == 0


async def test_who_has_no_key_is_not_let_in(cluster: BusCluster, tmp_path: Path) -> None:
    await cluster.passes("readinessProbe")
    stranger = tmp_path / "embed.nk"
    stranger.unlink()
    bus_server.user_key(stranger)
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        async with Bus.connect(cluster.config("embed"), "test-stranger"):
            pass


async def test_a_single_server_declares_what_it_has_lost_at_every_start(tmp_path: Path) -> None:
    manifests = overlay("single-node")
    alone = BusCluster(manifests, tmp_path)
    container = the(manifests, "StatefulSet", "nats")["spec"]["template"]["spec"]["containers"][0]
    declare = container["lifecycle"]["postStart"]["exec"]["command"]
    try:
        for _ in range(2):
            alone.start(0)
            # The kubelet runs it beside the server's start, before any probe.
            assert "each on 1 server" in await asyncio.to_thread(alone.declare, declare)
            await alone.passes("startupProbe")
            async with Bus.connect(alone.config("admin"), "test-admin") as admin:
                assert admin.alone
                for name in (subjects.FACES, subjects.ALERTS):
                    assert (await admin.client.jetstream().stream_info(name)).config.num_replicas == 1
            alone.kill(0)
    finally:
        alone.close()
