"""What changed in a camera's picture since it was last looked at, seen on a small grey copy of it."""

import cv2
import numpy as np
from numpy.typing import NDArray

COLUMNS = 160
"""Width of the small picture: a face that is large enough to be recognised covers three of its columns and more."""
LEAST_CHANGE = 4.0
"""Grey levels by which one cell must differ; what compression does to a still picture stays below."""
NOISE_FACTOR = 6.0
"""And so many times the median difference of all cells, beside that of the light: the sensor's noise."""
LEAST_CELLS = 4
"""A person at the far end of a hallway covers more; the flicker of a single cell is no person."""
GLOBAL_CHANGE = 8.0
"""From this median difference on the light has changed, or the picture as a whole."""
LINGER_SECONDS = 0.45
"""What moved is looked at for this long after it stopped: who stands still is sharper than who walks."""


def shrink(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give a small copy, (rows, COLUMNS), of a grey picture (height, width)."""
    height, width = luma.shape
    rows = max(1, round(height * COLUMNS / width))
    # By halves for as long as it comes out even: OpenCV has code of its own for that, four times as fast.
    while width >= 2 * COLUMNS and not (width % 2 or height % 2 or width % COLUMNS):
        width, height = width // 2, height // 2
        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    small = cv2.resize(luma, (COLUMNS, rows), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def moved(before: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Mark the cells in which two small pictures differ by more than noise; None if the whole picture does."""
    if before.shape != now.shape:
        return None
    difference = now - before
    # Light that changed a little must not hide who came with it.
    light = _median(difference)
    rest = np.abs(difference - np.float32(light))
    least = max(LEAST_CHANGE, NOISE_FACTOR * _median(rest))
    return None if abs(light) > GLOBAL_CHANGE else np.asarray(rest > least)


def _median(cells: NDArray[np.float32]) -> float:
    """Give the median of a sixteenth of the cells, which is that of all."""
    some = cells[::4, ::4].ravel()
    return float(np.partition(some, len(some) // 2)[len(some) // 2])


def changed(before: NDArray[np.float32] | None, now: NDArray[np.float32]) -> bool:
    """Tell whether two small pictures differ by more than noise; True where there was none before."""
    cells = None if before is None else moved(before, now)
    return cells is None or int(np.count_nonzero(cells)) >= LEAST_CELLS


class Motion:
    """Whether a camera's picture is worth a look: it changed lately, or the last look is too long ago.

    Compared with the last look and not with the last picture, so that somebody who comes slowly is noticed too.
    """

    def __init__(self, beat: float) -> None:
        """Take the longest time between two looks, in seconds."""
        self._beat = beat
        self.looked_at = 0.0
        """Seconds, of the last look."""
        self._looked: NDArray[np.float32] | None = None
        self._moved_at = float("-inf")

    def look(self, small: NDArray[np.float32], when: float) -> tuple[bool, bool]:
        """Say of a small picture at ``when`` seconds whether to look at it, and whether anything moved.

        A picture that is to be looked at becomes what later ones are compared with.
        """
        moved = changed(self._looked, small)
        if moved:
            self._moved_at = when
        lingers = 0 <= when - self._moved_at <= LINGER_SECONDS
        wanted = moved or lingers or not 0 <= when - self.looked_at < self._beat
        if wanted:
            self._looked, self.looked_at = small, when
        return wanted, moved
