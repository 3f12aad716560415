"""Who is told, when, and what happens then: steps, reviews, corrections, crashes, and the questions people ask."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.bus import until
from tests.integration.notify.conftest import World
from tests.peers.webhook_receiver import WebhookReceiver

from aegis.cli.notify import explained
from aegis.contracts import cloudevents, codec, reviews, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryState, ExplainAlert, SendTest, StartDrill
from aegis.contracts.messages import Reply
from aegis.contracts.reviews import AlertState, Update

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
PEOPLE = ("gate", "head", "desk", "police")


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    made = WebhookReceiver(SECRET)
    await made.start()
    yield made
    await made.stop()


def configure(world: World, receiver: WebhookReceiver, *, wait: int = 5, outside: bool = False) -> None:
    people: dict[str, Any] = {
        person: {"webhook": receiver.url(f"/{person}"), "secret_env": "HOOK_SECRET"} for person in PEOPLE
    }
    people["police"]["outside"] = True
    rule: dict[str, Any] = {
        "name": "all",
        "steps": [{"tell": ["gate"], "wait": wait}, {"tell": ["head"], "wait": 60}, {"tell": "everyone"}],
    }
    if outside:
        rule["outside"] = {"tell": ["police"]}
    world.configure({"people": people, "rules": [rule]}, HOOK_SECRET=SECRET)


async def review(
    world: World, event: CloudEvent, kind: str, state: AlertState, by: str = "Ann", **more: Any
) -> CloudEvent:
    """Have the registry say what became of an alert."""
    seen = cloudevents.from_data(Sighting, event.data)
    update = Update(
        alert=seen.alert, reference=seen.reference, site=seen.site, category=seen.category, entry=seen.entry,
        state=state, updated_at=time.time(), by=by, drill=seen.drill, **more,
    )  # fmt: skip
    said = CloudEvent(
        id=f"{seen.alert}-{state.value}", source=event.source, type=kind, time=event.time, subject=event.subject,
        data=cloudevents.to_data(update),
    )  # fmt: skip
    await world.publish_raw(cloudevents.dump(said), said.id, seen.entry)
    return said


async def ask(world: World, operation: str, request: object) -> Any:
    reply = codec.decode(Reply, await world.admin.request(subjects.notify(operation), codec.encode(request)))
    assert not reply.problem, reply.problem
    return json.loads(reply.body)


def explain(event: CloudEvent) -> ExplainAlert:
    seen = cloudevents.from_data(Sighting, event.data)
    return ExplainAlert(alert=seen.alert, subject=subjects.alert(seen.site, seen.category, seen.entry))


async def told_events(world: World) -> list[CloudEvent]:
    """Give all events that were told."""
    events: list[CloudEvent] = []
    info = await world.admin.client.jetstream().stream_info(subjects.ALERTS)
    if not info.state.messages:
        return events
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await world.admin.client.jetstream().get_msg(subjects.ALERTS, sequence)
        events.append(cloudevents.load(message.data or b""))
    return events


async def story(world: World) -> list[str]:
    """Give the kinds of all events that were told."""
    return [event.type for event in await told_events(world)]


async def corrected(world: World) -> int | None:
    """Give how many had been told of what was corrected."""
    [event] = [event for event in await told_events(world) if event.type == reviews.CORRECTED]
    return cloudevents.from_data(Update, event.data).told


async def test_without_an_answer_the_next_one_is_told_and_the_story_says_so(
    world: World, receiver: WebhookReceiver
) -> None:
    configure(world, receiver)
    await world.start()
    await world.publish()
    await until(lambda: bool(receiver.at("/head")), "the second step is told", 15.0)
    first, second = receiver.at("/gate")[0], receiver.at("/head")[0]
    assert 4.9 < second.at - first.at < 7.0
    await until(lambda: _has(world, reviews.ESCALATED), "the story says that it was escalated")
    assert not receiver.at("/desk")
    await until(lambda: len(receiver.at("/gate")) == 2, "who knew of it is told that it went on")
    assert cloudevents.load(receiver.at("/gate")[1].body).type == reviews.ESCALATED


async def _has(world: World, kind: str) -> bool:
    return kind in await story(world)


async def test_an_acknowledgement_ends_the_steps_and_explain_says_why(world: World, receiver: WebhookReceiver) -> None:
    configure(world, receiver)
    await world.start()
    event = await world.publish()
    await until(lambda: bool(receiver.at("/gate")), "the first step is told")
    await review(world, event, reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED)

    async def known() -> bool:
        return bool((await ask(world, "explain", explain(event)))["state"] == "acknowledged")

    await until(known, "notify knows")
    await asyncio.sleep(6.0)
    assert not receiver.at("/head")
    said = await ask(world, "explain", explain(event))
    became = {one["person"]: (one["state"], one["reason"]) for one in said["contacts"]}
    assert became["gate"][0] == "delivered"
    assert became["head"][0] is None
    assert "Ann acknowledged" in became["head"][1]
    assert became["police"][0] is None
    alerts = [record["state"] for record in said["history"] if record["kind"] == "alert"]
    assert alerts == ["pending", "sending", "delivered"]


async def test_whoever_refuses_for_good_makes_the_next_step_come_at_once(
    world: World, receiver: WebhookReceiver
) -> None:
    configure(world, receiver, wait=600)
    receiver.always["/gate"] = (410, {})
    await world.start()
    await world.publish()
    await until(lambda: bool(receiver.at("/head")), "the second step is told", 5.0)


async def test_the_outside_is_told_after_two_confirmations_and_corrected_after_a_dismissal(
    world: World, receiver: WebhookReceiver
) -> None:
    configure(world, receiver, outside=True)
    await world.start()
    event = await world.publish(drill=False)
    await until(lambda: bool(receiver.at("/gate")), "the first step is told")
    await review(world, event, reviews.CONFIRMED, AlertState.CONFIRMED_ONCE)
    await asyncio.sleep(1.0)
    assert not receiver.at("/police")
    await review(world, event, reviews.CONFIRMED, AlertState.CONFIRMED_TWICE, by="Bob")
    await until(lambda: bool(receiver.at("/police")), "the police are told")
    dismissed = await review(world, event, reviews.DISMISSED, AlertState.DISMISSED, reason="not him")
    await until(lambda: _has(world, reviews.CORRECTED), "everyone was corrected")
    await until(world.idle, "nothing is left to do")
    assert await corrected(world) == 2
    expected = {
        "gate": ["raised", "confirmed", "confirmed", "dismissed", "corrected"],
        "police": ["raised", "confirmed", "confirmed", "dismissed", "corrected"],
    }
    for person, kinds in expected.items():
        told = {request.body: request for request in receiver.at(f"/{person}")}
        assert {cloudevents.dump(event), cloudevents.dump(dismissed)} <= set(told)
        assert sorted(cloudevents.load(body).type.split(".")[2] for body in told) == sorted(kinds)
        assert all(request.genuine for request in told.values())
    assert not receiver.at("/head")
    assert not receiver.at("/desk")


async def test_a_dismissal_of_what_nobody_was_told_of_says_so(world: World) -> None:
    world.configure({})
    await world.start()
    event = await world.publish(drill=False)
    await review(world, event, reviews.DISMISSED, AlertState.DISMISSED, reason="not him")
    await until(lambda: _has(world, reviews.CORRECTED), "it is corrected")
    assert await corrected(world) == 0
    assert explained(await ask(world, "explain", explain(event))) == [
        "nobody was told: the site file names nobody under notify"
    ]


async def test_what_a_crash_left_half_sent_is_sent_again_under_the_same_name_and_marked(
    world: World, receiver: WebhookReceiver
) -> None:
    configure(world, receiver, wait=600)
    receiver.hold = asyncio.Event()
    await world.start()
    event = await world.publish()
    await until(lambda: bool(receiver.at("/gate")), "it is being handed over")
    world.kill()
    receiver.hold.set()
    await world.start()
    record = await world.delivered(event, "webhook", receiver.url("/gate"))
    assert (record.state, record.attempts, record.repeated) == (DeliveryState.DELIVERED, 2, True)
    assert len({request.headers["webhook-id"] for request in receiver.at("/gate")}) == 1


async def test_a_test_reaches_one_person_and_is_no_alert(world: World, receiver: WebhookReceiver) -> None:
    configure(world, receiver)
    await world.start()
    begun = await ask(world, "test", SendTest(person="head"))
    await until(lambda: bool(receiver.at("/head")), "the test is there")
    assert json.loads(receiver.at("/head")[0].body)["type"] == "aegis.notify.test.v1"
    await until(world.idle, "nothing is left to do")
    said = await ask(world, "explain", ExplainAlert(alert=begun["test"], subject=""))
    assert said["history"][-1]["state"] == "delivered"
    assert await story(world) == []
    unknown = codec.encode(SendTest(person="nobody"))
    reply = codec.decode(Reply, await world.admin.request(subjects.notify("test"), unknown))
    assert "known are: desk, gate, head, police" in reply.problem


async def test_a_drill_is_an_alert_that_says_so(world: World, receiver: WebhookReceiver) -> None:
    configure(world, receiver)
    await world.start()
    begun = await ask(world, "drill", StartDrill())
    await until(lambda: bool(receiver.at("/gate")), "the first step is told")
    event = cloudevents.load(receiver.at("/gate")[0].body)
    assert event.data["drill"] is True
    assert event.data["reference"] == begun["reference"]


async def test_a_receiver_that_is_down_is_left_alone_while_the_others_are_told(
    world: World, receiver: WebhookReceiver
) -> None:
    urls = [receiver.url(f"/{name}") for name in ("down", "well")]
    hooks = [{"url": url, "secret_env": "HOOK_SECRET"} for url in urls]
    world.configure({"webhooks": hooks}, HOOK_SECRET=SECRET)
    receiver.always["/down"] = (503, {})
    await world.start()
    events = await asyncio.gather(*(world.publish(entry=f"e{n}") for n in range(40)))
    await until(lambda: len(receiver.at("/well")) == 40, "the other one is told of all")
    await until(lambda: "seems to be down" in world.log.read_text(), "the log says that one is down")
    asked = len(receiver.at("/down"))
    assert asked <= 25
    receiver.always.pop("/down")
    for event in events:
        assert (await world.delivered(event, "webhook", urls[0])).state is DeliveryState.DELIVERED
    assert "is back" in world.log.read_text()
