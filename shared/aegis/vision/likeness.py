"""Whether two aligned views of a track can be of one face, without recognising anybody: by their coarse pattern.

Somebody who follows close behind another, or steps into the same place, continues the other's track.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
INNER = slice(8, 104)
"""Rows and columns of a chip that hold the face and its outline."""


def pattern(chip: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the coarse pattern of a chip (112, 112, 3) BGR: (SIDE, SIDE), of mean zero and unit length."""
    grey = cv2.cvtColor(chip[INNER, INNER], cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlate two patterns: 1 for the same, 0 for nothing in common."""
    return float((one * other).sum())
