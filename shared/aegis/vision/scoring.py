"""The mathematics of a match: looks of one track fused into a probe, and compared with a gallery of templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aegis.vision.embedding import normalise

SINGLE_LOOK_MARGIN = 0.05
"""How much better than the threshold one look has to be where it stands alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:  # eq=False: an array has no single truth value, so a look equals itself alone
    """One embedded look at a face."""

    vector: NDArray[np.float32]
    """(D,), unit length."""
    weight: float
    """Its quality score, above zero."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < np.inf:
            raise ValueError(f"a look's weight must be finite and above zero, not {self.weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a track's looks say about one entry."""

    score: float
    """A cosine, to be compared with a threshold."""
    looks: int
    """How many looks were fused into it; 1 where the best single one said more."""


def fuse(looks: Sequence[Look]) -> NDArray[np.float32]:
    """Mean of the looks' vectors, weighted by quality, as a unit vector (D,).

    The same bytes in whatever order the looks come. Raises ValueError when there are none or they cancel out.
    """
    if not looks:
        raise ValueError("no looks to fuse")
    ordered = sorted(looks, key=lambda look: (look.weight, look.vector.tobytes()))
    weights = np.array([look.weight for look in ordered])
    total = weights @ np.stack([look.vector for look in ordered]).astype(np.float64)
    fused: NDArray[np.float32] = normalise(total[None])[0]
    return fused


class Gallery:
    """The enrolled templates, one or more for each entry; never changed once built."""

    def __init__(self, entries: tuple[str, ...], starts: NDArray[np.intp], templates: NDArray[np.float32]) -> None:
        self.entries = entries
        self._starts = starts
        self._templates = templates

    @classmethod
    def build(cls, entries: Mapping[str, NDArray[np.float32]]) -> "Gallery":
        """Build from each entry's templates (n, D), which are brought to unit length.

        Raises ValueError naming the entry when its templates are none, zero, not finite or of another length.
        """
        parts: list[NDArray[np.float32]] = []
        for entry, templates in entries.items():
            if templates.ndim != 2 or not len(templates):  # noqa: PLR2004 -- rows and columns
                raise ValueError(f"entry {entry!r}: templates must be (n, D) with n > 0, not {templates.shape}")
            if parts and templates.shape[1] != parts[0].shape[1]:
                raise ValueError(f"entry {entry!r}: {templates.shape[1]} dimensions, not {parts[0].shape[1]}")
            try:
                parts.append(normalise(templates))
            except ValueError as error:
                raise ValueError(f"entry {entry!r}: {error}") from error
        starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
        return cls(tuple(entries), starts, np.concatenate(parts) if parts else np.empty((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.entries)

    def scores(self, probe: NDArray[np.float32]) -> list[tuple[str, float]]:
        """Cosine of a unit ``probe`` (D,) with the best template of each entry, best first, equals by name."""
        cosines = self.matrix(probe[None])[0].tolist()
        return sorted(zip(self.entries, cosines, strict=True), key=lambda item: (-item[1], item[0]))

    def matrix(self, probes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine of each unit probe (P, D) with the best template of each entry, (P, entries), as they were given."""
        if not self.entries:
            return np.empty((len(probes), 0), np.float32)
        return np.maximum.reduceat(probes @ self._templates.T, self._starts, axis=1)


def best_evidence(gallery: Gallery, looks: Sequence[Look]) -> list[tuple[str, Evidence]]:
    """Weigh ``looks`` of one track for every entry, best first, equals by name; nothing without looks.

    The score is the better of two: the fused looks' cosine where there are at least two, and the best single look's
    less ``SINGLE_LOOK_MARGIN``. The second keeps a perfect look from being diluted by poor ones, or by another
    person's where a track has changed hands.
    """
    if not looks:
        return []
    single = gallery.matrix(np.stack([look.vector for look in looks])).max(axis=0) - SINGLE_LOOK_MARGIN
    fused = gallery.matrix(fuse(looks)[None])[0] if len(looks) > 1 else np.full_like(single, -np.inf)
    found = {
        entry: Evidence(score=max(alone, together), looks=len(looks) if together >= alone else 1)
        for entry, alone, together in zip(gallery.entries, single.tolist(), fused.tolist(), strict=True)
    }
    return sorted(found.items(), key=lambda item: (-item[1].score, item[0]))
