"""Finding faces in a JPEG with YuNet, and the picture behind an alert with every other face hidden. Blocking."""

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import LookFound
from aegis.detect.core import Kept
from aegis.runtime import metrics
from aegis.runtime.inference import Model, open_model
from aegis.runtime.models import load_cards
from aegis.vision import yunet
from aegis.vision.alignment import SIDE
from aegis.vision.faces import Face
from aegis.vision.redact import redact

DETECTOR = "yunet-2023mar"
CONFIDENT = 0.6
"""From this score on a detection is a face to be tracked."""
SUSPECTED = 0.3
"""From this score on a detection might be a bystander and is hidden."""
BLUR_WIDTH = 1280
FRAME_QUALITY = 85


class Finder:
    """A detector. One thread at a time uses it."""

    def __init__(self, models: Path, provider: str, width: int) -> None:
        self.model: Model = open_model(load_cards()[DETECTOR], models, provider=provider)
        self._width = width

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find the faces of an image of shape (height, width, 3) BGR, the most certain first."""
        return self._search(image, self._width, CONFIDENT)

    def picture(self, kept: Kept) -> LookFound:
        """Give the probe and its frame with every other face hidden, also such as are too faint to be tracked."""
        image = read_jpeg(kept.jpeg)
        if image is None:
            return LookFound(problem="its frame cannot be read")
        hidden = redact(image, kept.box, self._search(image, BLUR_WIDTH, SUSPECTED))
        chip = np.frombuffer(kept.chip, np.uint8).reshape(SIDE, SIDE, 3)
        frame = cv2.imencode(".jpg", hidden, (cv2.IMWRITE_JPEG_QUALITY, FRAME_QUALITY))[1]
        return LookFound(chip_png=cv2.imencode(".png", chip)[1].tobytes(), frame_jpeg=frame.tobytes())

    def _search(self, image: NDArray[np.uint8], width: int, certainty: float) -> list[Face]:
        tensor, scale = yunet.letterbox(image, width)
        started = time.perf_counter()
        outputs = self.model.run(tensor)
        metrics.INFERENCE.labels(DETECTOR).observe(time.perf_counter() - started)
        faces = yunet.decode(outputs, height=tensor.shape[2], width=tensor.shape[3], score_threshold=certainty)
        return [face.scaled(1 / scale) for face in faces]


def read_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Decode to (height, width, 3) uint8 BGR; None if it is no picture."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)
