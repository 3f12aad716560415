"""People as directions in space: looks at one person lie close together, two people far apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import EmbeddedLook, EntryRecord, FacesEmbedded, Template

SIZE = 128
VERSION = "model.1"
Vector = NDArray[np.float32]


def person(seed: int) -> Vector:
    return unit(np.random.default_rng(seed).normal(size=SIZE))


def seen(who: Vector, noise: float, seed: int) -> Vector:
    """Give a look at somebody: at a noise of 1, its cosine with the person is about .7."""
    return unit(who + np.random.default_rng(10_000 + seed).normal(size=SIZE) * noise / np.sqrt(SIZE))


def unit(vector: Any) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector), "<f4")


def at_cosine(who: Vector, cosine: float) -> Vector:
    """Give a vector at exactly this cosine from somebody."""
    other = person(999) - (person(999) @ who) * who
    return unit(cosine * who + np.sqrt(1 - cosine**2) * unit(other))


def look(vector: Vector, number: int = 1, *, track: int = 1, at: float = 1000.0, quality: float = 0.8) -> EmbeddedLook:
    return EmbeddedLook(
        track=track,
        look=number,
        captured_at=at,
        first_captured_at=at,
        seen_at=at,
        quality=quality,
        vector=np.asarray(vector, "<f4").tobytes(),
    )


def message(*looks: EmbeddedLook, camera: str = "gate", lease: int = 1, embedder: str = VERSION) -> FacesEmbedded:
    return FacesEmbedded(camera=camera, lease=lease, detector="d", embedder=embedder, looks=looks)


def entry(identity: str, *vectors: Vector, category: str = "barred", embedder: str = VERSION) -> EntryRecord:
    return EntryRecord(
        id=identity,
        name=identity.title(),
        category=category,
        embedder=embedder,
        added_at=1.0,
        templates=tuple(Template(vector=np.asarray(v, "<f4").tobytes(), photo=f"{identity}.1") for v in vectors),
    )
