"""From a photo to a template, inside the registry: the photo travels no further. Blocking."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.registry.core import POOR_QUALITY, EnrolmentError, choose_face
from aegis.runtime import faces
from aegis.runtime.faces import DETECTOR, SUSPECTED
from aegis.runtime.inference import announce, open_model
from aegis.runtime.models import ModelError, load_cards
from aegis.vision.alignment import align
from aegis.vision.faces import Face
from aegis.vision.pictures import read_picture
from aegis.vision.quality import assess
from aegis.vision.redact import redact

WIDTHS = (640, 1280, 320)
"""A face can be too small at one width and too large for the detector at another."""
CONFIDENT = 0.7
"""From this score on a detection is a face that may be meant."""
MARGIN = 1.0
"""How much around the face is kept of a photo, in face sizes: enough to enrol it again with another model."""
KEPT_SIDE = 640
JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A template and the part of the photo that is kept for people to compare with."""

    vector: NDArray[np.float32]
    photo_jpeg: bytes
    warning: str


class Enroller:
    """Detector and embedder for photos. One thread at a time uses it.

    Raises ModelError when ``embedder`` names no embedder, or a model cannot be opened.
    """

    def __init__(self, models: Path, cards: Path | None, embedder: str, provider: str) -> None:
        known = load_cards(cards)
        embedders = {name: card for name, card in known.items() if card.task == "embed"}
        if embedder not in embedders:
            raise ModelError(f"AEGIS_EMBEDDER={embedder!r} names no embedder; known are {', '.join(embedders)}")
        self.card = embedders[embedder]
        self._detector = open_model(known[DETECTOR], models, provider=provider)
        self._embedder = open_model(self.card, models, provider=provider)

    def describe(self) -> dict[str, object]:
        return announce(self._embedder)

    def enrol(self, data: bytes, photo: str) -> Enrolled:
        """Turn a JPEG or PNG file into a template; ``photo`` names it in errors.

        Raises:
            EnrolmentError: it is no picture, or does not show exactly one large enough face.

        """
        image = read_picture(data)
        if image is None:
            raise EnrolmentError(f"{photo}: cannot be read as a picture; give a JPEG or PNG file")
        face, others = choose_face(self._find(image), photo)
        chip = align(image, face.landmarks)
        vector = faces.embed(self._embedder, [chip])[0]
        quality = assess(face, chip, image.shape)
        warning = ""
        if quality.flaw or quality.score < POOR_QUALITY:
            why = quality.flaw or f"quality {quality.score:.2f} of 1"
            warning = f"{photo}: a poor view ({why}), by which the person may not be found; add a better photo"
        return Enrolled(vector=vector, photo_jpeg=self._crop(redact(image, face.box, others), face), warning=warning)

    def _find(self, image: NDArray[np.uint8]) -> list[Face]:
        return next((found for width in WIDTHS if (found := self._search(image, width, CONFIDENT))), [])

    def _search(self, image: NDArray[np.uint8], width: int, certainty: float) -> list[Face]:
        return faces.search(self._detector, image, width, certainty)

    def _crop(self, image: NDArray[np.uint8], face: Face) -> bytes:
        """Cut out the face and what is around it, with whoever else can be found there hidden."""
        x, y, width, height = face.box
        top, left = max(0, int(y - MARGIN * height)), max(0, int(x - MARGIN * width))
        part = image[top : int(y + (1 + MARGIN) * height), left : int(x + (1 + MARGIN) * width)]
        scale = min(1.0, KEPT_SIDE / max(part.shape[:2]))
        if scale < 1:
            part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        box = ((x - left) * scale, (y - top) * scale, width * scale, height * scale)
        # Once more: what is too small or too faint to be found in the whole photo can be clear enough here.
        part = redact(part, box, self._search(part, KEPT_SIDE, SUSPECTED))
        return cv2.imencode(".jpg", part, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
