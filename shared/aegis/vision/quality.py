"""How much a look at a face is worth: a score to rank looks by, and the reason why one is not worth embedding.

What was measured with SFace, as the share of same-person pairs still above a cosine of .425 (.97 undisturbed): 120
LFW pairs with one photo degraded, the landmark offset on 401 pairs, and looks at five people on video. The limits are
permissive: a poor look costs one embedding, a refused one can lose a person.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.vision.faces import Face

# Shrunk to 20 px between the eyes: .97; 12 px: .96; 10 px: .93; 8 px: .89; 6 px: .59. Video adds compression to that.
MIN_INTEROCULAR = 10.0
# Gaussian blur of 2 px in the chip: .96 at a median sharpness of .24; 3 px: .79 at .16; 4 px: .41 at .12; 5 px: .10 at
# .09. Motion of 9 px: .91 at .20; 13 px: .55 at .16; 19 px: .06 at .13. Undisturbed video: .23 and more.
MIN_SHARPNESS = 0.12
# Grey mean 25: .94; 15: .86; 10: .62. Mean 218 with 39 % clipped once brightened: .89; 233: .66; 240: .38.
MIN_EXPOSURE = 0.15
# The nose up to .9 of the interocular distance off the axis still matched (9 of 9 pairs from .5 on), past that it is
# the back of a head: in a hallway of profiles and backs, only 5 % of the detections were below .6.
MIN_FRONTALITY = 0.1
# A third of the face blackened from the side: .92, from below .93, from above .80; 40 % from above: .38.
MAX_OUTSIDE = 0.3

FACE_AREA = (slice(24, 104), slice(20, 92))
"""Rows and columns of an aligned chip that hold the face and little around it."""
LEVEL_PITCH = 0.56
"""Median height of the nose between eyes (0) and mouth (1), in LFW and on video alike; .48 to .51 where a head is
thrown back and its cosine falls from .86 to .32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A look's worth."""

    interocular: float
    """Pixels between the eyes in the image that the face was found in."""
    sharpness: float
    """0 to 1: the share of the chip's detail that a further blur takes away, along its blurrier axis."""
    frontality: float
    """0 to 1: how nearly the head faces the camera, as far as five landmarks tell."""
    exposure: float
    """0 to 1: from the chip's mean grey and the share of its pixels that are nearly black or white."""
    score: float
    """0.01 to 1: all of these and the detector's confidence, multiplied; for ranking looks and weighing them."""
    flaw: str | None
    """Why the look is not worth embedding: small, cut, turned, dark, bright or blurred; None where it is."""


def assess(face: Face, chip: NDArray[np.uint8], image_shape: tuple[int, ...]) -> Quality:
    """Judge a look from its ``face``, its aligned ``chip`` (112, 112, 3), BGR, in an image of that (height, width)."""
    whole = cv2.cvtColor(chip, cv2.COLOR_BGR2GRAY).astype(np.float32)
    grey = whole[FACE_AREA]
    sharpness, exposure = _sharpness(whole), _exposure(grey)
    frontality, interocular = _frontality(face.landmarks), face.interocular
    # Half hidden and thrown back faces look whole to their landmarks, but the detector is less sure of them: within
    # the worst clip its confidence goes with the cosine (rank correlation .85), .93 down to .90.
    confidence = min(max((face.score - 0.8) / 0.14, 0.0), 1.0)
    # Half of the worth at 10 px, 80 % at 24 px: past about 40 px more pixels say nothing more.
    size = 1.0 - float(np.exp(-interocular / 15.0))
    score = size * confidence * frontality * exposure * min(sharpness / 0.25, 1.0)
    flaws = {
        "small": interocular < MIN_INTEROCULAR,
        "cut": _outside(face, image_shape) > MAX_OUTSIDE,
        "turned": frontality < MIN_FRONTALITY,
        "dark" if grey.mean() < 128 else "bright": exposure < MIN_EXPOSURE,  # noqa: PLR2004 -- the middle of 0 to 255
        "blurred": sharpness < MIN_SHARPNESS,
    }
    return Quality(
        interocular=interocular,
        sharpness=sharpness,
        frontality=frontality,
        exposure=exposure,
        score=max(score, 0.01),  # a weight of zero could not be fused
        flaw=next((flaw for flaw, found in flaws.items() if found), None),
    )


def _sharpness(grey: NDArray[np.float32]) -> float:
    """No-reference blur of Crete et al., "The blur effect" (2007), the other way up: indifferent to contrast."""
    # Without this, the steps between whole grey levels and the sensor's noise pass for detail in a blurred face.
    grey = cv2.GaussianBlur(grey, (0, 0), 1).astype(np.float32)
    axes = []
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        detail = np.abs(np.diff(grey[FACE_AREA], axis=axis))
        left = np.abs(np.diff(cv2.blur(grey, kernel)[FACE_AREA], axis=axis))
        axes.append(float(np.maximum(detail - left, 0).sum() / max(float(detail.sum()), 1.0)))
    return min(axes)


def _exposure(grey: NDArray[np.float32]) -> float:
    # Dark skin in daylight has a mean of 40 and up, which must cost nothing.
    mean = float(grey.mean())
    clipped = float(((grey < 8) | (grey > 247)).mean())  # noqa: PLR2004 -- within 3 % of black or white
    return min(mean / 40, (255 - mean) / 40, 1.0) * (1 - clipped)


def _frontality(landmarks: NDArray[np.float32]) -> float:
    """Yaw from the nose's distance to the axis from eyes to mouth, pitch from its height along that axis."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across, down, nose = landmarks[1] - landmarks[0], mouth - eyes, landmarks[2] - eyes
    interocular, length = float(np.hypot(*across)), float(np.hypot(*down))
    if interocular == 0 or length == 0:
        return 0.0
    yaw = abs(float(down[0] * nose[1] - down[1] * nose[0])) / length / interocular
    pitch = float(down @ nose) / length**2
    return max(1 - yaw**2, 0.0) * max(1 - abs(pitch - LEVEL_PITCH) / 0.25, 0.0)


def _outside(face: Face, image_shape: tuple[int, ...]) -> float:
    """Share of the face's box that is not in the image."""
    x, y, width, height = face.box
    inside_x = max(min(x + width, image_shape[1]) - max(x, 0), 0)
    inside_y = max(min(y + height, image_shape[0]) - max(y, 0), 0)
    return 1 - inside_x * inside_y / (width * height) if width > 0 and height > 0 else 1.0
