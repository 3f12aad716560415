"""Exact search: every template of a list that a probe reaches, however long the list is.

A fast scan finds candidates with a bound on its error, and each candidate is then scored anew; so nothing is missed,
and a score is the same whatever found it.
"""

from array import array
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 32_768
"""Templates that are scanned at once. A list of one block stays in float32: it is short, and that is the simplest."""
_PROBES = 4
"""Probes that are compared with a block at once: more are hardly faster, and take more memory."""
_PAIRS = 1_024
"""Candidates that are scored at once; in float64 they take 2 MB."""

Found = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


class _Block(Protocol):
    def scores(self, probes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Give approximate dot products (P, n) with ``probes`` (P, D), and each probe's greatest error (P,)."""


class _PlainTemplates:
    """A block of templates as they are."""

    def __init__(self, templates: NDArray[np.float32]) -> None:
        self._templates = templates
        self._longest = float(np.linalg.norm(templates, axis=1).max())

    def scores(self, probes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        # A sum of D rounded products in any order: Higham, Accuracy and Stability of Numerical Algorithms, 3.1.
        error = probes.shape[1] * 2.0**-23 * self._longest
        return probes @ self._templates.T, error * np.linalg.norm(probes, axis=1).astype(np.float64)


class TemplateIndex:
    """Templates that are searched exactly; never changed once built.

    It keeps the array that it is given, not a copy. A score is ``probe @ template - probe_offset - template_offset``,
    computed in float64 and rounded to float32 once: it depends on nothing but these four.
    """

    def __init__(self, templates: NDArray[np.float32], offsets: NDArray[np.float32] | None = None) -> None:
        """Build from unit vectors (T, D) and what is subtracted from the scores of each, (T,), nothing by default.

        Raises:
            ValueError: a shape does not fit, or a number is not finite.

        """
        self._templates = np.asarray(templates, np.float32)
        if self._templates.ndim != 2:  # noqa: PLR2004 - rows and columns
            raise ValueError(f"templates must be (T, D), not {self._templates.shape}")
        self._offsets = None if offsets is None else _checked("offsets", offsets, (len(templates),))
        self._largest_offset = float(np.abs(offsets).max()) if offsets is not None and offsets.size else 0.0
        self._blocks = list(self._build())

    def __len__(self) -> int:
        return len(self._templates)

    def above(self, probes: NDArray[np.float32], probe_offsets: NDArray[np.float32] | None, floor: float) -> Found:
        """Find every template whose score with a unit probe (P, D) reaches ``floor``, which is finite.

        ``probe_offsets`` (P,) are subtracted from the scores of each probe; None is nothing.

        Gives the hits as indices of probes, indices of templates and float32 scores, ordered by probe, then template.

        Raises:
            ValueError: a shape does not fit, or a number is not finite.

        """
        probes = _checked("probes", probes, (len(probes), self._templates.shape[1]))
        given = np.zeros(len(probes), np.float32) if probe_offsets is None else probe_offsets
        beside = _checked("probe_offsets", given, (len(probes),)).astype(np.float64)
        if not np.isfinite(floor):
            raise ValueError(f"floor must be finite, not {floor}")
        # What comparing and rounding in float32 may add, with room.
        slack = 2.0**-20 * (2 + self._largest_offset + np.abs(beside) + abs(floor))
        pairs = self._candidates(probes, floor + beside - slack)
        parts = [self._score(probes, beside, floor, pairs[n : n + _PAIRS]) for n in range(0, len(pairs), _PAIRS)]
        if not parts:
            return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32)
        rows, columns, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        return rows, columns, scores

    def _build(self) -> Iterator[_Block]:
        for start in range(0, len(self._templates), BLOCK):
            rows = _checked("templates", self._templates[start : start + BLOCK], None)
            if len(self._templates) <= BLOCK:
                yield _PlainTemplates(rows)
            else:
                # Only long lists pay for loading it, in time and in memory.
                from aegis.vision.int8_scan import CodedTemplates  # noqa: PLC0415

                yield CodedTemplates(rows)

    def _candidates(self, probes: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give pairs as ``probe * T + template``, in order: all whose product less the offset may reach the limit."""
        # One growing array: many small ones, left between the large ones of the scan, would cost 20 MB of gaps.
        pairs = array("q")
        for number, block in enumerate(self._blocks):
            start = number * BLOCK
            for first in range(0, len(probes), _PROBES):
                some = slice(first, first + _PROBES)
                scores, errors = block.scores(probes[some])
                if self._offsets is not None:
                    scores -= self._offsets[start : start + BLOCK]
                least = np.nextafter((limits[some] - errors).astype(np.float32), np.float32(-np.inf))
                rows, columns = np.divmod(np.flatnonzero(scores >= least[:, None]), scores.shape[1])
                pairs.frombytes(((rows + first) * len(self) + columns + start).astype(np.int64).tobytes())
        return np.sort(np.frombuffer(pairs, np.int64)) if pairs else np.empty(0, np.int64)

    def _score(
        self, probes: NDArray[np.float32], beside: NDArray[np.float64], floor: float, pairs: NDArray[np.int64]
    ) -> Found:
        """Score pairs and give those that reach the floor."""
        rows, columns = np.divmod(pairs.astype(np.intp), len(self))
        exact = np.einsum("nd,nd->n", probes[rows].astype(np.float64), self._templates[columns].astype(np.float64))
        exact -= beside[rows]
        if self._offsets is not None:
            exact -= self._offsets[columns]
        scores = exact.astype(np.float32)
        good = scores >= np.float64(floor)
        return rows[good], columns[good], scores[good]


def _checked(name: str, values: NDArray[np.float32], shape: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Give an array as float32 if it has the shape, where one is asked for, and finite numbers."""
    values = np.asarray(values, np.float32)
    if shape is not None and values.shape != shape:
        raise ValueError(f"{name} must be {shape}, not {values.shape}")
    with np.errstate(invalid="ignore"):
        # What is not finite goes through a sum, for which no second array is made.
        total = values.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise ValueError(f"{name} are not all finite")
    return values
