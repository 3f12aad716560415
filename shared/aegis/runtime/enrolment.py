"""From a photo to a template, the same for the watchlist and for what is measured or calibrated offline. Blocking."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.runtime import faces
from aegis.runtime.faces import DETECTOR
from aegis.runtime.inference import announce, open_model
from aegis.runtime.models import ModelError, load_cards
from aegis.vision.alignment import align
from aegis.vision.embedding import normalise
from aegis.vision.faces import Face
from aegis.vision.pictures import read_picture
from aegis.vision.quality import Quality, assess

WIDTHS = (640, 1280, 320)
"""A face can be too small at one width and too large for the detector at another."""
CONFIDENT = 0.7
"""From this score on a detection is a face that may be meant."""
MIN_INTEROCULAR = 16.0
"""Pixels between the eyes below which a face says too little to be looked for."""
BYSTANDER = 0.4
"""A second face at least this share of the largest one's size makes it unclear who is meant."""
POOR_QUALITY = 0.45


class EnrolmentError(ValueError):
    """A photo that cannot be enrolled, and what to do; ``reason`` is the short word to count it by."""

    def __init__(self, text: str, reason: str) -> None:
        self.reason = reason
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portrait:
    """The face that a photo is of, ready to be embedded."""

    face: Face
    others: list[Face]
    """Smaller faces beside it."""
    chip: NDArray[np.uint8]
    quality: Quality

    @property
    def poor(self) -> bool:
        """Whether the person may not be found by this photo."""
        return bool(self.quality.flaw) or self.quality.score < POOR_QUALITY


class Extractor:
    """Detector and embedder for photos. One thread at a time uses it.

    Raises ModelError when ``embedder`` names no embedder, or a model cannot be opened.
    """

    def __init__(self, models: Path, cards: Path | None, embedder: str, provider: str) -> None:
        known = load_cards(cards)
        embedders = {name: card for name, card in known.items() if card.task == "embed"}
        if embedder not in embedders:
            raise ModelError(f"AEGIS_EMBEDDER={embedder!r} names no embedder; known are {', '.join(embedders)}")
        self.card = embedders[embedder]
        self.detector = open_model(known[DETECTOR], models, provider=provider)
        self.embedder = open_model(self.card, models, provider=provider)

    def describe(self) -> dict[str, object]:
        return announce(self.embedder)

    def portrait(self, image: NDArray[np.uint8], photo: str) -> Portrait:
        """Find whom an image (height, width, 3) BGR is of; ``photo`` names it in errors.

        Raises:
            EnrolmentError: it does not show exactly one large enough face.

        """
        face, others = choose_face(self.find(image), photo)
        chip = align(image, face.landmarks)
        return Portrait(face=face, others=others, chip=chip, quality=assess(face, chip, image.shape))

    def embed(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Turn aligned chips (112, 112, 3) into vectors (N, D) of unit length."""
        return faces.embed(self.embedder, chips)

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find the faces that may be meant, at the first width at which there are any."""
        return next((found for width in WIDTHS if (found := self.search(image, width, CONFIDENT))), [])

    def search(self, image: NDArray[np.uint8], width: int, certainty: float) -> list[Face]:
        """Find the faces of at least ``certainty``, searched at ``width`` pixels, the most certain first."""
        return faces.search(self.detector, image, width, certainty)


def read_photo(data: bytes, photo: str) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG file to (height, width, 3) BGR; ``photo`` names it in errors.

    Raises:
        EnrolmentError: it is no picture.

    """
    image = read_picture(data)
    if image is None:
        raise EnrolmentError(f"{photo}: cannot be read as a picture; give a JPEG or PNG file", "no picture")
    return image


def views(chip: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give the views of a face that are enrolled of one photo: its chip (112, 112, 3) and that in a mirror."""
    return chip, chip[:, ::-1]


def merged(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make one template (D,) of the unit vectors (N, D) of a photo's views.

    The mirror image turns the head and the light the other way, so their mean is nearer to the person's other photos
    than either, and is paid for once, when the photo is enrolled.
    """
    template: NDArray[np.float32] = normalise(vectors.sum(axis=0, keepdims=True))[0]
    return template


def choose_face(faces: Sequence[Face], photo: str) -> tuple[Face, list[Face]]:
    """Give the face that a photo is of, and the smaller ones beside it.

    Raises:
        EnrolmentError: there is none, there are several of similar size, or it is too small.

    """
    if not faces:
        raise EnrolmentError(
            f"{photo}: no face was found; give a photo in which the face is upright, sharp and lit", "no face"
        )
    ordered = sorted(faces, key=lambda face: -face.box[2] * face.box[3])
    largest = ordered[0]
    rivals = [face for face in ordered[1:] if face.box[2] >= BYSTANDER * largest.box[2]]
    if rivals:
        raise EnrolmentError(
            f"{photo}: {1 + len(rivals)} faces were found; crop it to the one person who is meant", "several faces"
        )
    if largest.interocular < MIN_INTEROCULAR:
        raise EnrolmentError(
            f"{photo}: the face is too small ({largest.interocular:.0f} pixels between the eyes, "
            f"at least {MIN_INTEROCULAR:.0f} are needed); give a larger photo",
            "too small",
        )
    return largest, ordered[1:]
