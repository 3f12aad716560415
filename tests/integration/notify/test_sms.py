"""SMS through the whole of notify: receipts come back to the record, and a provider is asked before a repeat."""

from collections.abc import AsyncIterator

import pytest
from tests.bus import until
from tests.integration.notify.conftest import World
from tests.peers.kannel import free_ports
from tests.peers.twilio_stub import TwilioStub

from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState

NUMBER = "+15551230001"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioStub]:
    stub = TwilioStub()
    await stub.start()
    yield stub
    await stub.stop()


def configure(world: World, twilio: TwilioStub) -> None:
    [port] = free_ports(1)
    world.configure(
        {
            "sms": {
                "provider": "twilio", "account": twilio.account, "token": "${TOKEN}", "from": "+15550001111",
                "url": twilio.url, "rate": 100,
            },
            "receipts": {"listen": f"127.0.0.1:{port}", "url": f"http://127.0.0.1:{port}"},
            "people": {"guard": {"sms": NUMBER}},
        },
        TOKEN=twilio.token,
    )  # fmt: skip


async def state(world: World, event: CloudEvent, wanted: DeliveryState) -> DeliveryRecord:
    """Wait until a delivery stands so."""
    found: list[DeliveryRecord] = []

    async def reached() -> bool:
        record = await world.delivery(event, "sms", NUMBER)
        found.extend([record] if record and record.state is wanted else [])
        return bool(found)

    await until(reached, f"the delivery is {wanted.value}", 30.0)
    return found[0]


async def test_a_receipt_changes_the_record_and_a_forged_one_does_not(world: World, twilio: TwilioStub) -> None:
    configure(world, twilio)
    await world.start()
    first, second = await world.publish(), await world.publish(entry="e2")
    for event in (first, second):
        await state(world, event, DeliveryState.SENT)
    by_event = {}
    for event in (first, second):
        record = await world.delivery(event, "sms", NUMBER)
        assert record is not None
        by_event[event.id] = record.provider_id
    assert await twilio.report(by_event[first.id], "delivered", forged=True) == 403
    assert await twilio.report(by_event[first.id], "delivered") == 200
    await state(world, first, DeliveryState.DELIVERED)
    assert await twilio.report(by_event[second.id], "undelivered", 30003) == 200
    assert "30003" in (await state(world, second, DeliveryState.FAILED)).detail
    # What comes out of order takes nothing back.
    assert await twilio.report(by_event[first.id], "sent") == 200
    assert (await state(world, first, DeliveryState.DELIVERED)).provider_id == by_event[first.id]


async def test_a_receipt_is_taken_after_a_restart(world: World, twilio: TwilioStub) -> None:
    configure(world, twilio)
    await world.start()
    event = await world.publish()
    record = await state(world, event, DeliveryState.SENT)
    await world.terminate()
    await world.start()
    assert await twilio.report(record.provider_id, "delivered") == 200
    await state(world, event, DeliveryState.DELIVERED)


async def test_nobody_is_told_twice_when_even_the_question_fails(world: World, twilio: TwilioStub) -> None:
    configure(world, twilio)
    twilio.answers.extend(("silent, but takes it", (429, {"Retry-After": "1"}, {}), (500, {}, {})))
    await world.start()
    event = await world.publish()
    record = await state(world, event, DeliveryState.SENT)
    assert len(twilio.messages) == 1
    assert record.provider_id == twilio.messages[0]["sid"]
    assert not record.repeated
    assert [method for method, _ in twilio.requests] == ["POST", "GET", "GET", "GET"]
