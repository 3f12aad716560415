"""Matching, pure: the evidence of each track and the decision whom it shows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import Category, EmbeddedLook, EntryRecord, FacesEmbedded
from aegis.vision.embedding import normalise
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Evidence, Gallery, Look, best_evidence, best_scores

FORGET_SECONDS = 10.0
"""A track that was silent for this long is gone; nothing of it is kept."""
LOOKS_KEPT = 16
SETS_KEPT = 32
"""How many different sets of looks that were weighed together are remembered of a track, for counting."""
LEARNT_ENTRIES = 20_000
"""Longer lists are matched, and nothing is counted: a track would take tens of milliseconds, and each entry a key."""
SAME_PERSON = 0.425
"""Looks of one track below this cosine are of two people, one of whom took the other's place: not one evidence."""

LATEST = 253_402_300_800.0
"""The year 10000, which no event can be written for."""

TrackKey = tuple[str, int, str, int]
"""Camera, lease of its detector, template version, track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A person of the list, shown by a track's evidence."""

    entry: EntryRecord
    category: Category
    evidence: Evidence
    look: EmbeddedLook
    """The look that completed the evidence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndedTrack:
    """What is left of a track that has ended: its best score with each entry, for counting."""

    embedder: str
    entries: tuple[str, ...]
    best: NDArray[np.float32]
    """(entries,)"""
    matched: frozenset[str]
    """Whom it was taken for at some time."""


@dataclass(slots=True)
class _Track:
    looks: dict[int, Look] = field(default_factory=dict)
    seen_at: float = 0.0
    gallery: Gallery | None = None
    """The newest that it was compared with."""
    weighed: dict[tuple[Look, ...], None] = field(default_factory=dict)
    """The sets of looks by which it was, each once, the oldest first."""
    matched: set[str] = field(default_factory=set)

    def ended(self, embedder: str) -> EndedTrack | None:
        if self.gallery is None:
            return None
        return EndedTrack(
            embedder=embedder,
            entries=self.gallery.entries,
            best=best_scores(self.gallery, list(self.weighed)),
            matched=frozenset(self.matched),
        )


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

    def add(self, faces: FacesEmbedded, look: EmbeddedLook, vector: NDArray[np.float32]) -> list[Look]:
        """Add a look of a message and give those of its track that show the same person as it does, best first."""
        track = self._tracks.setdefault(_key(faces, look), _Track())
        track.looks.setdefault(look.look, Look(vector=vector, weight=max(look.quality, 1e-3)))
        track.seen_at = max(track.seen_at, look.seen_at)
        if len(track.looks) > LOOKS_KEPT:
            # The oldest goes, but never the look at hand: it may be the first of somebody else.
            del track.looks[min(number for number in track.looks if number != look.look)]
        alike = [kept for kept in track.looks.values() if float(kept.vector @ vector) >= SAME_PERSON]
        return sorted(alike, key=lambda kept: -kept.weight)

    def note(
        self, faces: FacesEmbedded, look: EmbeddedLook, gallery: Gallery, looks: list[Look], matched: Iterable[str]
    ) -> None:
        """Remember by which looks a look's track was compared with whom, and whom it was taken for."""
        track = self._tracks[_key(faces, look)]
        track.matched.update(matched)
        if len(gallery) > LEARNT_ENTRIES:
            return
        track.gallery = gallery
        track.weighed[tuple(looks)] = None
        if len(track.weighed) > SETS_KEPT:
            del track.weighed[next(iter(track.weighed))]

    def forget(self, now: float) -> list[EndedTrack]:
        """Drop every track that was silent, so that nothing of a face that did not match stays even in memory.

        Give the scores of those that were compared.
        """
        silent = [key for key, track in self._tracks.items() if now - track.seen_at > FORGET_SECONDS]
        ended = (self._tracks.pop(key).ended(key[2]) for key in silent)
        return [track for track in ended if track is not None]


def _key(faces: FacesEmbedded, look: EmbeddedLook) -> TrackKey:
    return faces.camera, faces.lease, faces.embedder, look.track


