"""From a folder of photos to the templates of a cohort, one for each person. Blocking."""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.cli.errors import CommandError
from aegis.cli.evaluation import photos
from aegis.cli.evaluation.photos import Listed, Photo
from aegis.cli.evaluation.words import NAMED
from aegis.cli.models import ensure_models
from aegis.contracts.messages import MAX_COHORT
from aegis.runtime.progress import progress_bar
from aegis.vision.normalisation import MIN_PEOPLE

TRIES = 3
"""So many photos of a person are looked at for one that can be used."""
SEED = 1
"""Of a folder with too many people the same ones are taken each time."""


def embed(folder: Path) -> tuple[str, NDArray[np.float32]]:
    """Give the template version and a template (M, D) for each person of a folder.

    Raises:
        CommandError: naming what is missing or cannot be read.

    """
    ensure_models()
    extractor = photos.open_models()
    people = _by_person(photos.listed(folder)[0])
    if len(people) > MAX_COHORT:
        print(f"note: {len(people)} people, of whom {MAX_COHORT} are taken by chance", file=sys.stderr)
        people = random.Random(SEED).sample(people, MAX_COHORT)  # noqa: S311 - nobody gains by guessing it
    progress = progress_bar(sys.stderr, lambda count: f"{count} photos")
    found: dict[str, NDArray[np.float32]] = {}
    refused: list[Photo] = []
    for photo_of_each in range(TRIES):
        left = [of[photo_of_each] for of in people if of[0].person not in found and len(of) > photo_of_each]
        if not left:
            break
        done = photos.extract(left, extractor, f"embedding a photo of each of {len(left)} people", progress)
        refused += [photo for photo in done if photo.template is None]
        found |= photos.templates(done)
    for line in unused(refused):
        print(line, file=sys.stderr)
    if len(found) < MIN_PEOPLE:
        raise CommandError(f"a cohort needs at least {MIN_PEOPLE} people, not {len(found)}; give more photos")
    return extractor.card.template_version, np.stack(list(found.values()))


def unused(refused: Sequence[Photo]) -> list[str]:
    """Say how many photos cannot be used and why, and which: at most ``NAMED`` of them."""
    if not refused:
        return []
    reasons = Counter(photo.refusal for photo in refused).most_common()
    why = ", ".join(f"{count} {reason}" for reason, count in reasons)
    lines = [f"note: {len(refused)} photo{'s' * (len(refused) != 1)} cannot be used: {why}"]
    lines += [f"  {photo.listed.path}: {photo.refusal}" for photo in refused[:NAMED]]
    return lines + [f"  and {len(refused) - NAMED} more"] * (len(refused) > NAMED)


def _by_person(listed: list[Listed]) -> list[list[Listed]]:
    """Give the photos of each person."""
    found: dict[str, list[Listed]] = {}
    for photo in listed:
        found.setdefault(photo.person, []).append(photo)
    return list(found.values())
