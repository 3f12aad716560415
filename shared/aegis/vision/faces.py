"""A detected face: the one shape that detection, tracking, quality and redaction speak."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x and y of the top left corner, width, height, in pixels; may reach over the image's border."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:  # eq=False: two arrays have no single truth value, so a face equals itself alone
    """One detection, in pixels of the image that it was found in."""

    box: Box
    landmarks: NDArray[np.float32]
    """(5, 2): the person's right eye, left eye, nose tip, right and left corner of the mouth, as YuNet gives them."""
    score: float
    """The detector's confidence, 0 to 1."""

    @property
    def interocular(self) -> float:
        """Distance between the eyes in pixels: the size that recognition depends on."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, x and y in pixels."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2

    def scaled(self, factor: float) -> "Face":
        """Give this face in pixels of the image enlarged by ``factor``, for instance 1 / the scale of a letterbox."""
        x, y, width, height = self.box
        return Face(
            box=(x * factor, y * factor, width * factor, height * factor),
            landmarks=self.landmarks * np.float32(factor),
            score=self.score,
        )

    def shifted(self, right: int, down: int) -> "Face":
        """Give this face in pixels of an image of which the one that it was found in is a part that begins there."""
        x, y, width, height = self.box
        landmarks = self.landmarks + np.array([right, down], np.float32)
        return Face(box=(x + right, y + down, width, height), landmarks=landmarks, score=self.score)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
