"""A reader of events misses none of them, and gives none twice, when its server dies or its consumer goes."""

import asyncio

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from tests.bus import Server
from tests.integration.runtime.conftest import restart

from aegis.contracts import subjects
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import consume

SUBJECT = subjects.alert("site", "barred", "somebody")


@pytest.mark.parametrize("policy", [DeliverPolicy.NEW, DeliverPolicy.ALL])
async def test_a_reader_goes_on_where_it_was(server: Server, bus: Bus, policy: DeliverPolicy) -> None:
    config = ConsumerConfig(name="reader", deliver_policy=policy, ack_policy=AckPolicy.NONE, mem_storage=True)
    await bus.store(SUBJECT, b"old")
    read = []
    async with consume(bus, subjects.ALERTS, config) as reader:
        while not reader.remade:
            await reader.next(wait=0.2)
        for content in (b"one", b"two"):
            await bus.store(SUBJECT, content)
        while b"two" not in read:
            read += [message.data for message in await reader.next(wait=5)]
        await restart(server)
        # Nobody reads while this is told, and the server has forgotten its reader.
        await bus.store(SUBJECT, b"three")
        while b"three" not in read:
            read += [message.data for message in await reader.next(wait=5)]
    assert read == ([b"old"] if policy is DeliverPolicy.ALL else []) + [b"one", b"two", b"three"]


async def test_one_server_says_nothing_while_there_is_nothing_and_tells_when_a_consumer_is_gone(bus: Bus) -> None:
    assert bus.alone
    config = ConsumerConfig(name="reader", deliver_policy=DeliverPolicy.NEW, ack_policy=AckPolicy.NONE)
    async with consume(bus, subjects.ALERTS, config) as reader:
        await reader.next(wait=0.5)
        heard = bus.client.stats["in_msgs"]
        assert not await reader.next(wait=3)
        assert bus.client.stats["in_msgs"] == heard
        stream = bus.client.jetstream()
        (info,) = await stream.consumers_info(subjects.ALERTS)
        waiting = asyncio.create_task(reader.next(wait=5))
        await asyncio.sleep(0.1)
        await stream.delete_consumer(subjects.ALERTS, info.name)
        assert not await waiting, "it was made anew"
        await bus.store(SUBJECT, b"told")
        assert [message.data for message in await reader.next(wait=5)] == [b"told"]
    assert reader.remade == 2
