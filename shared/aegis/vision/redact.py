"""Hide every face but one in a picture, beyond recovery."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aegis.vision.faces import Box, Face, overlap

GROWTH = 1.3
"""A detector's box ends at chin and temples; a third more covers ears, hairline and the detector's error."""
SAME_FACE = 0.5
"""Intersection over union from which two boxes are one face, found twice."""


def redact(image_bgr: NDArray[np.uint8], keep: Box | None, others: Sequence[Face]) -> NDArray[np.uint8]:
    """Copy an image with every face of ``others`` hidden, and the one in ``keep`` (None: nobody) left as it is.

    Each face and a margin is filled with its mean colour, which leaves three numbers of it: blurs and mosaics have
    been inverted or recognised (McPherson, Shokri, Shmatikov, "Defeating image obfuscation with deep learning", 2016).
    One of ``others`` that overlaps ``keep`` by more than half is the kept person. Where another face reaches into
    ``keep``, the kept person's pixels stay.
    """
    result = image_bgr.copy()
    for face in others:
        if keep is not None and overlap(face.box, keep) > SAME_FACE:
            continue
        x, y, width, height = face.box
        region = _region((x - width * (GROWTH - 1) / 2, y - height * (GROWTH - 1) / 2, width * GROWTH, height * GROWTH))
        if result[region].size:
            result[region] = image_bgr[region].mean(axis=(0, 1))
    if keep is not None:
        spared = _region(keep)
        result[spared] = image_bgr[spared]
    return result


def _region(box: Box) -> tuple[slice, slice]:
    """Rows and columns of every pixel that the box touches."""
    x, y, width, height = box
    return (
        slice(max(int(np.floor(y)), 0), max(int(np.ceil(y + height)), 0)),
        slice(max(int(np.floor(x)), 0), max(int(np.ceil(x + width)), 0)),
    )
