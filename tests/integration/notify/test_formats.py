"""Alerts in other forms, on a real bus: each once and in order, whatever dies in between."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import nats.errors
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from tests.bus import Server, until
from tests.unit.contracts.test_cap import SEEN

from aegis.contracts import alerts, cap, cloudevents, codec, onvif, reviews, subjects
from aegis.contracts.alerts import LIFETIME, Sighting
from aegis.contracts.cap import History
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.messages import DeadLetter
from aegis.contracts.reviews import AlertState, Update
from aegis.notify.formats import Formats
from aegis.runtime import tasks, topology
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.consumers import consume
from aegis.runtime.service import Context, Health

ALERT = subjects.alert("north", "barred", "p1")
CAP = subjects.cap("north", "barred", "p1")
FACE = subjects.onvif("north", "lobby", "barred")


class World:
    """A bus with the system's streams, the forms when they are followed, and what match and registry write."""

    def __init__(self, server: Server, admin: Bus, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self.admin = admin
        self._stack = stack
        self._process: subprocess.Popen[bytes] | None = None

    async def follow(self, *, names: bool = False) -> None:
        notify = await self._stack.enter_async_context(self.server.connect("notify"))
        formats = Formats(Context("notify", None, notify, Health()), names=names)
        task = asyncio.create_task(formats.run())
        self._stack.push_async_callback(tasks.end, [task])

    def start(self) -> None:
        files = self.server.files
        program = Path(__file__).with_name("formats_process.py")
        arguments = [sys.executable, str(program), files.url, str(files.ca), str(files.key("notify"))]
        self._process = subprocess.Popen(arguments)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def publish(self, *events: CloudEvent, subject: str = ALERT) -> None:
        for event in events:
            await self.admin.store(subject, cloudevents.dump(event), message_id=event.id)

    async def stored(self, stream: str) -> list[Msg]:
        config = ConsumerConfig(
            name="test", deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, inactive_threshold=5
        )
        found: list[Msg] = []
        async with consume(self.admin, stream, config, batch=256) as consumer:
            await consumer.next()
            while len(found) < consumer.backlog:
                found += await consumer.next()
        return found

    async def holds(self, stream: str, count: int) -> list[Msg]:
        """Wait until a stream holds so many messages."""

        async def enough() -> bool:
            with contextlib.suppress(nats.errors.Error, OSError):
                return (await self.admin.client.jetstream(timeout=1).stream_info(stream)).state.messages >= count
            return False  # The bus was killed.

        await until(enough, f"{count} messages in {stream}", 60.0)
        return await self.stored(stream)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = Server(tmp_path)
    server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.kill)
        admin = await stack.enter_async_context(server.connect("admin"))
        admin.on_reconnect(lambda: topology.declare(admin))
        await topology.declare(admin)
        made = World(server, admin, stack)
        stack.callback(made.kill)
        yield made


def seen(alert: str = "k7q2mx-0a1b", at: float | None = None, **changes: object) -> Sighting:
    at = time.time() if at is None else at
    times = {"captured_at": at, "first_captured_at": at, "raised_at": at, "expires_at": at + LIFETIME}
    return replace(SEEN, alert=alert, **(times | changes))  # type: ignore[arg-type]


def raised(identity: str, sighting: Sighting) -> CloudEvent:
    return alerts.event(alerts.RAISED, identity, sighting)


def update(identity: str, of: Sighting, kind: str, state: AlertState) -> CloudEvent:
    data = Update(
        alert=of.alert, reference=of.reference, site=of.site, category=of.category, entry=of.entry, state=state,
        updated_at=of.captured_at + 5,
    )  # fmt: skip
    return CloudEvent(
        id=identity, source="/aegis/sites/north", type=kind, time=cloudevents.rfc3339(data.updated_at),
        subject="barred/p1", data=cloudevents.to_data(data),
    )  # fmt: skip


def kinds(messages: list[Msg]) -> list[str | None]:
    return [ET.fromstring(message.data).findtext("{*}msgType") for message in messages]  # noqa: S314 - our own


async def test_a_story_is_told_in_both_forms(world: World) -> None:
    await world.follow()
    sighting = seen()
    await world.publish(
        raised("e1", sighting),
        alerts.event(alerts.SIGHTED, "e2", replace(sighting, captured_at=sighting.captured_at + 10)),
        update("e3", sighting, reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED),
        update("e4", sighting, reviews.DISMISSED, AlertState.DISMISSED),
    )
    told = await world.holds(subjects.CAP, 3)
    assert kinds(told) == ["Alert", "Update", "Cancel"]
    assert {message.subject for message in told} == {CAP}
    assert [(message.headers or {})["content-type"] for message in told] == [cap.CONTENT_TYPE] * 3
    faces = await world.stored(subjects.ONVIF)
    assert [json.loads(face.data)["Data"]["aegis:Event"] for face in faces] == ["e1", "e2"]
    assert {face.subject for face in faces} == {FACE}
    assert [(face.headers or {})["content-type"] for face in faces] == [onvif.CONTENT_TYPE] * 2


