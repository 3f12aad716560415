"""``aegis cohort``: photos of people who are never on the list, by which scores are normalised.

The photos are embedded here and go nowhere; the registry gets templates, without a name.
"""

import argparse
import os
import random
import secrets
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.cli.errors import CommandError
from aegis.cli.evaluation import photos
from aegis.cli.evaluation.photos import Listed
from aegis.cli.models import ensure_models
from aegis.cli.requests import ask, connected
from aegis.cli.state import models_dir
from aegis.contracts.messages import COHORT_PART_BYTES, MAX_COHORT, CohortPart, ListAll, UseCohort
from aegis.runtime.bus import Bus
from aegis.runtime.enrolment import Extractor
from aegis.runtime.models import ModelError
from aegis.runtime.progress import progress_bar
from aegis.vision.normalisation import MIN_PEOPLE

TRIES = 3
"""So many photos of a person are looked at for one that can be used."""
SEED = 1
"""Of a folder with too many people the same ones are taken each time."""


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
    embedder, templates = _embed(arguments.folder)
    async with connected(arguments) as bus:
        kept = await _send(bus, embedder, templates)
    for count, why in ((kept["listed"], "somebody on the watchlist"), (kept["twice"], "another one of them")):
        if count:
            print(f"note: {count} left out, who resemble {why} as the same person would", file=sys.stderr)
    print(f"scores are normalised by a cohort of {kept['size']} people now; see: aegis calibrate")


def _embed(folder: Path) -> tuple[str, NDArray[np.float32]]:
    """Give the template version and a template (M, D) for each person of a folder."""
    ensure_models()
    try:
        extractor = Extractor(
            models_dir(),
            Path(cards) if (cards := os.environ.get("AEGIS_MODEL_CARDS_DIR")) else None,
            os.environ.get("AEGIS_EMBEDDER", "sface-2021dec"),
            os.environ.get("AEGIS_PROVIDER", "auto"),
        )
    except ModelError as error:
        raise CommandError(str(error), 2) from None
    people = _by_person(photos.listed(folder)[0])
    if len(people) > MAX_COHORT:
        print(f"note: {len(people)} people, of whom {MAX_COHORT} are taken by chance", file=sys.stderr)
        people = random.Random(SEED).sample(people, MAX_COHORT)  # noqa: S311 - nobody gains by guessing it
    progress = progress_bar(sys.stderr, lambda count: f"{count} photos")
    found: dict[str, NDArray[np.float32]] = {}
    refused: Counter[str] = Counter()
    for photo_of_each in range(TRIES):
        left = [of[photo_of_each] for of in people if of[0].person not in found and len(of) > photo_of_each]
        if not left:
            break
        done = photos.extract(left, extractor, f"embedding a photo of each of {len(left)} people", progress)
        refused.update(photo.refusal for photo in done if photo.template is None)
        found |= photos.templates(done)
    if refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        print(f"note: {refused.total()} photos cannot be used: {reasons}", file=sys.stderr)
    if len(found) < MIN_PEOPLE:
        raise CommandError(f"a cohort needs at least {MIN_PEOPLE} people, not {len(found)}; give more photos")
    return extractor.card.template_version, np.stack(list(found.values()))


def _by_person(listed: list[Listed]) -> list[list[Listed]]:
    """Give the photos of each person."""
    found: dict[str, list[Listed]] = {}
    for photo in listed:
        found.setdefault(photo.person, []).append(photo)
    return list(found.values())


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
