"""From a photo to a template, inside the registry: the photo travels no further. Blocking."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.runtime.enrolment import Extractor, Portrait, merged, read_photo, views
from aegis.runtime.faces import SUSPECTED
from aegis.vision.faces import Face
from aegis.vision.redact import redact

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


class Enroller(Extractor):
    """An extractor that also says what of a photo is kept."""

    def enrol(self, data: bytes, photo: str) -> Enrolled:
        """Turn a JPEG or PNG file into a template; ``photo`` names it in errors.

        Raises:
            EnrolmentError: it is no picture, or does not show exactly one large enough face.

        """
        image = read_photo(data, photo)
        portrait = self.portrait(image, photo)
        hidden = redact(image, portrait.face.box, portrait.others)
        return Enrolled(
            vector=merged(self.embed(views(portrait.chip))),
            photo_jpeg=self._crop(hidden, portrait.face),
            warning=_warning(portrait, photo),
        )

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
        part = redact(part, box, self.search(part, KEPT_SIDE, SUSPECTED))
        return cv2.imencode(".jpg", part, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()


def _warning(portrait: Portrait, photo: str) -> str:
    if not portrait.poor:
        return ""
    why = portrait.quality.flaw or f"quality {portrait.quality.score:.2f} of 1"
    return (
        f"{photo}: a poor view ({why}), by which the person may not be found; with a better one, "
        "remove the entry and add it again with all photos"
    )
