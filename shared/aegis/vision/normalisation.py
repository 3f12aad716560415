"""Score normalisation: what a face's own resemblance to other people takes off its cosine with another.

Some faces, and some groups of faces, resemble everybody a little more than others do, so one threshold on plain
cosines is not the same promise to all. A cohort tells how much a face does so, without a word about who anybody is:
those of the cohort that are most like a face stand for those it can be mistaken for.

A symmetric shift by the nearest of a cohort, after the cohort selection of Auckenthaler et al., "Score Normalization
for Text-Independent Speaker Verification Systems" (2000), without a division by their spread.
"""

import numpy as np
from numpy.typing import NDArray

from aegis.vision.embedding import normalise

NEAREST = 10
"""How many people of the cohort, the most alike, tell a face's resemblance: few enough to be of the face's own kind
where that kind is a small part of the cohort."""
WEIGHT = 0.6
"""The share of it that is taken off a cosine, by the probe and by the template alike."""
MIN_PEOPLE = 100
"""The smallest cohort that was seen to help."""

_ROWS = 256
"""How many vectors are compared with the cohort at a time: with 10,000 people that takes some 50 MB."""


class Cohort:
    """Templates (M, D) of people who are never on the list, one each; never changed once built."""

    def __init__(self, templates: NDArray[np.float32]) -> None:
        self.templates = templates
        self._typical = 0.0
        own = self._offsets(templates, themselves=True)
        self._typical = float(own.mean(dtype=np.float64))
        self.own_offsets: NDArray[np.float32] = own - np.float32(self._typical)
        """(M,) the offset of each person of the cohort, had the person not been in it."""

    @classmethod
    def build(cls, templates: NDArray[np.float32]) -> "Cohort":
        """Build from templates (M, D), one for each person, which are brought to unit length.

        Raises ValueError when there are fewer than ``MIN_PEOPLE``, or one is zero or not finite.
        """
        if templates.ndim != 2 or len(templates) < MIN_PEOPLE:  # noqa: PLR2004 -- rows and columns
            raise ValueError(f"a cohort needs (M, D) templates of at least {MIN_PEOPLE} people, not {templates.shape}")
        return cls(normalise(templates))

    def __len__(self) -> int:
        return len(self.templates)

    def offsets(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give what each of the unit ``vectors`` (N, D), probes or templates, takes off a cosine, (N,).

        It is zero on average over the cohort's own people, so normalised scores stay on the scale of cosines.
        """
        return self._offsets(vectors, themselves=False)

    def _offsets(self, vectors: NDArray[np.float32], *, themselves: bool) -> NDArray[np.float32]:
        found = np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), _ROWS):
            alike = vectors[start : start + _ROWS] @ self.templates.T
            if themselves:
                rows = np.arange(len(alike))
                alike[rows, start + rows] = -np.inf
            alike.partition(len(self) - NEAREST, axis=1)
            found[start : start + _ROWS] = alike[:, -NEAREST:].mean(axis=1)
        return np.float32(WEIGHT) * found - np.float32(self._typical)

    def offsets_without_each(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the offsets of unit ``vectors`` (N, D) by a cohort that lacks one of its people, for each, (N, M).

        Some hundred vectors at a time, or it is large.
        """
        alike = vectors @ self.templates.T
        most = np.sort(np.partition(alike, len(self) - NEAREST - 1, axis=1)[:, -NEAREST - 1 :], axis=1)
        next_best, last = most[:, :1], most[:, 1:2]
        total = most[:, 1:].sum(axis=1, keepdims=True)
        # Who is not among the nearest is not missed; who is gives the place to the next best.
        mean = np.where(alike >= last, total - alike + next_best, total) / np.float32(NEAREST)
        shifted: NDArray[np.float32] = np.float32(WEIGHT) * mean - np.float32(self._typical)
        return shifted
