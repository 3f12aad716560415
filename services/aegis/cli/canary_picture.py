"""What the canary's camera shows: an empty room, and the person of a photo who stands in it. Blocking."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.cli import scene
from aegis.cli.scene import Picture
from aegis.runtime.enrolment import CONFIDENT, WIDTHS, choose_face, read_photo
from aegis.runtime.faces import DETECTOR, search
from aegis.runtime.inference import open_model
from aegis.runtime.models import load_cards
from aegis.vision.faces import Face

SIZE = (960, 540)
"""Width and height of what is sent: what many cameras send as their smaller stream."""
EYES = 72
"""Pixels between the eyes in what is sent: a person two or three steps from a door's camera."""
SCALE = SIZE[0] / scene.WIDTH
AROUND = (0.4, 0.5, 0.4, 0.3)
"""How far the head reaches beyond the face's box: left, top, right, below, in its widths and heights."""
NOISES = 8
GREY_LEVELS = 3
"""Noise of a sensor, up and down."""


class PersonInRoom:
    """Draws pictures of the room with and without the person of ``photo``, (height, width, 3) BGR."""

    def __init__(self, photo: Picture, face: Face) -> None:
        self._head = photo[_head(photo, face)].copy()
        self._enlarge = EYES / SCALE / face.interocular
        chance = np.random.default_rng(0)
        shape = (NOISES, SIZE[1], SIZE[0], 1)
        self._noise = chance.integers(-GREY_LEVELS, GREY_LEVELS + 1, shape, np.int16)
        self._room = scene.room()
        self._empty = _sent(self._room)
        self._drawn = 0

    @classmethod
    def open(cls, path: Path, models: Path) -> "PersonInRoom":
        """Find the person of a photo file.

        Raises:
            OSError: the file cannot be read.
            EnrolmentError: it does not show exactly one large enough face.
            ModelError: there is no detector.

        """
        image = read_photo(path.read_bytes(), str(path))
        detector = open_model(load_cards(None)[DETECTOR], models, provider="cpu")
        found = next((faces for width in WIDTHS if (faces := search(detector, image, width, CONFIDENT))), [])
        return cls(image, choose_face(found, str(path))[0])

    def draw(self, since: float | None) -> Picture:
        """Draw the room, and the person who has been in it for so many seconds; None while nobody is."""
        picture = self._empty if since is None else _sent(self._with_person(since))
        self._drawn += 1
        noisy = picture + self._noise[self._drawn % NOISES]
        return np.asarray(np.clip(noisy, 0, 255), np.uint8)

    def _with_person(self, since: float) -> Picture:
        """Draw the person, who sways and leans a little, as people do who wait."""
        image = self._room.copy()
        scale = self._enlarge * (1 + 0.03 * np.sin(1.7 * since))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        height, width = (max(1, round(side * scale)) for side in self._head.shape[:2])
        head = np.asarray(cv2.resize(self._head, (width, height), interpolation=method), np.uint8)
        head = head[: scene.HEIGHT, : scene.WIDTH]
        left = (scene.WIDTH - width) // 2 + round(14 * np.sin(1.3 * since))
        top = (scene.HEIGHT - height) // 3 + round(5 * np.sin(2.1 * since))
        left = min(max(0, left), scene.WIDTH - head.shape[1])
        top = min(max(0, top), scene.HEIGHT - head.shape[0])
        scene.place(image, head, scene.soft_edge(head.shape[1], head.shape[0]), left, top)
        return image


def _head(photo: Picture, face: Face) -> tuple[slice, slice]:
    """Give rows and columns of the head around a face, as far as the photo has them."""
    x, y, width, height = face.box
    left, top, right, below = AROUND
    rows = slice(max(0, round(y - top * height)), min(photo.shape[0], round(y + (1 + below) * height)))
    return rows, slice(max(0, round(x - left * width)), min(photo.shape[1], round(x + (1 + right) * width)))


def _sent(image: Picture) -> NDArray[np.int16]:
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
