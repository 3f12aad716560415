"""Where in a camera's picture faces are searched: where it changed since it was searched there, and where faces are."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.vision.faces import Box
from aegis.vision.motion import moved, shrink
from aegis.vision.yunet import DIVISOR

Part = tuple[int, int, int, int]
"""Of an image: the left column, the top row, and the column and the row before which it ends."""

WHOLE_SECONDS = 2.0
"""The whole picture is searched this often: a face that was not found where nothing changes may be found now."""
QUIET_SECONDS = 15.0
"""Or this often, if nobody was in it then and nothing has changed since."""
MARGIN = 16
"""Pixels around what changed: as much as a small face is wide, of which only a part may have changed."""
BESIDE = 0.5
"""And so much of a known face's size around that."""
LEAST_NEIGHBOURS = 2
"""Cells of a block of three by three that must have changed: one alone is noise, a face covers a block."""
WORTH = 0.95
"""From this share of the picture on it is searched as a whole."""


class Searching:
    """The choice for one camera. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._seen: NDArray[np.float32] | None = None
        self._whole_at = float("-inf")
        self._quiet = False  # whether nobody was found since, and nothing has changed

    def part(self, image_bgr: NDArray[np.uint8], faces: Sequence[Box], now: float) -> Part:
        """Give the part of an image (height, width, 3) that is to be searched at ``now``; it counts as searched.

        ``faces`` are where faces are known to be, in its pixels. The part begins on the detector's coarsest grid, so
        that faces are found in it as they would be in the whole; it is empty if nothing changed and nobody is known.
        """
        rows, columns = image_bgr.shape[:2]
        small = shrink(np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8))
        cells = None if self._seen is None else moved(self._seen, small)
        if self._seen is not None and cells is not None:
            scale = columns / small.shape[1], rows / small.shape[0]
            part = _around(_boxes(cells, scale) + [_widened(face) for face in faces], columns, rows)
            self._quiet = self._quiet and not area(part)
            lately = 0 <= now - self._whole_at < (QUIET_SECONDS if self._quiet else WHOLE_SECONDS)
            if lately and area(part) <= WORTH * columns * rows:
                # Compared with what was searched and not with the last picture: what changes slowly adds up.
                left, top, right, bottom = _inner(part, scale)
                self._seen[top:bottom, left:right] = small[top:bottom, left:right]
                return part
        self._seen, self._whole_at, self._quiet = small, now, True
        return 0, 0, columns, rows

    def found(self, anybody: bool) -> None:  # noqa: FBT001 -- it is all there is to say
        """Take note of whether anybody was found in the part that was given last."""
        self._quiet = self._quiet and not anybody


def _boxes(cells: NDArray[np.bool_], scale: tuple[float, float]) -> list[Box]:
    """Give the box around all cells that changed with others beside them, in pixels; none if there are none."""
    beside = cv2.boxFilter(cells.view(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    marked = np.asarray(beside) >= LEAST_NEIGHBOURS
    across, down = np.flatnonzero(marked.any(axis=0)), np.flatnonzero(marked.any(axis=1))
    if not len(across):
        return []
    wide, high = across[-1] + 1 - across[0], down[-1] + 1 - down[0]
    return [(across[0] * scale[0], down[0] * scale[1], wide * scale[0], high * scale[1])]


def _widened(face: Box) -> Box:
    x, y, width, height = face
    return x - BESIDE * width, y - BESIDE * height, width * (1 + 2 * BESIDE), height * (1 + 2 * BESIDE)


def _around(boxes: Sequence[Box], columns: int, rows: int) -> Part:
    """Give what holds all boxes and a margin, on the detector's grid as far as the image goes."""
    if not boxes:
        return 0, 0, 0, 0
    left, top = (min(box[axis] for box in boxes) - MARGIN for axis in (0, 1))
    right, bottom = (max(box[axis] + box[axis + 2] for box in boxes) + MARGIN for axis in (0, 1))
    begin = [min(max(0, int(at // DIVISOR) * DIVISOR), most) for at, most in ((left, columns), (top, rows))]
    end = [min(max(0, -int(-at // DIVISOR) * DIVISOR), most) for at, most in ((right, columns), (bottom, rows))]
    return begin[0], begin[1], end[0], end[1]


def _inner(part: Part, scale: tuple[float, float]) -> Part:
    """Give the cells that lie wholly in a part."""
    (left, top, right, bottom), (wide, high) = part, scale
    return int(np.ceil(left / wide)), int(np.ceil(top / high)), int(right / wide), int(bottom / high)


def area(part: Part) -> int:
    """Give the pixels of a part; 0 if it is empty."""
    left, top, right, bottom = part
    return (right - left) * (bottom - top)
