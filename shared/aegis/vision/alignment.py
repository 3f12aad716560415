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

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
    """
    source_mean, target_mean = points.mean(axis=0), TEMPLATE.mean(axis=0)
    source, target = points - source_mean, TEMPLATE - target_mean
    variance = float((source**2).sum()) / len(points)
    if not 0 < variance < np.inf:
        raise ValueError(f"landmarks span no face: {points.tolist()}")
    covariance = target.T @ source / len(points)
    u, singular, vt = np.linalg.svd(covariance)
    # A reflection is no way to turn a head, so the sign of the smaller axis makes up for it.
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    linear = (u * signs) @ vt * ((singular * signs).sum() / variance)
    return np.column_stack((linear, target_mean - linear @ source_mean))
