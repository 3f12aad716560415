"""``aegis notify`` and ``aegis drill``: whether people can be reached, who was told, and how fast they answer."""

import argparse
import asyncio
import json
import time
from typing import Any

from aegis.cli.alerts import find
from aegis.cli.errors import CommandError
from aegis.cli.events import clock, mark
from aegis.cli.requests import ask, connected, table
from aegis.contracts import subjects
from aegis.contracts.deliveries import DeliveryState, ExplainAlert, SendTest, StartDrill
from aegis.contracts.reviews import AlertState
from aegis.runtime.bus import Bus

POLL_SECONDS = 0.5
TEST_SECONDS = 30.0
RECEIPT_SECONDS = 5.0
"""How long a test waits for receipts after everything was handed over."""
ANSWERED = {state.value for state in AlertState} - {"raised", "escalated", "expired"}
GOOD = (DeliveryState.SENT.value, DeliveryState.DELIVERED.value)


async def notify(arguments: argparse.Namespace) -> None:
    """``aegis notify test | explain``."""
    async with connected(arguments) as bus:
        if arguments.action == "test":
            await _test(bus, arguments)
        else:
            await _explain(bus, arguments)


async def _test(bus: Bus, arguments: argparse.Namespace) -> None:
    request = SendTest(person=arguments.person, via=arguments.via)
    begun = await ask(bus, "test", request, of=subjects.notify)
    names = {c["channel"]: c["to"] for c in begun["contacts"]}
    watch = _Watch(names)
    until = time.monotonic() + TEST_SECONDS
    while time.monotonic() < until:
        said = await ask(bus, "explain", ExplainAlert(alert=begun["test"], subject=""), of=subjects.notify)
        watch.tell(said["history"])
        if all(DeliveryState(state).final for state in watch.states.values()) and len(watch.states) == len(names):
            until = min(until, time.monotonic() + RECEIPT_SECONDS)
            if "sent" not in watch.states.values() or "sms" not in names:
                break
        await asyncio.sleep(POLL_SECONDS)
    missed = [channel for channel, state in watch.states.items() if state not in GOOD]
    if missed or not watch.states:
        raise CommandError(f"{arguments.person} was not reached by {', '.join(missed) or 'anything'}")


class _Watch:
    """Says each new state of a delivery once."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._told = 0
        self.states: dict[str, str] = {}

    def tell(self, history: list[dict[str, Any]]) -> None:
        for record in history[self._told :]:
            channel, state = record["channel"], record["state"]
            self.states[channel] = state
            after = record["at"] - record["asked_at"]
            detail = f": {record['detail']}" if record["detail"] else ""
            to = self._names.get(channel) or record["person"]
            what = "correction by " if record["kind"] == "correction" else ""
            print(f"{clock(record['at'])} {what}{channel} to {to}: {state} after {after:.1f} s{detail}", flush=True)
        self._told = len(history)


async def _explain(bus: Bus, arguments: argparse.Namespace) -> None:
    seen = await find(bus, arguments.reference)
    request = ExplainAlert(alert=seen.alert, subject=subjects.alert(seen.site, seen.category, seen.entry))
    said = await ask(bus, "explain", request, of=subjects.notify)
    if arguments.json:
        print(json.dumps(said, indent=2))
        return
    by = f" by {said['by']}" if said["by"] else ""
    print(f"{mark(seen)}{seen.reference}: raised {clock(seen.raised_at)}, now {said['state'].replace('-', ' ')}{by}")
    print("\n".join(explained(said)))


def explained(said: dict[str, Any]) -> list[str]:
    """Lay out who was told, as notify explains it."""
    if not said["contacts"] and not said["history"]:
        return ["nobody was told: the site file names nobody under notify"]
    return table((("person", "by", "to", "step", "what became of it"), *_rows(said)))


def _rows(said: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in said["contacts"]:
        records = [r for r in said["history"] if (r["channel"], r["recipient"]) == (one["channel"], one["recipient"])]
        rows.append(
            (
                one["person"],
                one["channel"],
                one["to"],
                str(one["step"] or "-"),
                _became(one, [r for r in records if r["kind"] == "alert"]),
            )
        )
        if corrections := [r for r in records if r["kind"] == "correction"]:
            rows.append(("", "", "", "", f"correction: {_became(one, corrections)}"))
    return rows


def _became(one: dict[str, Any], records: list[dict[str, Any]]) -> str:
    """Say in a line what became of a delivery, from its records."""
    if not records:
        return f"not told: {one['reason']}"
    last = records[-1]
    tries = f", at attempt {last['attempts']}" if last["attempts"] > 1 else ""
    if not DeliveryState(last["state"]).final:
        why = next((r["detail"] for r in reversed(records) if r["detail"]), "") or one["problem"]
        tried = f", tried {last['attempts']} times" if last["attempts"] else ""
        return f"not handed over since {clock(last['asked_at'])}{tried}{': ' if why else ''}{why}"
    again = ", perhaps twice" if last["repeated"] and DeliveryState(last["state"]).handed_over else ""
    sent = next((r for r in records if r["state"] == DeliveryState.SENT.value), None)
    first = f"sent {clock(sent['at'])}, " if sent is not None and sent is not last else ""
    why = f": {last['detail']}" if last["detail"] and last["state"] not in GOOD else ""
    return f"{first}{last['state']} {clock(last['at'])}{tries}{again}{why}"


async def drill(arguments: argparse.Namespace) -> None:
    """``aegis drill``."""
    async with connected(arguments) as bus:
        request = StartDrill(category=arguments.category, camera=arguments.camera)
        begun = await ask(bus, "drill", request, of=subjects.notify)
        print(f"DRILL {begun['reference']} raised; waiting for somebody to answer:", flush=True)
        print(f"  aegis alerts ack {begun['reference']} --as KEYFILE", flush=True)
        print("It goes on without this command, through all steps, until somebody answers or it expires.", flush=True)
        watch = _Watch({})
        until = time.monotonic() + arguments.wait
        while time.monotonic() < until:
            request_state = ExplainAlert(alert=begun["alert"], subject=begun["subject"])
            said = await ask(bus, "explain", request_state, of=subjects.notify)
            watch.tell(said["history"])
            if said["state"] in ANSWERED:
                waited = said["since"] - begun["raised_at"]
                print(f"{said['state']} by {said['by']} {waited:.1f} s after it was raised")
                return
            await asyncio.sleep(POLL_SECONDS)
    raise CommandError(f"nobody answered within {arguments.wait} s; see: aegis notify explain {begun['reference']}")
