"""An integrator's durable consumers: they remember, filter, and are nobody else's."""

import json

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from tests.bus import Server, until
from tests.integration.integrators.conftest import integrator

from aegis.contracts import subjects
from aegis.runtime.bus import Bus, ConflictError

HOPPER = subjects.alert("north", "barred", "hopper")
COLLINS = subjects.alert("north", "missing", "collins")
ELSEWHERE = subjects.alert("south", "barred", "hopper")


async def tell(bus: Bus, subject: str, *names: str) -> None:
    for name in names:
        await bus.store(subject, json.dumps({"id": name}).encode(), headers={"content-type": "x"})


async def read(reader: JetStreamContext.PullSubscription, count: int) -> list[Msg]:
    """Read so many messages, and see that there is no other."""
    found: list[Msg] = []
    while len(found) < count:
        found += await reader.fetch(count - len(found), timeout=10)
    with pytest.raises(nats.errors.TimeoutError):
        await reader.fetch(1, timeout=0.3)
    return found


def ids(messages: list[Msg]) -> list[str]:
    return [json.loads(message.data)["id"] for message in messages]


async def test_what_was_not_acknowledged_comes_when_the_reader_is_back(bus: Bus, server: Server) -> None:
    await tell(bus, HOPPER, "1", "2", "3")
    config = ConsumerConfig(ack_wait=1)
    async with integrator(server) as (_, jetstream, refused):
        reader = await jetstream.pull_subscribe("aegis.v1.alert.>", durable="mine", stream="ALERTS", config=config)
        for message in (await reader.fetch(3, timeout=10))[:2]:
            await message.ack_sync()
        assert refused == []
    await tell(bus, HOPPER, "4")
    server.stop()
    server.start()
    await tell(bus, HOPPER, "5")
    async with integrator(server) as (_, jetstream, refused):
        reader = await jetstream.pull_subscribe("aegis.v1.alert.>", durable="mine", stream="ALERTS", config=config)
        found: list[str] = []
        while len(found) < 3:
            for message in await reader.fetch(1, timeout=10):
                await message.ack_sync()
                found += ids([message])
        assert sorted(found) == ["3", "4", "5"]
        assert refused == []


async def test_a_reader_that_did_not_finish_gets_it_again(bus: Bus, server: Server) -> None:
    await tell(bus, HOPPER, "1")
    async with integrator(server) as (_, jetstream, _refused):
        config = ConsumerConfig(ack_wait=30)
        reader = await jetstream.pull_subscribe(HOPPER, durable="mine", stream="ALERTS", config=config)
        (message,) = await read(reader, 1)
        await message.nak()
        (again,) = await read(reader, 1)
        assert again.metadata.num_delivered == 2


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("aegis.v1.alert.north.>", ["a", "b"]),
        ("aegis.v1.alert.*.barred.*", ["a", "c"]),
        ("aegis.v1.alert.south.barred.hopper", ["c"]),
        ("aegis.v1.alert.>", ["a", "b", "c"]),
    ],
)
async def test_sites_and_categories_are_chosen_by_the_filter(
    bus: Bus, server: Server, subject: str, expected: list[str]
) -> None:
    await tell(bus, HOPPER, "a")
    await tell(bus, COLLINS, "b")
    await tell(bus, ELSEWHERE, "c")
    async with integrator(server) as (_, jetstream, refused):
        reader = await jetstream.pull_subscribe(subject, durable="mine", stream="ALERTS")
        assert ids(await read(reader, len(expected))) == expected
        assert refused == []


async def test_replay_from_a_time_and_a_sequence(bus: Bus, server: Server) -> None:
    await tell(bus, subjects.camera("north", "lobby"), "1", "2", "3")
    async with integrator(server) as (_, jetstream, refused):
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=2, ack_policy=AckPolicy.EXPLICIT
        )
        reader = await jetstream.pull_subscribe("aegis.v1.camera.>", durable="late", stream="CAMERAS", config=config)
        messages = await read(reader, 2)
        assert ids(messages) == ["2", "3"]
        assert messages[0].headers == {"content-type": "x"}
        assert refused == []


async def test_it_can_list_and_delete_what_is_its_own(bus: Bus, server: Server) -> None:
    async with integrator(server) as (_, jetstream, refused):
        await jetstream.pull_subscribe("aegis.v1.alert.>", durable="mine", stream="ALERTS")
        assert [info.name for info in await jetstream.consumers_info("ALERTS")] == ["mine"]
        assert await jetstream.delete_consumer("ALERTS", "mine")
        assert (await jetstream.stream_info("ALERTS")).state.consumer_count == 0
        assert refused == []


async def test_services_consumers_are_out_of_its_reach(bus: Bus, server: Server) -> None:
    """The same name on the copy is another consumer: notify's can be neither changed nor deleted nor read from."""
    await tell(bus, HOPPER, "1")
    ours = bus.client.jetstream()
    config = ConsumerConfig(durable_name="notify-email", ack_policy=AckPolicy.EXPLICIT)
    await ours.add_consumer("ALERTS", config)
    async with integrator(server) as (_, jetstream, _refused):
        with pytest.raises(nats.js.errors.NotFoundError):
            await jetstream.consumer_info("ALERTS", "notify-email")
        reader = await jetstream.pull_subscribe(COLLINS, durable="notify-email", stream="ALERTS")
        with pytest.raises(nats.errors.TimeoutError):
            await reader.fetch(1, timeout=0.3)
        await jetstream.delete_consumer("ALERTS", "notify-email")
    info = await ours.consumer_info("ALERTS", "notify-email")
    assert (info.config.filter_subject, info.num_pending, info.num_ack_pending) == (None, 1, 0)


async def test_who_listens_hears_what_was_stored_and_nothing_else(bus: Bus, server: Server) -> None:
    async with integrator(server) as (mine, jetstream, refused):
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        await mine.subscribe("aegis.v1.alert.>", hear)
        await bus.store(HOPPER, b"first", expected_last=0, message_id="1")
        with pytest.raises(ConflictError):
            await bus.store(HOPPER, b"too late", expected_last=0, message_id="2")
        await bus.store(HOPPER, b"first", message_id="1")
        await bus.store(HOPPER, b"second", message_id="3")
        await until(lambda: len(heard) >= 2, "both were heard")
        assert heard == [b"first", b"second"]
        assert (await jetstream.get_msg("ALERTS", subject=HOPPER, direct=True)).data == b"second"
        assert refused == []
