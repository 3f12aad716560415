"""What a process says of the bus, of the clock and of its queue is so."""

import asyncio
import datetime as dt
import functools
from pathlib import Path

import pytest
from cryptography import x509
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from tests.bus import Server, until
from tests.integration.runtime.conftest import kill, start

from aegis.contracts import codec, subjects
from aegis.contracts.messages import SiteRecord, SiteState
from aegis.runtime import certificates, metrics, tasks, vitals
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import consume
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.policy import Policy

SUBJECT = subjects.alert("site", "barred", "somebody")


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(name, labels)
    assert found is not None, name
    return found


def in_state_since(when: float) -> bool:
    return value("aegis_site_state_since_seconds") == when


async def test_a_process_tells_of_its_connection(server: Server, bus: Bus) -> None:
    await vitals.note(bus, lambda: bus.connected)
    reconnects = value("aegis_bus_reconnects_total")
    assert value("aegis_bus_connected") == value("aegis_ready") == 1
    await kill(server)
    await until(lambda: value("aegis_bus_connected") == value("aegis_ready") == 0, "it noticed")
    await start(server)
    await until(lambda: value("aegis_bus_reconnects_total") > reconnects, "it is back")
    assert value("aegis_bus_connected") == value("aegis_ready") == 1


async def test_a_process_tells_until_when_certificates_hold(server: Server, bus: Bus) -> None:
    await vitals.note(bus, lambda: True)
    for label, name in (("bus", "server.pem"), ("bus-ca", "ca.pem")):
        pem = await asyncio.to_thread(server.files.ca.with_name(name).read_bytes)
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        told = dt.datetime.fromtimestamp(value("aegis_certificate_expires_seconds", file=label), dt.UTC)
        assert told == ends


@pytest.fixture
def former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Give an authority that ends within two days."""
    monkeypatch.setattr(certificates, "VALID_DAYS", 2)
    certificates.issue(tmp_path, "former", ["localhost"])
    return (tmp_path / "ca.pem").read_bytes()


async def test_a_former_authority_may_end(server: Server, bus: Bus, former: bytes) -> None:
    pem = await asyncio.to_thread(server.files.ca.read_bytes)
    await asyncio.to_thread(server.files.ca.write_bytes, pem + former)
    await vitals.note(bus, lambda: True)
    newest = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    assert value("aegis_certificate_expires_seconds", file="bus-ca") == newest.timestamp()


async def test_what_waits_is_counted_and_forgotten(bus: Bus) -> None:
    config = ConsumerConfig(durable_name="queue", filter_subject=SUBJECT, ack_policy=AckPolicy.EXPLICIT)
    for number in range(5):
        await bus.store(SUBJECT, b"%d" % number)
    async with consume(bus, subjects.ALERTS, config, batch=2) as reader:
        while not await reader.next(wait=1):
            pass
        assert value("aegis_queue_waiting", stream=subjects.ALERTS) == 3
        while (await reader.next(wait=5))[-1].data != b"4":
            pass
        assert value("aegis_queue_waiting", stream=subjects.ALERTS) == 0
        await bus.store(SUBJECT, b"another")
    async with consume(bus, subjects.ALERTS, ConsumerConfig(name="no-queue"), batch=1) as reader:
        while not await reader.next(wait=1):
            pass
        assert value("aegis_queue_waiting", stream=subjects.ALERTS) == 0, "a reader of its own keeps nobody waiting"


async def test_the_clock_is_told_from_what_has_just_been_stored(bus: Bus) -> None:
    await bus.store(SUBJECT, b"old")
    metrics.CLOCK_OFFSET.set(12345)
    config = ConsumerConfig(name="clock", deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True)
    async with consume(bus, subjects.ALERTS, config) as reader:
        while not await reader.next(wait=1):
            pass
        assert value("aegis_clock_offset_seconds") == 12345, "how long it lay there says nothing of the clock"
        await bus.store(SUBJECT, b"new")
        assert await reader.next(wait=5)
        assert abs(value("aegis_clock_offset_seconds")) < 0.5


async def test_leases_say_how_many_nobody_holds(bus: Bus) -> None:
    async def hold(_: Lease) -> None:
        await asyncio.Event().wait()

    leases = Leases(bus, "detect", "vitals", hold)
    leases.want(["1", "2"])
    kind = {"kind": "detect", "pool": ""}
    moves = metrics.REGISTRY.get_sample_value("aegis_lease_moves_total", {"kind": "detect"}) or 0
    assert value("aegis_leases_wanted", **kind) == value("aegis_leases_free", **kind) == 2
    running = asyncio.create_task(leases.run())
    await until(lambda: value("aegis_leases_held", kind="detect") == 2, "both are held")
    assert value("aegis_leases_free", **kind) == 0
    assert value("aegis_lease_moves_total", kind="detect") == moves + 2
    await tasks.end([running])
    assert value("aegis_leases_held", kind="detect") == 0


async def test_the_state_of_the_site_is_told_as_it_is_followed(bus: Bus) -> None:
    policy = Policy(bus, "vitals", "")
    running = asyncio.create_task(policy.run())
    await policy.synced.wait()
    for number, known in enumerate(SiteState, 1):
        site = SiteRecord(id="s", name="S", kind="demo", state=known, state_since=float(number), categories={})
        await Bucket(bus, "policy").put("site", codec.encode(site))
        await until(functools.partial(in_state_since, number), "it was read")
        assert [value("aegis_site_state", state=s.value) for s in SiteState] == [s is known for s in SiteState]
    await Bucket(bus, "policy").delete("site")
    await until(lambda: value("aegis_site_state", state="armed") == 0, "nothing is known")
    assert value("aegis_site_state_since_seconds") == 0
    await tasks.end([running])
