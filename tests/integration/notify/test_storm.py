"""Alerts through every channel while notify and the bus are killed at random: everyone is told of every one.

``AEGIS_STORM_ALERTS`` says how many (`make soak`: 1000); by default few enough for every day.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.bus import until
from tests.integration.notify.conftest import World
from tests.peers import kannel
from tests.peers.mail_server import MailServer
from tests.peers.smpp_server import SmppServer
from tests.peers.twilio_stub import TwilioStub
from tests.peers.webhook_receiver import WebhookReceiver

from aegis.contracts import codec, subjects
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState
from aegis.runtime.references import new_alert

log = logging.getLogger(__name__)

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
GUARD, NUMBER = "guard@north.example", "+15551230001"
ALERTS = int(os.environ.get("AEGIS_STORM_ALERTS", "40"))
KILLS = max(4, ALERTS // 40)
SECONDS = 60.0 + ALERTS / 4


@dataclass
class Chat:
    """What Apprise speaks to: it takes JSON, and is busy now and then."""

    texts: list[str] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator["Chat"]:
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        yield self
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if random.random() < 0.05:
            return web.Response(status=500)
        said = await request.json()
        self.texts.append(said["title"] + said["message"])
        return web.Response()


@contextlib.asynccontextmanager
async def sms_peer(kind: str, world: World) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    """Give the site file's section and a function that gives the texts that came through."""
    common = {"from": "+15550001111", "rate": 200}
    if kind == "twilio":
        stub = TwilioStub()
        await stub.start()
        for _ in range(ALERTS // 20):
            stub.answers.extend(((429, {"Retry-After": "1"}, {}), "silent, but takes it", (500, {}, {})))
        section = {"provider": kind, "account": stub.account, "token": "${SMS_SECRET}", "url": stub.url}
        yield {**section, **common}, lambda: [message["body"] for message in stub.messages]
        await stub.stop()
    elif kind == "smpp":
        server = SmppServer(login=("aegis", "pw"))
        await server.start()
        section = {"provider": kind, "url": f"smpp+insecure://aegis:${{SMS_SECRET}}@127.0.0.1:{server.port}"}
        yield {**section, **common}, lambda: [str(message.short_message) for message in server.messages]
        await server.stop()
    else:
        directory = world.directory / "kannel"
        directory.mkdir()
        async with kannel.Kannel(directory).run() as gateway:
            section = {"provider": kind, "url": gateway.url.replace("http:", "http+insecure:"), "user": kannel.USER}
            yield (
                {**section, "password": "${SMS_SECRET}", **common},
                lambda: [text for _, _, text in gateway.received()],
            )


PASSWORDS = {"twilio": TwilioStub().token, "smpp": "pw", "kannel": kannel.PASSWORD}


class Storm:
    """Kills notify and the bus in turn, at random moments, and starts them again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.kills: Counter[str] = Counter()

    async def rage(self) -> None:
        chance = random.Random(7)
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.3, 3.0))
            if number % 2:
                self._world.server.kill()
                self.kills["bus"] += 1
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                self._world.server.start()
            else:
                self._world.kill()
                self.kills["notify"] += 1
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await self._world.start()


async def alert(world: World, number: int) -> CloudEvent:
    identity, reference = new_alert()
    await asyncio.sleep(number * 15.0 / ALERTS if ALERTS <= 200 else number / 20)
    return await world.publish(lasts=3600.0, alert=identity, reference=reference, entry=f"e{number}")


async def newest(world: World) -> dict[str, DeliveryRecord]:
    """Give the newest record of each delivery."""
    jetstream = world.admin.client.jetstream(timeout=5)
    info = await jetstream.stream_info(subjects.DELIVERIES, subjects_filter=">")
    found = {}
    for subject in info.state.subjects or {}:
        message = await world.admin.last(subjects.DELIVERIES, subject)
        assert message is not None
        found[subject] = codec.decode(DeliveryRecord, message.data or b"")
    return found


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("kind", ["twilio", "smpp", "kannel"])
async def test_everyone_is_told_of_everything_though_all_is_killed(world: World, kind: str) -> None:
    hook = WebhookReceiver(SECRET, flaps=0.1)
    mail = MailServer()
    async with contextlib.AsyncExitStack() as stack:
        for peer in (hook, mail):
            await peer.start()
            stack.push_async_callback(peer.stop)
        chat = await stack.enter_async_context(Chat().run())
        section, texts = await stack.enter_async_context(sms_peer(kind, world))
        person = {
            "email": GUARD,
            "sms": NUMBER,
            "webhook": hook.url("/hook"),
            "secret_env": "HOOK_SECRET",
            "other": f"json://127.0.0.1:{chat.port}/",
        }
        world.configure(
            {
                "email": {"smtp": f"smtp+insecure://127.0.0.1:{mail.port}", "from": "aegis@north.example", "rate": 200},
                "sms": section,
                "people": {"guard": person},
            },
            HOOK_SECRET=SECRET,
            SMS_SECRET=PASSWORDS[kind],
        )
        await world.start()
        storm = Storm(world)
        raging = asyncio.create_task(storm.rage())
        events = await asyncio.gather(*(alert(world, number) for number in range(ALERTS)))
        await raging

        async def settled() -> bool:
            records = await newest(world)
            return len(records) == 4 * ALERTS and all(record.state.final for record in records.values())

        await until(settled, "every delivery has come to its end", SECONDS)
        records = await newest(world)
        await until(lambda: len(set(_references(texts(), events))) == ALERTS, "every SMS is there")

    bad = {subject: record for subject, record in records.items() if not record.state.handed_over}
    assert not bad, bad
    received = {
        "email": Counter(str(message["Message-ID"]).split("-")[0].strip("<") for _, message in mail.mails),
        "webhook": Counter(json.loads(request.body)["id"] for request in hook.taken),
        "sms": Counter(_references(texts(), events)),
        "other": Counter(_references(chat.texts, events)),
    }
    repeated: Counter[str] = Counter(record.channel for record in records.values() if record.repeated)
    twice: Counter[str] = Counter()
    for channel, counts in received.items():
        assert len(counts) == ALERTS, channel
        twice[channel] = sum(counts.values()) - ALERTS
    log.warning(
        "%d alerts, kills %s with %s; told twice %s; marked %s",
        ALERTS, dict(storm.kills), kind, dict(twice), dict(repeated),
    )  # fmt: skip
    # Twilio can be asked, so nobody is told twice; elsewhere only what was marked may have come twice.
    if kind == "twilio":
        assert twice["sms"] == 0
    for channel in twice:
        assert twice[channel] <= repeated[channel] + sum(
            r.attempts - 1 for r in records.values() if r.channel == channel
        )
    assert all(request.genuine for request in hook.received)
    delivered = [r for r in records.values() if r.channel == "webhook" and r.state is DeliveryState.DELIVERED]
    assert len(delivered) == ALERTS
    assert all(r.asked_at <= r.at <= time.time() for r in records.values())


def _references(texts: list[str], events: list[CloudEvent]) -> list[str]:
    known = {event.data["reference"] for event in events}
    return [reference for text in texts for reference in known if reference in text]
