"""From an alert to its hand-over, channel by channel: one alert at a time, then a hundred a second.

The real notify on a real bus, with peers that answer at once: a mail server, a web server, an SMPP centre, Twilio's
interface. A hand-over counts when the peer has it. The peers run in this process, on the same cores.

    python benchmarks/notify_bench.py [--seconds 10]
"""

import argparse
import asyncio
import base64
import contextlib
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import lab
import numpy as np
from tests.bus import Server, until
from tests.integration.notify.conftest import World
from tests.peers.mail_server import MailServer
from tests.peers.smpp_server import SmppServer
from tests.peers.twilio_stub import TwilioStub
from tests.peers.webhook_receiver import WebhookReceiver

from aegis.runtime import topology
from aegis.runtime.references import new_alert

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
PER_SECOND = 100
ALONE = 50
MEDIAN_LIMIT, WORST_LIMIT = 0.1, 1.0
_REFERENCE = re.compile(r"\b[2-9A-Z]{3}-[2-9A-Z]{3}\b")

Seen = Callable[[], list[str]]
"""Gives the references that have arrived, in their order."""


class Arrivals(list[Any]):
    """A peer's list that notes when something was added."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def append(self, item: object) -> None:
        self.at.append(time.time())
        super().append(item)

    def extend(self, items: Iterable[object]) -> None:
        for item in items:
            self.append(item)


@contextlib.asynccontextmanager
async def mail(world: World) -> AsyncIterator[tuple[Arrivals, Seen]]:
    server, came = MailServer(), Arrivals()
    server.mails = came
    await server.start()
    section = {"smtp": f"smtp+insecure://127.0.0.1:{server.port}", "from": "aegis@north.example", "rate": 1000}
    world.configure({"email": section, "people": {"guard": {"email": "guard@north.example"}}})
    yield came, lambda: [_REFERENCE.findall(str(m.get_body(("plain",)).get_content()))[0] for _, m in came]
    await server.stop()


@contextlib.asynccontextmanager
async def webhook(world: World) -> AsyncIterator[tuple[Arrivals, Seen]]:
    receiver, came = WebhookReceiver(SECRET), Arrivals()
    receiver.received = came
    await receiver.start()
    world.configure({"webhooks": [{"url": receiver.url("/"), "secret_env": "HOOK"}]}, HOOK=SECRET)
    yield came, lambda: [json.loads(request.body)["data"]["reference"] for request in came]
    await receiver.stop()


@contextlib.asynccontextmanager
async def smpp(world: World) -> AsyncIterator[tuple[Arrivals, Seen]]:
    server, came = SmppServer(login=("aegis", "pw")), Arrivals()
    server.messages = came
    await server.start()
    url = f"smpp+insecure://aegis:pw@127.0.0.1:{server.port}"
    sms(world, {"provider": "smpp", "url": url})
    yield came, lambda: [_REFERENCE.findall(str(message.short_message))[0] for message in came]
    await server.stop()


@contextlib.asynccontextmanager
async def twilio(world: World) -> AsyncIterator[tuple[Arrivals, Seen]]:
    stub, came = TwilioStub(), Arrivals()
    stub.messages = came
    await stub.start()
    sms(world, {"provider": "twilio", "account": stub.account, "token": stub.token, "url": stub.url})
    yield came, lambda: [_REFERENCE.findall(message["body"])[0] for message in came]
    await stub.stop()


def sms(world: World, section: dict[str, Any]) -> None:
    section |= {"from": "+15550001111", "rate": 1000}
    world.configure({"sms": section, "people": {"guard": {"sms": "+15551230001"}}})


CHANNELS = {"mail": mail, "webhook": webhook, "SMS by SMPP": smpp, "SMS by Twilio": twilio}


class Alerts:
    """Raises alerts and knows when."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0
        self.raised: dict[str, float] = {}

    async def one(self) -> None:
        identity, reference = new_alert()
        self._number += 1
        self.raised[reference] = time.time()
        await self._world.publish(alert=identity, reference=reference, entry=f"e{self._number % 500}")

    async def many(self, seconds: float) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * PER_SECOND)):
                await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
                group.create_task(self.one())


async def measure(name: str, seconds: float) -> tuple[list[float], list[float], float]:
    """Give the seconds of single alerts and of those under load, and how many a second went through under load."""
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            directory = Path(folder)
            server = Server(directory)
            server.start()
            stack.callback(server.kill)
            admin = await stack.enter_async_context(server.connect("admin"))
            await topology.declare(admin)
            world = World(directory, server, admin, await stack.enter_async_context(server.connect("match")))
            came, seen = await stack.enter_async_context(CHANNELS[name](world))
            stack.callback(world.kill)
            await world.start()
            alerts = Alerts(world)
            for number in range(ALONE):
                await alerts.one()
                await until(lambda: len(came) > number, "the alert is there")  # noqa: B023 - it is awaited here
            await alerts.many(seconds)
            await until(lambda: len(came) >= len(alerts.raised), "all alerts are there", 60.0)
            took = [at - alerts.raised[reference] for reference, at in zip(seen(), came.at, strict=True)]
            lasted = came.at[-1] - min(list(alerts.raised.values())[ALONE:])
            return took[:ALONE], took[ALONE:], (len(took) - ALONE) / lasted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    rows: list[lab.Row] = []
    facts = {}
    for name in CHANNELS:
        alone, loaded, rate = asyncio.run(measure(name, seconds))
        rows += [
            (f"{name}: one at a time, median", float(np.median(alone)), "s", MEDIAN_LIMIT, False),
            (f"{name}: {PER_SECOND} a second, median", float(np.median(loaded)), "s", WORST_LIMIT / 2, False),
            (f"{name}: {PER_SECOND} a second, 99 %", float(np.percentile(loaded, 99)), "s", WORST_LIMIT, False),
            (f"{name}: went through", rate, "/s", 0.95 * PER_SECOND, True),
        ]
        facts[name] = f"one at a time, 99 %: {np.percentile(alone, 99):.3f} s"
        print(f"{name}: {np.median(alone):.3f} s, at {rate:.0f}/s {np.median(loaded):.3f} s", flush=True)
    lab.table("notify: from an alert to its hand-over", rows, **facts)


if __name__ == "__main__":
    main()
