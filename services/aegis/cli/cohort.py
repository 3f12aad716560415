"""``aegis cohort``: photos of people who are never on the list, by which scores are normalised.

The photos are embedded here and go nowhere; the registry gets templates, without a name.
"""

import argparse
import secrets
import sys
import time

import numpy as np
from numpy.typing import NDArray

from aegis.cli.requests import ask, connected
from aegis.contracts.messages import COHORT_PART_BYTES, CohortPart, ListAll, UseCohort
from aegis.runtime.bus import Bus


async def cohort(arguments: argparse.Namespace) -> None:
    """``aegis cohort build | show | remove``."""
    if arguments.action == "build":
        await _build(arguments)
    elif arguments.action == "remove":
        async with connected(arguments) as bus:
            await ask(bus, "cohort-remove", ListAll())
        print("the cohort was removed; scores are plain cosines")
    else:
        async with connected(arguments) as bus:
            shown = await ask(bus, "cohort-show", ListAll())
        print(f"a cohort of {describe(shown)}" if shown else "there is no cohort; scores are plain cosines")


def describe(shown: dict[str, object]) -> str:
    """Say what a cohort is, as the registry shows it."""
    built = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(str(shown["built_at"]))))
    return f"{shown['size']} people, as templates of {shown['embedder']}, built {built}"


async def _build(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as bus:  # what cannot be sent need not be embedded for minutes
        await ask(bus, "cohort-show", ListAll())
    # What embeds takes a second to import, which no other command should pay.
    from aegis.cli.cohort_photos import embed  # noqa: PLC0415

    embedder, templates = embed(arguments.folder)
    async with connected(arguments) as bus:
        kept = await _send(bus, embedder, templates)
    for count, why in ((kept["listed"], "somebody on the watchlist"), (kept["twice"], "another one of them")):
        if count:
            print(f"note: {count} left out, who resemble {why} as the same person would", file=sys.stderr)
    print(f"scores are normalised by a cohort of {kept['size']} people now; see: aegis calibrate")


async def _send(bus: Bus, embedder: str, templates: NDArray[np.float32]) -> dict[str, int]:
    """Hand the templates to the registry, in parts; give what it kept."""
    identity = secrets.token_hex(6)
    share = max(1, COHORT_PART_BYTES // (4 * templates.shape[1]))
    starts = range(0, len(templates), share)
    for number, start in enumerate(starts):
        vectors = templates[start : start + share].astype("<f4").tobytes()
        await ask(bus, "cohort-part", CohortPart(cohort=identity, number=number, embedder=embedder, vectors=vectors))
    kept: dict[str, int] = await ask(bus, "cohort-use", UseCohort(cohort=identity, parts=len(starts)))
    return kept
