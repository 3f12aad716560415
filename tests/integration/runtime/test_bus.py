"""What was seen to go wrong with the bus's client, made to happen to a real server, and what is done about it."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import nkeys
import pytest
from blockbuster import BlockBuster, BlockingError
from nats.js.api import AckPolicy, ConsumerConfig
from tests.bus import Server, until
from tests.integration.runtime.conftest import kill, restart, start
from tests.integration.runtime.gate import gate

from aegis.contracts import subjects
from aegis.detect.core import Slots
from aegis.runtime.bus import CONCURRENT_REPLIES, Bus, BusConfig, BusUnavailableError, Msg, PayloadTooLargeError
from aegis.runtime.consumers import consume

NOTE = subjects.dead("test")
"""A subject of a stream in a file, on which anything may stand."""
ALERT = subjects.alert("north", "barred", "somebody")


async def count(bus: Bus, stream: str) -> int:
    return (await bus.client.jetstream().stream_info(stream)).state.messages


def header_bytes(name: str, value: str) -> int:
    return len(f"NATS/1.0\r\n{name}: {value}\r\n\r\n")


# A message that is too large


async def test_a_message_over_the_limit_is_an_error_here_and_the_connection_lives(bus: Bus) -> None:
    limit = bus.max_payload
    with pytest.raises(PayloadTooLargeError) as refused:
        await bus.store(NOTE, bytes(limit), message_id="x")
    assert (refused.value.subject, refused.value.limit) == (NOTE, limit)
    assert refused.value.size == limit + header_bytes("Nats-Msg-Id", "x")
    for send in (bus.publish, bus.request):
        with pytest.raises(PayloadTooLargeError):
            await send(NOTE, bytes(limit + 1))

    assert await bus.store(NOTE, bytes(limit - header_bytes("Nats-Msg-Id", "x")), message_id="x") == 1
    assert await bus.publish(NOTE, bytes(limit))
    await until(lambda: _has(bus, subjects.DEAD, 2), "both of exactly the limit are there")
    assert bus.client.stats["reconnects"] == 0
    assert not bus.closed.is_set()


async def _has(bus: Bus, stream: str, messages: int) -> bool:
    return await count(bus, stream) == messages


async def test_an_answer_over_the_limit_is_told_and_the_next_one_goes_out(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(message: Msg) -> bytes:
        return bytes(bus.max_payload + 1) if message.data == b"much" else b"little"

    await bus.serve("ask", answer)
    with pytest.raises(BusUnavailableError):
        await bus.request("ask", b"much", patience=0.3)
    assert "PayloadTooLargeError" in caplog.text
    assert await bus.request("ask", b"") == b"little"


async def test_a_connection_that_is_closed_for_good_says_so_and_spins_nowhere(bus: Bus) -> None:
    config = ConsumerConfig(durable_name="reader", ack_policy=AckPolicy.EXPLICIT)
    async with consume(bus, subjects.ALERTS, config) as consumer:
        assert await consumer.next(wait=1) == []

        async def read() -> None:
            while True:
                await consumer.next()

        reading = asyncio.create_task(read())
        # The server answers a broken protocol as it does an oversized message: with an error, and by closing.
        # Where the line is cut before that error was read, it is a lost connection like any other, and comes back.
        for _ in range(10):
            if bus.connected:
                bus.client._transport.write(b"NONSENSE\r\n")  # type: ignore[union-attr]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await bus.closed.wait()
                    break
        assert bus.closed.is_set()
        async with asyncio.timeout(2):
            await asyncio.sleep(0.2)
        assert not reading.done()
        reading.cancel()
    assert not bus.connected


# A flood of frames


async def test_in_a_flood_the_newest_frame_of_each_camera_survives(bus: Bus, server: Server) -> None:
    cameras, frames = ("a", "b", "c", "d"), 400
    slots: Slots[int] = Slots()
    arrived = asyncio.Event()
    seen: dict[str, list[int]] = {camera: [] for camera in cameras}

    async def lay_down(message: Msg) -> None:
        camera = message.subject.rpartition(".")[2]
        slots.put(camera, int.from_bytes(message.data[:4]) * len(cameras) + cameras.index(camera))
        arrived.set()

    async def flood() -> None:
        async with server.connect("ingest") as sender:
            for number in range(frames):
                for camera in cameras:
                    frame = number.to_bytes(4) + bytes(60_000)
                    assert await sender.publish(subjects.frame_captured(1, camera), frame)
                if number % 8 == 0:
                    await sender.flush()
            await sender.flush()

    await bus.subscribe(subjects.frame_captured("*", "*"), lay_down)
    await bus.flush()
    flooding = asyncio.create_task(asyncio.to_thread(asyncio.run, flood()))
    async with asyncio.timeout(30):
        while any(not numbers or numbers[-1] != frames - 1 for numbers in seen.values()):
            await arrived.wait()
            if (frame := slots.take()) is None:
                arrived.clear()
                continue
            number, camera = divmod(frame, len(cameras))
            seen[cameras[camera]].append(number)
            await asyncio.sleep(0.01)
    await flooding
    taken = [len(numbers) for numbers in seen.values()]
    assert all(numbers == sorted(set(numbers)) for numbers in seen.values())
    assert sum(taken) < frames * len(cameras) / 2, "the flood was no flood"
    assert max(taken) - min(taken) <= max(3, max(taken) // 4)


# An event loop that is blocked


async def test_whoever_blocks_the_event_loop_is_found(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BlockingError):
        time.sleep(0.01)  # noqa: ASYNC251 - it is what must be found

    async def block(_: Msg) -> None:
        time.sleep(0.01)  # noqa: ASYNC251

    await bus.subscribe("look", block)
    await bus.publish("look", b"")
    await until(lambda: "Blocking call to time.sleep" in caplog.text, "the handler is told of")


async def test_a_block_of_a_second_loses_no_durable_message(bus: Bus, server: Server, blockbuster: BlockBuster) -> None:
    total = 200

    async def send() -> None:
        async with server.connect("match") as sender:
            for number in range(total):
                await sender.store(ALERT, b"%d" % number, message_id=f"m{number}")

    blockbuster.deactivate()
    seen: list[int] = []
    config = ConsumerConfig(durable_name="reader", ack_policy=AckPolicy.EXPLICIT, ack_wait=30)
    async with consume(bus, subjects.ALERTS, config) as consumer:
        sending = asyncio.create_task(asyncio.to_thread(asyncio.run, send()))
        async with asyncio.timeout(30):
            while len(seen) < total:
                for message in await consumer.next(wait=1):
                    seen.append(int(message.data))
                    await message.ack()
                    if len(seen) == 20:
                        time.sleep(1.2)  # noqa: ASYNC251 - it is what must do no harm
        await sending
    assert seen == list(range(total))
    assert not bus.closed.is_set()


# A bus that is away


async def test_frames_are_dropped_while_disconnected_and_not_sent_later(bus: Bus, server: Server) -> None:
    async with server.connect() as listener:
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        await listener.subscribe("frames", hear)
        await listener.flush()
        assert await bus.publish("frames", b"before")
        await until(lambda: heard == [b"before"], "the first frame")
        await kill(server)
        await until(lambda: not bus.connected, "the connection is gone")
        for _ in range(100):
            assert not await bus.publish("frames", bytes(60_000))
        await start(server)
        await until(lambda: bus.connected and listener.connected and listener.generation == 2, "both are back")
        await listener.flush()
        assert await bus.publish("frames", b"after")
        await until(lambda: heard[-1] == b"after", "the frame after")
    assert heard == [b"before", b"after"]


async def test_what_is_stored_while_the_server_is_away_arrives_once(bus: Bus, server: Server) -> None:
    async def store(number: int) -> int:
        return await bus.store(NOTE, b"%d" % number, message_id=f"m{number}", patience=20)

    early = [asyncio.create_task(store(number)) for number in range(25)]
    await kill(server)
    late = [asyncio.create_task(store(number)) for number in range(25, 50)]
    await until(lambda: not bus.connected, "the connection is gone")
    await start(server)
    sequences = await asyncio.gather(*early, *late)
    assert sorted(sequences) == list(range(1, 51))
    assert await count(bus, subjects.DEAD) == 50
    # Nothing that was buffered comes after.
    await bus.flush()
    assert await count(bus, subjects.DEAD) == 50


async def test_an_id_whose_store_was_given_up_is_not_doubled_later(bus: Bus, server: Server) -> None:
    async with gate(server) as way, way.connect("admin") as cut_off:
        way.deaf = True
        with pytest.raises(BusUnavailableError):
            await cut_off.store(NOTE, b"once", message_id="m", patience=1)
        assert await count(bus, subjects.DEAD) == 1, "it had arrived, and nobody said so"
        way.deaf = False
        way.cut()
        assert await cut_off.store(NOTE, b"once", message_id="m") == 1
    assert await count(bus, subjects.DEAD) == 1


async def test_a_hook_after_reconnecting_that_fails_is_called_again(bus: Bus, server: Server) -> None:
    calls: list[int] = []

    async def hook() -> None:
        calls.append(bus.generation)
        if len(calls) == 1:
            raise BusUnavailableError("not yet")

    bus.on_reconnect(hook)
    await restart(server)
    await until(lambda: calls == [2, 2], "it is called until it is through")
    await bus.flush()
    assert bus.generation == 2, "the failing hook cost no connection"


# Leaving


@pytest.mark.parametrize("state", ["alive", "paused", "dead"])
async def test_leaving_with_an_open_consumer_is_quick(bus: Bus, server: Server, state: str) -> None:
    config = ConsumerConfig(durable_name="reader", ack_policy=AckPolicy.EXPLICIT)
    async with contextlib.AsyncExitStack() as stack:
        leaving = await stack.enter_async_context(server.connect("notify"))
        consumer = await stack.enter_async_context(consume(leaving, subjects.ALERTS, config))
        await consumer.next(wait=0.5)
        pulling = asyncio.create_task(consumer.next())
        await asyncio.sleep(0)
        if state == "dead":
            await kill(server)
            await until(lambda: not leaving.connected, "the connection is gone")
        elif state == "paused":
            server.send(signal.SIGSTOP)
        pulling.cancel()
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert leaving.client.is_closed
    if state == "paused":
        server.send(signal.SIGCONT)


# Answering


async def test_a_slow_answer_does_not_hold_back_a_fast_one(bus: Bus, server: Server) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def answer(message: Msg) -> bytes:
        if message.data == b"slow":
            begun.set()
            await release.wait()
        return message.data

    await bus.serve("ask", answer)
    async with server.connect() as asking:
        slow = asyncio.create_task(asking.request("ask", b"slow"))
        await begun.wait()
        assert await asking.request("ask", b"fast", patience=2) == b"fast"
        assert not slow.done()
        release.set()
        assert await slow == b"slow"


async def test_so_many_answers_are_in_hand_at_once_and_no_more(bus: Bus) -> None:
    running, most, release = 0, 0, asyncio.Event()

    async def answer(_: Msg) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return b""

    await bus.serve("ask", answer)
    asked = [asyncio.create_task(bus.request("ask", b"")) for _ in range(3 * CONCURRENT_REPLIES)]
    await until(lambda: running == CONCURRENT_REPLIES, "all places are taken")
    await bus.flush()
    release.set()
    await asyncio.gather(*asked)
    assert most == CONCURRENT_REPLIES


async def test_a_request_waits_for_the_service_that_is_to_answer(bus: Bus) -> None:
    asked = asyncio.create_task(bus.request("ask", b"", patience=5))
    await asyncio.sleep(0)

    async def answer(_: Msg) -> bytes:
        return b"here"

    await bus.serve("ask", answer)
    assert await asked == b"here"
    with pytest.raises(BusUnavailableError, match="no service listens there"):
        await bus.request("nobody", b"", patience=0.3)


# Coming in


@pytest.mark.parametrize("key", [None, "unknown"])
async def test_without_a_known_key_nobody_gets_in(server: Server, tmp_path: Path, key: str | None) -> None:
    unknown = tmp_path / "unknown.nk"
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    await asyncio.to_thread(unknown.write_bytes, seed)
    config = BusConfig(url=server.files.url, ca=server.files.ca, key=unknown if key else None)
    with pytest.raises(Exception, match=r"(?i)authorization violation"):
        async with asyncio.timeout(5), Bus.connect(config, "stranger"):
            pytest.fail("it got in")


async def test_who_does_not_trust_the_authority_does_not_connect(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    config = BusConfig(url=server.files.url, key=server.files.key("admin"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), Bus.connect(config, "stranger"):
            pytest.fail("it got in")
    assert "certificate verify failed" in caplog.text.lower()
