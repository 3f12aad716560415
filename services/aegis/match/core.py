"""Matching, pure: the evidence of each track and the decision whom it shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import Category, EmbeddedLook, EntryRecord, FacesEmbedded
from aegis.vision.scoring import Evidence, Gallery, Look, best_evidence

FORGET_SECONDS = 10.0
"""A track that was silent for this long is gone; nothing of it is kept."""
LOOKS_KEPT = 16
SAME_PERSON = 0.3
"""Looks of one track below this cosine are of two people, one of whom took the other's place: not one evidence."""

TrackKey = tuple[str, int, int]
"""Camera, lease of its detector, track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A person of the list, shown by a track's evidence."""

    entry: EntryRecord
    category: Category
    evidence: Evidence
    look: EmbeddedLook
    """The look that completed the evidence."""


@dataclass(slots=True)
class _Track:
    looks: dict[int, Look] = field(default_factory=dict)
    seen_at: float = 0.0


class TrackEvidence:
    """The looks of the tracks that live. A look that comes twice, or late, changes nothing."""

    def __init__(self) -> None:
        self._tracks: dict[TrackKey, _Track] = {}
        self._leases: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def outdated(self, faces: FacesEmbedded) -> bool:
        """Tell whether its sender has lost the camera to another one since."""
        newest = max(self._leases.get(faces.camera, 0), faces.lease)
        self._leases[faces.camera] = newest
        return faces.lease < newest

    def add(self, camera: str, lease: int, look: EmbeddedLook, vector: NDArray[np.float32]) -> list[Look]:
        """Add a look and give those of its track that show the same person as it does, best first."""
        track = self._tracks.setdefault((camera, lease, look.track), _Track())
        track.looks[look.look] = Look(vector=vector, weight=max(look.quality, 1e-3))
        track.seen_at = max(track.seen_at, look.seen_at)
        if len(track.looks) > LOOKS_KEPT:
            # The oldest goes, but never the look at hand: it may be the first of somebody else.
            del track.looks[min(number for number in track.looks if number != look.look)]
        alike = [kept for kept in track.looks.values() if float(kept.vector @ vector) >= SAME_PERSON]
        return sorted(alike, key=lambda kept: -kept.weight)

    def forget(self, now: float) -> None:
        """Drop every track that was silent, so that nothing of a face that did not match stays even in memory."""
        for key in [key for key, track in self._tracks.items() if now - track.seen_at > FORGET_SECONDS]:
            del self._tracks[key]


class Watchlist:
    """The entries that can be matched, as one gallery for each template version."""

    def __init__(self, entries: Mapping[str, EntryRecord], version: int) -> None:
        self.entries = dict(entries)
        self.version = version
        versions = {entry.embedder for entry in entries.values()}
        self._galleries = {version: _gallery(entries, version) for version in versions}

    def best(self, embedder: str, looks: list[Look], categories: Mapping[str, Category]) -> tuple[str, Evidence] | None:
        """Give the entry whose evidence is highest above its category's threshold, or None.

        One track shows one person, so it is the best entry or nobody.
        """
        gallery = self._galleries.get(embedder)
        if gallery is None:
            return None
        passing = [
            (evidence.score - category.threshold, name, evidence)
            for name, evidence in best_evidence(gallery, looks)
            if (category := categories.get(self.entries[name].category)) and evidence.score >= category.threshold
        ]
        if not passing:
            return None
        _, name, evidence = max(passing, key=lambda item: (item[2].score, item[1]))
        return name, evidence


def _gallery(entries: Mapping[str, EntryRecord], version: str) -> Gallery:
    return Gallery.build(
        {
            name: np.stack([np.frombuffer(template.vector, "<f4") for template in entry.templates])
            for name, entry in entries.items()
            if entry.embedder == version and entry.templates
        }
    )


def find(
    watchlist: Watchlist, categories: Mapping[str, Category], faces: FacesEmbedded, evidence: TrackEvidence
) -> list[Match]:
    """Add the looks of a message to the evidence and give the people that it now shows.

    Raises:
        ValueError: a vector is not of unit length, not finite, or of another dimension than its look's neighbours.

    """
    found = []
    for look in faces.looks:
        vector = np.frombuffer(look.vector, "<f4")
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not abs(length - 1) < 1e-3:  # noqa: PLR2004 - float32 rounding stays far below; also refuses NaN
            raise ValueError(f"looks.vector: unit length is expected, not {length:g}")
        looks = evidence.add(faces.camera, faces.lease, look, vector)
        best = watchlist.best(faces.embedder, looks, categories)
        if best:
            entry = watchlist.entries[best[0]]
            found.append(Match(entry=entry, category=categories[entry.category], evidence=best[1], look=look))
    return found
