"""Scores of people who are not on the list: counted, and what their upper tail says of rates too low to be counted."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BINS = 400
"""Steps of a histogram over scores of -1 to 1."""

_CONFIDENT = 1.645
"""Standard deviations above the mean that are exceeded once in twenty times."""
_SUPPORT = 5
"""So many visits must have reached a threshold for their share to be an estimate."""
_TAIL = 0.1
"""The share of the scores that the tail is fitted to."""
_SHORTEST = 1e-3
"""The least decay of a tail, in score: scores that are all alike say nothing of what lies above."""


class ImpostorHistogram:
    """Counts of non-mated scores, the only form in which a running system remembers any.

    A score beyond -1 or 1 counts as that.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add(self, scores: NDArray[np.floating]) -> None:
        """Count ``scores`` (N,). Raises ValueError when one is not finite."""
        self.counts += np.bincount(histogram_steps(scores), minlength=BINS)

    def merge(self, other: "ImpostorHistogram") -> None:
        """Count what ``other`` has counted, too."""
        self.counts += other.counts

    def __bytes__(self) -> bytes:
        """Give a first bin, and the counts from it to the last that is not zero: little-endian, 2 and 4 bytes each."""
        used = np.flatnonzero(self.counts)
        if not used.size:
            return b""
        counts = np.minimum(self.counts[used[0] : used[-1] + 1], np.iinfo(np.uint32).max)
        return np.array(used[0], "<u2").tobytes() + counts.astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ImpostorHistogram":
        """Read what ``bytes`` gave. Raises ValueError for anything else."""
        histogram = cls()
        if not data:
            return histogram
        first, rest = int.from_bytes(data[:2], "little"), len(data) - 2
        if rest <= 0 or rest % 4 or first + rest // 4 > BINS:
            raise ValueError(f"{len(data)} bytes are no histogram of {BINS} bins")
        histogram.counts[first : first + rest // 4] = np.frombuffer(data, "<u4", offset=2)
        return histogram


def histogram_steps(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give the bin of each score (N,), a score beyond -1 or 1 as that. Raises ValueError when one is not finite."""
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return np.clip(((np.asarray(scores, np.float64) + 1) * (BINS / 2)).astype(np.intp), 0, BINS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositiveRate:
    """How often somebody who is not on the list reaches a threshold."""

    point: float
    """Share of visits, the best estimate."""
    upper: float
    """Share of visits that is not exceeded, with 95 % confidence."""
    basis: Literal["measured", "extrapolated"]
    """Whether at least five visits reached it, or it lies beyond what they say and follows from the tail's decay."""


class ImpostorTail:
    """The upper tail of non-mated scores: peaks over a threshold, which decay exponentially.

    An exponential rather than a generalised Pareto tail: cosines end at 1, so it errs on the safe side, and the third
    parameter cannot be had from so few. On held-out people, rates of 1e-3 to 1e-4 came out .2 to 1.4 times as high as
    was said with it, and up to 20 times with a generalised Pareto tail. Source: Coles, "An Introduction to Statistical
    Modeling of Extreme Values" (2001), 4.
    """

    def __init__(self, scores: NDArray[np.floating], counts: NDArray[np.integer], width: float) -> None:
        self._within = max(width / 2 - 1e-9, 0.0)
        kept = np.flatnonzero(counts)
        order = kept[np.argsort(-scores[kept])]
        self._scores, self._reached = scores[order].astype(np.float64), np.cumsum(counts[order])
        self._total = int(self._reached[-1]) if order.size else 0
        if self._total < _SUPPORT / _TAIL:
            raise ValueError(f"{self._total} scores are too few to tell a tail")
        # The tail begins where the bin of its lowest score does, or at the next score where there are no bins.
        place = min(int(np.searchsorted(self._reached, _TAIL * self._total)), len(order) - 1)
        self._peaks = int(self._reached[place])
        self._from = float(self._scores[min(place + 1, len(order) - 1)]) + width / 2
        mean = float(np.average(self._scores[: place + 1], weights=counts[order][: place + 1]))
        self._decay = max(mean - self._from, _SHORTEST)

    @classmethod
    def of_scores(cls, scores: NDArray[np.floating]) -> "ImpostorTail":
        """Fit one score (N,) of each visit. Raises ValueError when there are fewer than fifty."""
        return cls(scores, np.ones(len(scores), np.int64), 0.0)

    @classmethod
    def of_histogram(cls, histogram: ImpostorHistogram) -> "ImpostorTail":
        """Fit counted scores. Raises ValueError when there are fewer than fifty."""
        return cls((np.arange(BINS) + 0.5) * (2 / BINS) - 1, histogram.counts, 2 / BINS)

    def rate(self, threshold: float) -> FalsePositiveRate:
        """Tell how often a visit reaches ``threshold``; a bin that it divides counts as reaching it."""
        place = int(np.searchsorted(-self._scores, self._within - threshold, side="right"))
        reached = int(self._reached[place - 1]) if place else 0
        if reached >= _SUPPORT:
            return FalsePositiveRate(
                point=reached / self._total, upper=_wilson_upper(reached, self._total), basis="measured"
            )
        decays = max(threshold - self._from, 0.0) / self._decay
        slowest = 1 + _CONFIDENT / np.sqrt(self._peaks)
        return FalsePositiveRate(
            point=self._peaks / self._total * float(np.exp(-decays)),
            upper=_wilson_upper(self._peaks, self._total) * float(np.exp(-decays / slowest)),
            basis="extrapolated",
        )


def _wilson_upper(errors: int, trials: int) -> float:
    """One-sided upper bound of a share; Wilson, "Probable inference" (1927)."""
    square = _CONFIDENT**2
    spread = _CONFIDENT * np.sqrt(errors * (trials - errors) / trials + square / 4)
    return float((errors + square / 2 + spread) / (trials + square))
