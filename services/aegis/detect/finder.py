"""Finding faces in a JPEG with YuNet, and the picture behind an alert with every other face hidden. Blocking."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import LookFound
from aegis.detect.core import Kept
from aegis.runtime.faces import DETECTOR, SUSPECTED, TRACKED, search
from aegis.runtime.inference import Model, open_model
from aegis.runtime.models import load_cards
from aegis.vision.alignment import SIDE
from aegis.vision.faces import Face
from aegis.vision.pictures import Picture, Planar, read_picture
from aegis.vision.redact import redact
from aegis.vision.searching import Part, area

Where = Callable[[NDArray[np.uint8], float], Part]

BLUR_WIDTH = 1280
FRAME_QUALITY = 85


class Finder:
    """A detector. One thread at a time uses it."""

    def __init__(self, models: Path, provider: str, width: int) -> None:
        self.model: Model = open_model(load_cards()[DETECTOR], models, provider=provider)
        self._width = width
        # A graphics card's libraries prepare every new size for as long as many searches take.
        self._parts = self.model.provider != "cuda"

    def find(self, picture: Picture, where: Where | None = None) -> list[Face]:
        """Find the faces of a picture, the most certain first, in its own pixels.

        ``where`` is asked which part of the picture as it is searched is worth it, with how many times smaller that is.
        """
        small = picture.at_most(self._width)
        factor = picture.shape[1] / small.shape[1]
        part = where(small, factor) if where and self._parts else (0, 0, small.shape[1], small.shape[0])
        if not area(part):
            return []
        left, top, right, bottom = part
        faces = self._search(small[top:bottom, left:right], self._width, TRACKED)
        return [face.shifted(left, top).scaled(factor) for face in faces]

    def picture(self, kept: Kept) -> LookFound:
        """Give the probe and its frame with every other face hidden, also such as are too faint to be tracked."""
        image = kept.picture.bgr() if isinstance(kept.picture, Planar) else read_picture(kept.picture)
        if image is None:
            return LookFound(problem="its frame cannot be read")
        x, y, width, height = (side * image.shape[1] / kept.width for side in kept.box)
        hidden = redact(image, (x, y, width, height), self._search(image, BLUR_WIDTH, SUSPECTED))
        chip = np.frombuffer(kept.chip, np.uint8).reshape(SIDE, SIDE, 3)
        frame = cv2.imencode(".jpg", hidden, (cv2.IMWRITE_JPEG_QUALITY, FRAME_QUALITY))[1]
        return LookFound(chip_png=cv2.imencode(".png", chip)[1].tobytes(), frame_jpeg=frame.tobytes())

    def _search(self, image: NDArray[np.uint8], width: int, certainty: float) -> list[Face]:
        return search(self.model, image, width, certainty)
