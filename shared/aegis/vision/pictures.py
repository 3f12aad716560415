"""A frame as it came: coloured, or as the planes of a video, of which only what is looked at is coloured."""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.vision import alignment


class Picture(Protocol):
    """What a frame is asked for, whichever way it came. Colours are uint8, BGR."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def bgr(self) -> NDArray[np.uint8]:
        """Give all of it, (height, width, 3)."""

    def at_most(self, width: int) -> NDArray[np.uint8]:
        """Give it shrunk to so many columns, if it has more, (rows, columns, 3)."""

    def chip(self, landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Cut out a face as :func:`aegis.vision.alignment.align` does."""


class Coloured:
    """A decoded picture (height, width, 3) uint8 BGR."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = image

    @property
    def shape(self) -> tuple[int, int]:
        return self._image.shape[0], self._image.shape[1]

    def bgr(self) -> NDArray[np.uint8]:
        return self._image

    def at_most(self, width: int) -> NDArray[np.uint8]:
        return shrunk(self._image, width)

    def chip(self, landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
        return alignment.align(self._image, landmarks)


class Planar:
    """A picture of a video: Y, U and V planes, 4:2:0, of BT.601 in the range of video.

    ``planes`` is (height * 3 / 2, width) uint8, the three one after the other, as ``cv2.COLOR_YUV2BGR_I420`` has them.
    Height and width are even.
    """

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        self._planes = planes
        self._shrunk: Planar | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self._planes.shape[0] * 2 // 3, self._planes.shape[1]

    def bgr(self) -> NDArray[np.uint8]:
        return _coloured(self._planes)

    def at_most(self, width: int) -> NDArray[np.uint8]:
        return self._at_most(width).bgr()

    @property
    def thinned(self) -> "Planar":
        """The picture as it was last shrunk, which takes less memory; itself if it never was."""
        return self._shrunk or self

    def _at_most(self, width: int) -> "Planar":
        rows, columns = self.shape
        if columns <= width:
            return self
        wide, high = width // 2, max(1, round(rows * width / columns / 2))
        luma, *chroma = self._split()
        small = np.empty((3 * high, 2 * wide), np.uint8)
        cv2.resize(luma, (2 * wide, 2 * high), dst=small[: 2 * high], interpolation=cv2.INTER_AREA)
        for plane, place in zip(chroma, np.split(small[2 * high :].reshape(2 * high, wide), 2), strict=True):
            cv2.resize(plane, (wide, high), dst=place, interpolation=cv2.INTER_AREA)
        self._shrunk = Planar(small)
        return self._shrunk

    def chip(self, landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Colour no more than the chip shows."""
        x, y, right, bottom = alignment.reach(landmarks)
        rows, columns = self.shape
        x, y = max(0, x // 2 * 2), max(0, y // 2 * 2)
        right, bottom = min(columns, -(-right // 2) * 2), min(rows, -(-bottom // 2) * 2)
        if right <= x or bottom <= y:
            return np.zeros((alignment.SIDE, alignment.SIDE, 3), np.uint8)
        luma, *chroma = self._split()
        halves = [plane[y // 2 : bottom // 2, x // 2 : right // 2].ravel() for plane in chroma]
        part = np.concatenate([luma[y:bottom, x:right].ravel(), *halves]).reshape(-1, right - x)
        return alignment.align(_coloured(part), landmarks - np.array([x, y], np.float32))

    def _split(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        rows, columns = self.shape
        chroma = self._planes[rows:].reshape(2, rows // 2, columns // 2)
        return self._planes[:rows], chroma[0], chroma[1]


def shrunk(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Give an image (height, width, 3) with at most so many columns."""
    rows, columns = image.shape[:2]
    if columns <= width:
        return image
    # The mean of the covered pixels: with fewer samples, small faces alias away at thirds and odd ratios.
    size = (width, max(1, round(rows * width / columns)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _coloured(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)


def read_picture(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG or PNG file to (height, width, 3) uint8 BGR, upright; None if it is no picture."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)