async def test_integrators_hear_both_forms_in_their_own_account(world: World) -> None:
    await world.follow()
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    async with world.server.connect("integrator") as integrator:
        for subject in ("aegis.v1.cap.>", "aegis.v1.onvif.>"):
            await integrator.subscribe(subject, hear)
        await world.publish(raised("e1", seen()))
        await until(lambda: len(heard) == 2, "both forms")
    assert set(heard) == {CAP, FACE}


@pytest.mark.parametrize("names", [False, True])
async def test_both_forms_name_the_person_only_if_they_may(world: World, names: bool) -> None:
    await world.follow(names=names)
    await world.publish(raised("e1", seen()))
    forms = await world.holds(subjects.CAP, 1) + await world.holds(subjects.ONVIF, 1)
    assert [SEEN.person.encode() in message.data for message in forms] == [names, names]


async def test_a_malformed_event_is_put_aside_and_passed_over(world: World) -> None:
    await world.follow()
    for number, body in enumerate((b"no json", cloudevents.dump(raised("e 1", seen())))):
        await world.admin.store(ALERT, body, message_id=str(number))
    await world.publish(
        update("e2", seen("unknown"), reviews.EXPIRED, AlertState.EXPIRED),
        raised("e3", seen(camera="no.token")),
        raised("e4", seen(threshold=float("nan"))),
        raised("e5", seen("k7q2mx-0a1c")),
    )
    assert kinds(await world.holds(subjects.CAP, 2))[-1] == "Alert"
    letters = [codec.decode(DeadLetter, message.data) for message in await world.holds(subjects.DEAD, 5)]
    assert [letter.service for letter in letters] == ["notify"] * 5
    assert all(letter.problem.startswith("formats: ") for letter in letters)
    assert "no.token" in letters[3].problem


async def test_what_is_history_is_no_face_event_but_still_an_alert_that_has_expired(world: World) -> None:
    old = seen(at=time.time() - LIFETIME - 1)
    await world.publish(raised("e1", old))
    await world.follow()
    assert kinds(await world.holds(subjects.CAP, 1)) == ["Alert"]
    await world.publish(raised("e2", seen("k7q2mx-0a1c")))
    (face,) = await world.holds(subjects.ONVIF, 1)
    assert json.loads(face.data)["Data"]["aegis:Event"] == "e2"


async def test_an_update_after_a_restart_refers_to_what_was_told_before(world: World) -> None:
    sighting = seen()
    await world.publish(raised("e1", sighting))
    world.start()
    await world.holds(subjects.CAP, 1)
    world.kill()
    await world.publish(update("e2", sighting, reviews.DISMISSED, AlertState.DISMISSED))
    world.start()
    told = await world.holds(subjects.CAP, 2)
    assert kinds(told) == ["Alert", "Cancel"]
    assert f"aegis/north,e1,{cap.date_time(sighting.captured_at)}".encode() in told[1].data


@pytest.mark.timeout(180)
async def test_nothing_is_lost_twice_or_out_of_order_though_everything_is_killed_in_the_middle(world: World) -> None:
    events: list[CloudEvent] = []
    for number in range(60):
        sighting = seen(f"alert-{number}")
        events += [
            raised(f"r{number}", sighting),
            update(f"a{number}", sighting, reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED),
            update(f"d{number}", sighting, reviews.DISMISSED, AlertState.DISMISSED),
        ]
    await world.publish(*events)
    for least in (10, 60, 120):
        world.start()
        await world.holds(subjects.CAP, least)
        if least == 60:
            world.server.kill()
            world.server.start()
            await world.holds(subjects.CAP, least + 10)
        world.kill()
    world.start()
    told = [message.data for message in await world.holds(subjects.CAP, len(events))]
    history, expected = History(), []
    for sequence, event in enumerate(events, 1):
        history, message = cap.tell(history, sequence, event, names=False)
        expected.append(message)
    assert told == expected
    faces = await world.stored(subjects.ONVIF)
    assert [json.loads(face.data)["Data"]["aegis:Event"] for face in faces] == [f"r{n}" for n in range(60)]
