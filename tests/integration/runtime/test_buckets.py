"""Consumers, buckets and their mirrors while the server is killed, started again, paused, or out of reach."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from tests.bus import Server, until
from tests.integration.runtime.conftest import kill, restart, start
from tests.integration.runtime.gate import gate

from aegis.contracts import subjects
from aegis.runtime import tasks, topology
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import Bus, BusUnavailableError, ConflictError
from aegis.runtime.consumers import Consumer, consume

RECOVERY = 3.0
ALERT = subjects.alert("north", "barred", "somebody")
DURABLE = ConsumerConfig(durable_name="reader", ack_policy=AckPolicy.EXPLICIT, ack_wait=2)


async def read(consumer: Consumer, *wanted: bytes, patience: float = 10.0) -> None:
    """Read and acknowledge until all of ``wanted`` came, in any order and however often."""
    missing = set(wanted)
    async with asyncio.timeout(patience):
        while missing:
            for message in await consumer.next():
                missing.discard(message.data)
                await message.ack()


# Consumers


async def test_a_waiting_consumer_goes_on_after_the_server_was_killed(bus: Bus, server: Server) -> None:
    async with consume(bus, subjects.ALERTS, DURABLE) as consumer:
        first, more = [b"%d" % number for number in range(10)], [b"%d" % number for number in range(10, 15)]
        for data in first:
            await bus.store(ALERT, data)
        await read(consumer, *first)
        waiting = asyncio.create_task(read(consumer, *more))
        await asyncio.sleep(0)
        await restart(server)
        back = time.monotonic()
        for data in more:
            await bus.store(ALERT, data, message_id=data.decode())
        await waiting
    assert time.monotonic() - back < RECOVERY


async def test_what_was_handed_out_and_not_acknowledged_comes_again(bus: Bus, server: Server) -> None:
    await bus.store(ALERT, b"only")
    async with consume(bus, subjects.ALERTS, DURABLE) as consumer:
        handed: list[bytes] = []
        while not handed:
            handed = [message.data for message in await consumer.next()]
        await restart(server)
        assert handed == [b"only"]
        await read(consumer, b"only")


async def test_streams_in_memory_are_declared_again_and_their_consumers_made_again(bus: Bus, server: Server) -> None:
    bus.on_reconnect(lambda: topology.declare(bus))
    subject = subjects.face_detected(3, "lobby")
    config = ConsumerConfig(durable_name="embed", ack_policy=AckPolicy.EXPLICIT, ack_wait=3)
    async with (
        server.connect("embed") as embed,
        server.connect("detect") as detect,
        consume(embed, subjects.FACES, config) as consumer,
    ):
        await detect.store(subject, b"before")
        await read(consumer, b"before")
        waiting = asyncio.create_task(read(consumer, b"after"))
        await restart(server)
        back = time.monotonic()
        await detect.store(subject, b"after", message_id="m")
        await waiting
        assert time.monotonic() - back < RECOVERY
        assert consumer.remade == 2


async def test_a_consumer_that_somebody_removed_is_made_again(bus: Bus) -> None:
    async with consume(bus, subjects.ALERTS, DURABLE) as consumer:
        await consumer.next(wait=0.2)
        await bus.client.jetstream().delete_consumer(subjects.ALERTS, "reader")
        await bus.store(ALERT, b"after")
        await read(consumer, b"after", patience=RECOVERY)
        assert consumer.remade == 2


async def test_next_gives_up_in_time_and_at_most_a_batch(bus: Bus) -> None:
    async with consume(bus, subjects.ALERTS, DURABLE, batch=4) as consumer:
        await consumer.next()
        started = time.monotonic()
        assert await consumer.next(wait=0.3) == []
        assert 0.3 <= time.monotonic() - started < 1
        for number in range(9):
            await bus.store(ALERT, b"%d" % number)
        found: list[bytes] = []
        while len(found) < 9:
            messages = await consumer.next()
            assert 1 <= len(messages) <= 4
            found += [message.data for message in messages]
        assert found == [b"%d" % number for number in range(9)]


# Buckets


async def test_one_of_two_writers_is_refused(bus: Bus) -> None:
    bucket = Bucket(bus, "policy")
    first = await bucket.create("key", b"1")
    with pytest.raises(ConflictError):
        await bucket.create("key", b"2")
    second = await bucket.update("key", b"2", first)
    with pytest.raises(ConflictError):
        await bucket.update("key", b"3", first)
    with pytest.raises(ConflictError):
        await bucket.delete("key", last=first)
    entry = await bucket.get("key")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"2", second)
    await bucket.delete("key", last=second)
    assert await bucket.get("key") is None
    assert await bucket.create("key", b"4") > second


@pytest.mark.parametrize("operation", ["create", "update"])
async def test_a_write_whose_confirmation_was_lost_is_no_conflict_with_itself(
    bus: Bus, server: Server, operation: str
) -> None:
    seen = Bucket(bus, "policy")
    async with gate(server) as way, way.connect("registry") as cut_off:
        bucket = Bucket(cut_off, "policy")
        last = await bucket.put("key", b"1") if operation == "update" else 0
        way.deaf = True
        # What create adds to this is to read first whether the key is there.
        writing = asyncio.create_task(bucket._swap("key", b"2", last, patience=10.0))
        await until(lambda: _reads(seen, "key", b"2"), "the write has arrived")
        way.deaf = False
        way.cut()
        revision = await writing
    entry = await seen.get("key")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"2", revision)
    assert revision == last + 1, "it was written once"


async def _reads(bucket: Bucket, key: str, value: bytes) -> bool:
    entry = await bucket.get(key)
    return entry is not None and entry.value == value


# Mirrors


@contextlib.asynccontextmanager
async def mirrored(bus: Bus, name: str = "policy") -> AsyncIterator[Mirror]:
    mirror = Mirror(bus, name, "test")
    task = asyncio.create_task(mirror.run())
    try:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        yield mirror
        assert not task.done()
    finally:
        await tasks.end([task])


def values(mirror: Mirror) -> dict[str, bytes]:
    return {key: entry.value for key, entry in mirror.entries.items()}


async def test_a_mirror_begins_complete_and_follows(bus: Bus) -> None:
    bucket = Bucket(bus, "policy")
    for number in range(150):
        await bucket.put(f"k{number}", b"%d" % number)
    await bucket.delete("k3")
    async with mirrored(bus) as mirror:
        assert len(mirror.entries) == 149
        await bucket.delete("k4")
        revision = await bucket.put("k5", b"new")
        await asyncio.wait_for(mirror.reached(revision), 2)
        assert "k4" not in mirror.entries
        assert mirror.entries["k5"].value == b"new"
        assert mirror.entries["k5"].revision == mirror.revision == revision


async def test_a_mirror_of_an_empty_bucket_is_complete(bus: Bus) -> None:
    async with mirrored(bus) as mirror:
        assert mirror.entries == {}


async def test_a_mirror_sees_what_happened_while_it_was_cut_off_and_the_server_killed(bus: Bus, server: Server) -> None:
    bucket = Bucket(bus, "policy")
    for key in ("kept", "changed", "deleted"):
        await bucket.put(key, b"old")
    async with gate(server) as way, way.connect("registry") as cut_off, mirrored(cut_off) as mirror:
        way.shut = True
        way.cut()
        await until(lambda: not cut_off.connected, "the mirror is cut off")
        await bucket.put("changed", b"new")
        await bucket.delete("deleted")
        await restart(server)
        await bucket.put("added", b"new")
        assert values(mirror) == dict.fromkeys(("kept", "changed", "deleted"), b"old")
        way.shut = False
        wanted = {"kept": b"old", "changed": b"new", "added": b"new"}
        await until(lambda: values(mirror) == wanted, "it has caught up", RECOVERY)


async def test_a_mirror_sees_what_happened_around_a_pause_of_the_server(bus: Bus, server: Server) -> None:
    bucket = Bucket(bus, "policy")
    await bucket.put("changed", b"old")
    await bucket.put("deleted", b"old")
    async with server.connect("registry") as reading, mirrored(reading) as mirror:
        server.send(signal.SIGSTOP)
        writing = asyncio.gather(
            bucket.put("added", b"new"), bucket.put("changed", b"new"), bucket.delete("deleted"), return_exceptions=True
        )
        # Longer than a pull lasts, so that the one that was pending has ended.
        await asyncio.sleep(2.5)
        server.send(signal.SIGCONT)
        wanted = {"changed": b"new", "added": b"new"}
        await until(lambda: values(mirror) == wanted, "it has caught up", RECOVERY)
        assert not [result for result in await writing if isinstance(result, BaseException)]


async def test_a_mirror_whose_last_entries_ended_while_it_began_is_complete(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(bus, "policy")
    await bucket.put("passing", b"")
    ask = Consumer._ask

    async def ask_late(consumer: Consumer) -> None:
        """Let the entry end between the count of what waits and the first pull, as one with a time to live may."""
        await bus.client.jetstream().purge_stream("KV_policy")
        await ask(consumer)

    monkeypatch.setattr(Consumer, "_ask", ask_late)
    async with mirrored(bus) as mirror:
        assert mirror.entries == {}


async def test_reading_a_bucket_that_is_away_is_an_error_in_time(bus: Bus, server: Server) -> None:
    await kill(server)
    await until(lambda: not bus.connected, "the connection is gone")
    started = time.monotonic()
    with pytest.raises(BusUnavailableError):
        await Bucket(bus, "policy").get("key")
    assert time.monotonic() - started < 3
    await start(server)
