"""Alerts as webhooks: signed, unchanged, tried again when that may help."""

import base64
from collections.abc import AsyncIterator

import pytest
from tests.bus import until
from tests.integration.notify.conftest import World
from tests.peers.webhook_receiver import WebhookReceiver

from aegis.contracts import cloudevents
from aegis.contracts.deliveries import DeliveryState

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    made = WebhookReceiver(SECRET)
    await made.start()
    yield made
    await made.stop()


def configure(world: World, *urls: str) -> None:
    world.configure({"webhooks": [{"url": url, "secret_env": "HOOK_SECRET"} for url in urls]}, HOOK_SECRET=SECRET)


async def test_an_event_arrives_signed_and_unchanged_after_two_failures(
    world: World, receiver: WebhookReceiver
) -> None:
    url = receiver.url("/hook/T0K3N")
    receiver.answers["/hook/T0K3N"].extend([(500, {}), (500, {})])
    configure(world, url)
    await world.start()
    event = await world.publish()
    record = await world.delivered(event, "webhook", url)
    assert (record.state.value, record.attempts) == ("delivered", 3)
    assert len(receiver.received) == 3
    assert all(request.genuine for request in receiver.received)
    assert {request.body for request in receiver.received} == {cloudevents.dump(event)}
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert receiver.received[0].headers["content-type"] == "application/cloudevents+json"
    gaps = [b.at - a.at for a, b in zip(receiver.received, receiver.received[1:], strict=False)]
    assert all(gap >= 0.99 for gap in gaps)
    await until(world.idle, "nothing is left to do")
    log = world.log.read_text()
    assert "T0K3N" not in log
    assert SECRET not in log


async def test_a_receiver_is_left_alone_as_long_as_it_asks_and_redirects_are_refused(
    world: World, receiver: WebhookReceiver
) -> None:
    slow, moved, gone, well = (receiver.url(path) for path in ("/slow", "/moved", "/gone", "/well"))
    receiver.answers["/slow"].append((429, {"Retry-After": "3"}))
    receiver.always["/moved"] = (307, {"Location": receiver.url("/elsewhere")})
    receiver.always["/gone"] = (410, {})
    configure(world, slow, moved, gone, well)
    await world.start()
    event = await world.publish()
    states = {url: await world.delivered(event, "webhook", url) for url in (well, moved, gone, slow)}
    assert [states[url].state.value for url in (well, moved, gone, slow)] == [
        "delivered",
        "failed",
        "failed",
        "delivered",
    ]
    assert "redirects are not followed" in states[moved].detail
    assert states[well].attempts == 1
    first, second = receiver.at("/slow")
    assert second.at - first.at >= 2.99
    assert receiver.at("/elsewhere") == []
    assert len(receiver.at("/moved")) == len(receiver.at("/gone")) == len(receiver.at("/well")) == 1
    assert len(await world.dead_letters()) == 2


async def test_a_receiver_that_is_away_is_told_when_it_is_back(world: World, receiver: WebhookReceiver) -> None:
    url = receiver.url("/hook")
    configure(world, url)
    await receiver.stop()
    await world.start()
    event = await world.publish()

    async def put_off() -> bool:
        metrics = (await world.status()).get("metrics", {})
        return bool(metrics.get('aegis_deliveries_total{channel="webhook",state="retried"}'))

    await until(put_off, "the first attempt failed")
    await receiver.start()
    assert (await world.delivered(event, "webhook", url)).state is DeliveryState.DELIVERED
