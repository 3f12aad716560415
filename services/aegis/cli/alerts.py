"""``aegis alerts``: what was told, what would have been told in shadow, the pictures behind an alert, and reviews."""

import argparse
import asyncio
import base64
import sys
from collections import Counter

from nats.js.api import DeliverPolicy

from aegis.cli import events, reviews
from aegis.cli.errors import CommandError
from aegis.cli.requests import ask, connected
from aegis.contracts import subjects
from aegis.contracts.alerts import WOULD_RAISE, Sighting
from aegis.contracts.messages import ShowPictures
from aegis.runtime.bus import Bus
from aegis.runtime.certificates import write_private


async def alerts(arguments: argparse.Namespace) -> None:
    """``aegis alerts list | follow | picture | show | ack | confirm | dismiss``."""
    match arguments.action:
        case "list" | "follow":
            await _tell(arguments)
        case "picture":
            await _pictures(arguments)
        case "show":
            await reviews.show(arguments)
        case _:
            await reviews.review(arguments)


async def _tell(arguments: argparse.Namespace) -> None:
    kept = subjects.SHADOW if arguments.shadow else subjects.ALERTS
    async with connected(arguments) as bus:
        if arguments.action == "follow":
            stream = events.follow(bus, "cli", (kept,))
        else:
            stream = events.read(bus, kept, "cli", DeliverPolicy.ALL, to_end=True)
        watching = asyncio.create_task(_tell_absence(bus))
        try:
            async for event in stream:
                print(event.raw.decode() if arguments.json else event.line(), flush=True)
        finally:
            watching.cancel()


async def _tell_absence(bus: Bus) -> None:
    """Say on standard error when the system goes away and when it is back, so that silence is not taken for peace."""
    there = True
    while True:
        await asyncio.sleep(0.5)
        if bus.connected != there:
            there = bus.connected
            print(
                "aegis: the system is back" if there else "aegis: the system is away; waiting for it", file=sys.stderr
            )


async def _pictures(arguments: argparse.Namespace) -> None:
    """Lay probe, frame and enrolled photo side by side in a folder."""
    async with connected(arguments) as bus:
        wanted = arguments.reference.upper()
        seen = await find(bus, wanted)
        if not seen.chip:
            raise CommandError(f"{wanted} is an exercise without pictures")
        request = ShowPictures(chip=seen.chip, frame=seen.frame, entry=seen.entry)
        found = await ask(bus, "pictures-show", request)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        path = arguments.out / f"{wanted}-{name}"
        write_private(path, base64.b64decode(data))
        print(path)


async def find(bus: Bus, reference: str) -> Sighting:
    """Give the first event of the alert with a reference.

    Raises:
        CommandError: there is none.

    """
    async for event in events.read(bus, subjects.ALERTS, "cli", DeliverPolicy.ALL, to_end=True):
        if event.sighting and event.sighting.reference == reference.upper():
            return event.sighting
    await reviews.refuse_shadow(bus, reference)
    raise CommandError(f"there is no alert {reference.upper()}; see: aegis alerts list")


async def would_have_alerted(bus: Bus, since: float) -> Counter[str]:
    """Count by category the alerts that a site in shadow would have raised since a time, as far as they are kept."""
    kept = events.read(bus, subjects.SHADOW, "cli", DeliverPolicy.ALL, to_end=True)
    seen = [e.sighting async for e in kept if e.type == WOULD_RAISE and e.sighting and not e.sighting.canary]
    # One that was raised again because its category became more severe is still one alert.
    return Counter({one.alert: one.category for one in seen if one.raised_at >= since}.values())
