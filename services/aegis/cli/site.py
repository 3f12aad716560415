"""``aegis arm | shadow | disarm`` and ``aegis status``."""

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

from aegis.cli import report
from aegis.cli.alerts import would_have_alerted
from aegis.cli.errors import CommandError
from aegis.cli.requests import ask, connected
from aegis.contracts import codec
from aegis.contracts.messages import SetState, SiteRecord, SiteState
from aegis.runtime import policy, status
from aegis.runtime.buckets import Bucket

STATES = {"arm": SiteState.ARMED, "shadow": SiteState.SHADOW, "disarm": SiteState.DISARMED}
"""By command."""
MEANINGS = {
    SiteState.DISARMED: "no face is processed",
    SiteState.SHADOW: "faces are processed and nobody is alerted",
    SiteState.ARMED: "faces are processed and alerts are raised",
}


async def set_state(arguments: argparse.Namespace) -> None:
    """``aegis arm | shadow | disarm``."""
    state = STATES[arguments.command]
    async with connected(arguments) as bus:
        await ask(bus, "state-set", SetState(state=state))
        print(f"the site is {described(state)}", flush=True)
        notes = report.untold(await status.collect(bus)) if state is SiteState.ARMED else []
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


async def show_status(arguments: argparse.Namespace) -> None:
    """``aegis status``."""
    async with connected(arguments) as bus:
        answers = await status.collect(bus)
        if not answers:
            raise CommandError("no service answers")
        entry = await Bucket(bus, policy.BUCKET).get(policy.SITE)
        site = codec.decode(SiteRecord, entry.value) if entry else None
        counted = await would_have_alerted(bus, site.state_since) if site and site.state is SiteState.SHADOW else None
    if arguments.json:
        latencies, counts = report.latencies(answers), report.counts(answers)
        known = {"site": _plain(site, counted), "services": answers, "latencies": latencies, "counts": counts}
        print(json.dumps(known, indent=2))
        return
    if site:
        problems = [f"{name}: {category.problem}" for name, category in site.categories.items() if category.problem]
        print("\n".join([headline(site, counted), *problems, *report.untold(answers), ""]))
    print(
        "\n".join(
            [
                *report.services(answers),
                "",
                *report.cameras(answers),
                *report.contacts(answers),
                "",
                *report.figures(answers),
            ]
        )
    )


def described(state: SiteState) -> str:
    """Say a state and what it means."""
    return f"{'in ' * (state is SiteState.SHADOW)}{state.value}: {MEANINGS[state]}"


def headline(site: SiteRecord, counted: Counter[str] | None) -> str:
    """Say how the site is, and since when; ``counted`` is what it would have alerted in shadow, by category."""
    if counted is None:
        return f"{site.name} is {described(site.state)}"
    total = counted.total()
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(site.state_since))
    told = f"it would have alerted {total} time{'s' * (total != 1)}, and alerted nobody"
    return f"{site.name} is in shadow since {since}: {told}"


def _plain(site: SiteRecord | None, counted: Counter[str] | None) -> dict[str, Any] | None:
    if site is None:
        return None
    shadow = {} if counted is None else {"would_have_alerted": counted}
    return {"id": site.id, "name": site.name, "state": site.state.value, "state_since": site.state_since, **shadow}
