"""``aegis alerts ack | confirm | dismiss | show``: what a person says of an alert, and how it stands."""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from aegis.cli.errors import CommandError
from aegis.cli.events import clock, in_shadow, update_words
from aegis.cli.requests import ask, connected
from aegis.cli.users import person_key
from aegis.contracts.people import ShowAlert, SignedReview, Verdict
from aegis.contracts.reviews import AlertState
from aegis.runtime.bus import Bus

SAID = {Verdict.ACK: "acknowledged", Verdict.CONFIRM: "confirmed", Verdict.DISMISS: "dismissed"}


async def review(arguments: argparse.Namespace) -> None:
    """Say something of an alert in a person's name."""
    if arguments.key is None:
        raise CommandError(f"alerts {arguments.action} needs --as KEYFILE: your own key, by which you say it", 2)
    verdict, key = Verdict(arguments.action), person_key(arguments.key)
    reason = " ".join(arguments.reason.split()) if verdict is Verdict.DISMISS else ""
    async with connected(_on_the_bus(arguments)) as bus:
        shown = await _shown(bus, ShowAlert(reference=arguments.reference))
        request = SignedReview(
            alert=shown["alert"],
            verdict=verdict,
            reason=reason,
            at=time.time(),
            public_key=key.public,
            signature=b"",
        )
        answer = await ask(bus, "alert-review", replace(request, signature=key.sign(request.signed)))
    print(said(verdict, answer))


async def _shown(bus: Bus, request: ShowAlert) -> Any:  # noqa: ANN401 - JSON
    """Ask how an alert stands; of one in shadow, which the registry does not know, say what it is."""
    try:
        return await ask(bus, "alert-show", request)
    except CommandError as error:
        if str(error).startswith("there is no alert"):
            await refuse_shadow(bus, request.reference)
        raise


async def refuse_shadow(bus: Bus, reference: str) -> None:
    """Say of a reference that it is one of shadow, if it is.

    Raises:
        CommandError: it is.

    """
    if await in_shadow(bus, reference.upper()):
        raise CommandError(
            f"{reference.upper()} is of shadow: nobody was alerted, there is nothing to review, and no picture is kept"
        )


async def show(arguments: argparse.Namespace) -> None:
    """Show how an alert stands; to a person who has said something of it, also what others said."""
    request = ShowAlert(reference=arguments.reference)
    if arguments.key is not None:
        key = person_key(arguments.key)
        request = replace(request, at=time.time(), public_key=key.public)
        request = replace(request, signature=key.sign(request.signed))
    async with connected(_on_the_bus(arguments)) as bus:
        shown = await _shown(bus, request)
    print(json.dumps(shown, indent=2) if arguments.json else "\n".join(lines(shown)))


def said(verdict: Verdict, answer: dict[str, Any]) -> str:
    """Say what became of a review."""
    reference, by, state = answer["reference"], answer["by"], answer["state"].replace("-", " ")
    if answer["repeated"]:
        return f"{reference}: {by} has {SAID[verdict]} it before, and that stands; it is {state}"
    if answer["waits"]:
        return f"{reference}: {by}'s confirmation is kept; it is told once another person has confirmed too"
    now = "" if state == SAID[verdict] else f"; it is now {state}"
    return f"{reference} {SAID[verdict]} by {by}{now}"


def lines(shown: dict[str, Any]) -> list[str]:
    """Lay out what the registry says of an alert."""
    drill = "DRILL " if shown["drill"] else ""
    state = shown["state"].replace("-", " ")
    resembles = f"somebody resembles {shown['person']} ({shown['category']}, {shown['severity']})"
    found = [
        f"{drill}{shown['reference']} is {state}: {resembles} at {shown['camera_name']}",
        f"{clock(shown['raised_at'])} raised; it can be acted on until {clock(shown['expires_at'])}",
    ]
    for told in shown["history"]:
        of = told["type"], AlertState(told["state"]), told["by"], told["reason"], told["step"]
        words = update_words(*of, told=told.get("told"))  # a registry of before does not say how many
        found.append(f"{clock(told['updated_at'])} {words}")
    views = [
        f"  {view['by']} {SAID[Verdict(view['verdict'])]} at {clock(view['at'])}"
        + (f": {view['reason']}" if view["reason"] else "")
        for view in shown["views"]
    ]
    if views:
        found += ["views:", *views]
    elif shown["needed"] > 1 and not shown["decided"]:
        found.append("What others think of it is shown to those who have given a view, and once it is decided.")
    if shown["needed"] > 1 and not shown["decided"]:
        found.append(f"{shown['needed']} people must confirm it before outside parties are told.")
    return found


def _on_the_bus(arguments: argparse.Namespace) -> argparse.Namespace:
    """Give the arguments without the person's key, which opens no bus: that takes the operator's."""
    return argparse.Namespace(**{**vars(arguments), "key": None})
