"""A reader of events misses none of them, and gives none twice, when its server dies."""

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
