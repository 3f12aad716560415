"""The mathematics of a match: looks of one track fused into a probe, and compared with a gallery of templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aegis.vision.embedding import normalise
from aegis.vision.normalisation import Cohort
from aegis.vision.search import TemplateIndex

SINGLE_LOOK_MARGIN = 0.05
"""How much better than the threshold one look has to be where it stands alone."""

_LOWEST = -4.0
"""No score lies below it: a cosine is at least -1, and an offset at most 1.2."""
_ALIKE_AT_ALL = 0.1
"""Length of the mean of templates below which they cancel out: it would be nobody's likeness."""


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
    """A normalised score, or a cosine where there is no cohort; to be compared with a threshold."""
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
    """The enrolled templates, one or more for each entry; never changed once built.

    ``templates`` (T, D) of all entries lie one after the other, those of an entry from its place in ``starts``
    (entries,) on. ``offsets`` (T,) is what each takes off a cosine; all zero without a ``cohort``.
    """

    def __init__(
        self, entries: tuple[str, ...], parts: Sequence[NDArray[np.float32]], cohort: Cohort | None = None
    ) -> None:
        self.entries = entries
        self.cohort = cohort
        self.starts: NDArray[np.intp] = np.cumsum([0, *(len(part) for part in parts)])[:-1]
        self.templates = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        self.offsets = cohort.offsets(self.templates) if cohort and parts else np.zeros(len(self.templates), np.float32)
        self._index = TemplateIndex(self.templates, self.offsets)

    @classmethod
    def build(cls, entries: Mapping[str, NDArray[np.float32]], cohort: Cohort | None = None) -> "Gallery":
        """Build from each entry's templates (n, D), which are brought to unit length; several are joined by their mean.

        Scores are normalised by ``cohort``, and are plain cosines without one. Raises ValueError naming the entry when
        its templates are none, zero, not finite or of another length than others or the cohort's.
        """
        parts: list[NDArray[np.float32]] = []
        usual = cohort.templates.shape[1] if cohort else None
        for entry, templates in entries.items():
            if templates.ndim != 2 or not len(templates):  # noqa: PLR2004 -- rows and columns
                raise ValueError(f"entry {entry!r}: templates must be (n, D) with n > 0, not {templates.shape}")
            usual = usual or templates.shape[1]
            if templates.shape[1] != usual:
                raise ValueError(f"entry {entry!r}: {templates.shape[1]} dimensions, not {usual}")
            try:
                parts.append(_with_mean(normalise(templates)))
            except ValueError as error:
                raise ValueError(f"entry {entry!r}: {error}") from error
        return cls(tuple(entries), parts, cohort)

    def __len__(self) -> int:
        return len(self.entries)

    def scores(self, probe: NDArray[np.float32], *, at_least: float = -np.inf) -> list[tuple[str, float]]:
        """Score a unit ``probe`` (D,); give the entries that reach ``at_least``, best first, equals by name."""
        return [(name, score) for name, score, _ in self.reaching(probe[None], np.zeros(1, np.float32), at_least)]

    def reaching(
        self, probes: NDArray[np.float32], handicaps: NDArray[np.float32], at_least: float
    ) -> list[tuple[str, float, int]]:
        """Find the entries that any of the unit probes (P, D) scores, less its handicap (P,), with ``at_least``.

        Gives each with its best score and the number of the probe that has it, the last of several; best first, equals
        by name. Exact, and fast where few reach it, however long the list is.
        """
        if not self.entries or at_least == np.inf:
            return []
        offsets = handicaps if self.cohort is None else handicaps + self.cohort.offsets(probes)
        rows, columns, scores = self._index.above(probes, offsets, max(at_least, _LOWEST))
        places = np.searchsorted(self.starts, columns, side="right") - 1
        order = np.lexsort((rows, scores, places))
        best = order[np.diff(places[order], append=len(self.entries)) > 0]
        found = [(self.entries[places[hit]], float(scores[hit]), int(rows[hit])) for hit in best]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def matrix(self, probes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score each unit probe (P, D) with the best template of each entry, (P, entries), as they were given.

        For counting: what reaches a threshold is found by :meth:`reaching`, for less.
        """
        if not self.entries:
            return np.empty((len(probes), 0), np.float32)
        scores = np.maximum.reduceat(probes @ self.templates.T - self.offsets, self.starts, axis=1)
        return scores - self.cohort.offsets(probes)[:, None] if self.cohort else scores


def _with_mean(templates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add the mean of an entry's unit templates (n, D), the better likeness, where there are several.

    Each stays for itself too: a mean with a poor photo, or one of long ago, is worse than the good one alone.
    """
    mean = templates.mean(axis=0, dtype=np.float64)
    if len(templates) == 1 or np.linalg.norm(mean) < _ALIKE_AT_ALL:
        return templates
    return np.concatenate([templates, normalise(mean[None].astype(np.float32))])


def best_evidence(gallery: Gallery, looks: Sequence[Look], *, at_least: float = -np.inf) -> list[tuple[str, Evidence]]:
    """Give the entries that ``looks`` of one track show with ``at_least`` that score, best first; none without looks.

    The score is the better of two: the fused looks' where there are at least two, and the best single look's less
    ``SINGLE_LOOK_MARGIN``. The second keeps a perfect look from being diluted by poor ones, or by another person's
    where a track has changed hands. Equals by name.
    """
    if not looks:
        return []
    found = gallery.reaching(*_probes(looks, [looks]), at_least)
    return [
        (name, Evidence(score=score, looks=len(looks) if number == len(looks) else 1)) for name, score, number in found
    ]


def best_scores(gallery: Gallery, weighed: Sequence[Sequence[Look]]) -> NDArray[np.float32]:
    """Give the best score of every entry, (entries,), that any of the sets of looks has, each as in best_evidence.

    One product for all of them, so that a track can be looked back on at once.
    """
    probes, handicaps = _probes(list({id(look): look for looks in weighed for look in looks}.values()), weighed)
    best: NDArray[np.float32] = (gallery.matrix(probes) - handicaps[:, None]).max(axis=0)
    return best


def _probes(
    looks: Sequence[Look], together: Sequence[Sequence[Look]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the probes (P, D) of single looks, then of sets of looks fused, and the handicap of each (P,)."""
    single = [look.vector for look in looks]
    fused = [fuse(some) for some in together if len(some) > 1]
    handicaps = np.repeat(np.array([SINGLE_LOOK_MARGIN, 0], np.float32), [len(single), len(fused)])
    return np.stack([*single, *fused]), handicaps
