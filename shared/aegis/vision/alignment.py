"""Alignment: turn a found face upright and to the size that ArcFace-style embedders expect."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
"""Where the five landmarks belong in a chip: the template of Deng et al., "ArcFace" (2019), as InsightFace and OpenCV
use it."""
_TARGET_CENTRE = complex(*TEMPLATE.mean(axis=0))
_TARGET = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1] - _TARGET_CENTRE


def align(image_bgr: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut the face with these five ``landmarks`` (5, 2) out of an image as a chip (112, 112, 3), uint8, BGR.

    What lies outside the image is black. The result is that of OpenCV's ``FaceRecognizerSF.alignCrop``. Raises
    ValueError when the landmarks are not finite or all lie on one point.
    """
    chip = cv2.warpAffine(image_bgr, _similarity(landmarks.astype(np.float64)), (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return chip.astype(np.uint8, copy=False)


def reach(landmarks: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Give what of an image :func:`align` looks at: left, top, and the columns and rows before which it ends.

    Raises ValueError as that does.
    """
    back = cv2.invertAffineTransform(_similarity(landmarks.astype(np.float64)))
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]], np.float64) @ back[:, :2].T + back[:, 2]
    left, top = np.floor(corners.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 2
    return int(left), int(top), int(right), int(bottom)


def _similarity(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift (2, 3) of ``points`` onto the template.

    The solution of Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991),
    which in the plane is a quotient of complex numbers. A reflection, which is no way to turn a head, is none of those.
    """
    plane = points[:, 0] + 1j * points[:, 1]
    centre = plane.mean()
    source = plane - centre
    spread = np.vdot(source, source).real
    if not 0 < spread < np.inf:
        raise ValueError(f"landmarks span no face: {points.tolist()}")
    turn = np.vdot(source, _TARGET) / spread
    shift = _TARGET_CENTRE - turn * centre
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