class Watchlist:
    """The entries that can be matched, as one gallery for each template version.

    ``cohorts`` normalise the scores of theirs. ``unusable`` says why other entries cannot be matched: one broken
    template must not keep everybody else from it.
    """

    def __init__(
        self, entries: Mapping[str, EntryRecord], version: int, cohorts: Mapping[str, Cohort] | None = None
    ) -> None:
        self.entries = dict(entries)
        self._cohorts = dict(cohorts or {})
        self.version = version
        self.unusable: dict[str, str] = {}
        self._galleries: dict[str, Gallery] = {}
        self._categories: dict[str, Counter[str]] = {}
        self._dimensions: dict[str, int] = {}
        templates: dict[str, dict[str, NDArray[np.float32]]] = {}
        for name, entry in entries.items():
            try:
                templates.setdefault(entry.embedder, {})[name] = _templates(entry)
            except ValueError as error:
                self.unusable[name] = str(error)
        for embedder, fellows in templates.items():
            if fellows:
                self._add_gallery(embedder, fellows)

    def _add_gallery(self, embedder: str, fellows: dict[str, NDArray[np.float32]]) -> None:
        """Build the gallery of one template version; who has not the dimension of most is left out."""
        ((usual, _),) = Counter(rows.shape[1] for rows in fellows.values()).most_common(1)
        cohort = self._cohorts.get(embedder)
        if cohort is not None:
            usual = cohort.templates.shape[1]
        for name, rows in fellows.items():
            if rows.shape[1] != usual:
                self.unusable[name] = f"{usual} numbers are expected, not {rows.shape[1]}"
        self._dimensions[embedder] = usual
        usable = {name: rows for name, rows in fellows.items() if name not in self.unusable}
        self._galleries[embedder] = Gallery.build(usable, cohort)
        self._categories[embedder] = Counter(self.entries[name].category for name in usable)

    def usable(self) -> Counter[str]:
        """Count who can be matched, by category."""
        return sum(self._categories.values(), Counter())

    def dimension(self, embedder: str) -> int | None:
        """Give how many numbers a vector of this template version has; None while nobody is enrolled with it."""
        return self._dimensions.get(embedder)

    def gallery(self, embedder: str) -> Gallery | None:
        """Give those who are enrolled with this template version; None while nobody is."""
        return self._galleries.get(embedder)

    def passing(
        self, embedder: str, looks: Sequence[Look], categories: Mapping[str, Category]
    ) -> list[tuple[str, Evidence]]:
        """Give the entries of a template version that looks of a track show well enough for their category, best first.

        What is searched for is what reaches the least threshold of the categories in which somebody is listed.
        """
        gallery = self._galleries.get(embedder)
        thresholds = [categories[name].threshold for name in self._categories.get(embedder, ()) if name in categories]
        if gallery is None or not thresholds:
            return []
        return [
            (name, evidence)
            for name, evidence in best_evidence(gallery, looks, at_least=min(thresholds))
            if (category := categories.get(self.entries[name].category)) and evidence.score >= category.threshold
        ]


def _templates(entry: EntryRecord) -> NDArray[np.float32]:
    return normalise(np.stack([np.frombuffer(template.vector, "<f4") for template in entry.templates]))


def not_after(faces: FacesEmbedded, now: float) -> FacesEmbedded:
    """Give a message none of whose looks was seen later than now.

    A sender's clock that is ahead would write into the time to come, where it hides later visits.
    """
    return replace(faces, looks=tuple(replace(look, seen_at=min(look.seen_at, now)) for look in faces.looks))


def find(
    watchlist: Watchlist, categories: Mapping[str, Category], faces: FacesEmbedded, evidence: TrackEvidence
) -> list[Match]:
    """Add the looks of a message to the evidence and give the people that it now shows.

    Raises:
        ValueError: naming the field, when a look has a vector that is not of unit length or not of the gallery's
            dimension, a quality outside 0 to 1 or a time that is none. Nothing of the message is evidence then.

    """
    found = []
    dimension = watchlist.dimension(faces.embedder)
    vectors = [_checked(look, dimension) for look in faces.looks]
    for look, vector in zip(faces.looks, vectors, strict=True):
        looks = evidence.add(faces, look, vector)
        gallery = watchlist.gallery(faces.embedder)
        if gallery is None:
            continue
        passing = watchlist.passing(faces.embedder, looks, categories)
        evidence.note(faces, look, gallery, looks, (name for name, _ in passing))
        if passing:
            # One track shows one person, so it is one entry or nobody. A canary, who alerts nobody, hides nobody.
            name, best = min(passing, key=lambda one: categories[watchlist.entries[one[0]].category].canary)
            entry = watchlist.entries[name]
            found.append(Match(entry=entry, category=categories[entry.category], evidence=best, look=look))
    return found


def _checked(look: EmbeddedLook, dimension: int | None) -> NDArray[np.float32]:
    """Give a look's vector."""
    for name in ("captured_at", "first_captured_at", "seen_at"):
        if not 0 <= getattr(look, name) < LATEST:
            raise ValueError(f"looks.{name}: a time is expected, not {getattr(look, name):g}")
    if not 0 <= look.quality <= 1:
        raise ValueError(f"looks.quality: 0 to 1 is expected, not {look.quality:g}")
    if len(look.vector) % 4:
        raise ValueError(f"looks.vector: {len(look.vector)} bytes are no float32 numbers")
    vector = np.frombuffer(look.vector, "<f4")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(length - 1) < 1e-3:  # noqa: PLR2004 - float32 rounding stays far below; also refuses NaN
        raise ValueError(f"looks.vector: unit length is expected, not {length:g}")
    if dimension is not None and len(vector) != dimension:
        raise ValueError(f"looks.vector: {dimension} numbers are expected, not {len(vector)}")
    return vector
