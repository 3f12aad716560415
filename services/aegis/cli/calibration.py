"""``aegis calibrate``: which thresholds there are, what they come to, and on what that rests."""

import argparse
import json
from typing import Any

from aegis.cli.alerts import would_have_alerted
from aegis.cli.cohort import describe
from aegis.cli.requests import ask, connected, table
from aegis.contracts import codec
from aegis.contracts.messages import ListAll, SiteRecord, SiteState
from aegis.runtime import policy
from aegis.runtime.buckets import Bucket

DAY = 86_400.0
BASES = {"measured": "the cohort", "extrapolated": "the cohort, extrapolated", "learnt": "this site's visits"}
COLUMNS = (
    *("category", "people", "threshold", "accepted", "expected", "at most", "by", "in shadow"),
    *("dismissed", "a week"),
)
UNITS = (
    "accepted, expected and at most (with 95 % confidence): false alerts a week; in shadow: would have alerted so far; "
    "dismissed: alerts of the last 30 days that people found to be false"
)


async def calibrate(arguments: argparse.Namespace) -> None:
    """Have every threshold derived anew, and show what came of it."""
    async with connected(arguments) as bus:
        found: dict[str, Any] = await ask(bus, "calibrate", ListAll())
        entry = await Bucket(bus, policy.BUCKET).get(policy.SITE)
        site = codec.decode(SiteRecord, entry.value) if entry else None
        counted = await would_have_alerted(bus, site.state_since) if site and site.state is SiteState.SHADOW else None
    if counted is not None:
        for name, category in found["categories"].items():
            category["would_have_alerted"] = counted[name]
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """Lay out what the registry says."""
    rows = [_row(name, category) for name, category in found["categories"].items()]
    categories = found["categories"].items()
    problems = [f"{name}: {p}" for name, c in categories for p in (c["problem"], c["dismissed"]["problem"]) if p]
    problems += [f"{name}: dismissed by entry: {_by_entry(c)}" for name, c in categories if c["dismissed"]["count"]]
    return [f"scores:  {_scores(found)}", f"traffic: {_traffic(found)}", "", *table((COLUMNS, *rows)), UNITS, *problems]


def _row(name: str, category: dict[str, Any]) -> tuple[str, ...]:
    accepted = "fixed" if category["accepted"] is None else f"{category['accepted']:g}"
    by = BASES.get(category["basis"], "-")
    shadow = str(category.get("would_have_alerted", "-"))
    figures = _figure(category["expected"]), _figure(category["upper"])
    dismissed = str(category["dismissed"]["count"]), _figure(category["dismissed"]["a_week"])
    return (name, str(category["entries"]), f"{category['threshold']:.3f}", accepted, *figures, by, shadow, *dismissed)


def _by_entry(category: dict[str, Any]) -> str:
    counted = sorted(category["dismissed"]["entries"].items(), key=lambda item: -item[1])
    return ", ".join(f"{entry} {number}" for entry, number in counted)


def _figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.2g}"


def _scores(found: dict[str, Any]) -> str:
    cohort = found["cohort"]
    if not cohort:
        return "plain cosines, since there is no cohort"
    if found["scores"] == "plain":
        return f"plain cosines, since the cohort's templates are of {cohort['embedder']}; build it anew"
    return f"normalised by a cohort of {describe(cohort)}"


def _traffic(found: dict[str, Any]) -> str:
    assumed, weekly = found["visits_per_week"]["assumed"], found["visits_per_week"]["learnt"]
    visits, days = found["learnt"]["visits"], found["learnt"]["seconds"] / DAY
    seen = f"{visits} face{'s' * (visits != 1)} followed in {days:.1f} days"
    told = f"that is {weekly:.0f} a week" if weekly else "too short to tell"
    return f"{assumed:.0f} visits a week assumed; {seen}, {told}"
