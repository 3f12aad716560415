"""Around the YuNet 2023mar face detector: the tensor that goes in, and the faces in what comes out.

The arithmetic is that of OpenCV's FaceDetectorYN (modules/objdetect/src/face_detect.cpp), so results are the same;
the network is described in Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector" (2023).
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.vision.faces import Face
from aegis.vision.pictures import shrunk

STRIDES = (8, 16, 32)
"""One output map each; the coarsest is why both sides of the input are multiples of 32."""
DIVISOR = STRIDES[-1]


def letterbox(image_bgr: NDArray[np.uint8], width: int) -> tuple[NDArray[np.float32], float]:
    """Make YuNet's input tensor of an image.

    ``image_bgr`` is (height, width, 3). It is shrunk to at most ``width`` pixels across (never enlarged), then padded
    with black at the right and bottom to multiples of 32. Returns the tensor (1, 3, H, W), 0 to 255 in BGR order, and
    the scale in (0, 1]: a face found in the tensor is ``face.scaled(1 / scale)`` in the image.
    """
    scale = min(1.0, width / image_bgr.shape[1])
    image_bgr = shrunk(image_bgr, width)
    rows, columns = image_bgr.shape[:2]
    tensor = np.empty((1, 3, -(-rows // DIVISOR) * DIVISOR, -(-columns // DIVISOR) * DIVISOR), np.float32)
    tensor[:, :, rows:], tensor[:, :, :rows, columns:] = 0, 0
    for plane, place in zip(cv2.split(image_bgr), tensor[0], strict=True):
        place[:rows, :columns] = plane
    return tensor, scale


def decode(
    outputs: Mapping[str, NDArray[np.float32]],
    *,
    height: int,
    width: int,
    score_threshold: float,
    nms_threshold: float = 0.3,
    top_k: int = 5000,
) -> list[Face]:
    """Turn the network's twelve outputs into faces, the greatest score first.

    ``outputs`` maps ``cls_8`` to ``kps_32`` to arrays with a leading batch dimension of one; ``height`` and ``width``
    are the tensor's. Boxes and landmarks are in pixels of the tensor. ``top_k`` bounds what enters the suppression of
    boxes that overlap a better one by more than ``nms_threshold`` (intersection over union).
    """
    maps = [_decode_map(outputs, stride, height // stride, width // stride, score_threshold) for stride in STRIDES]
    boxes, landmarks, scores = (np.concatenate(parts) for parts in zip(*maps, strict=True))
    order = [0] if len(scores) == 1 else _suppress(boxes, scores, score_threshold, nms_threshold, top_k)
    return [
        Face(
            box=(float(boxes[i, 0]), float(boxes[i, 1]), float(boxes[i, 2]), float(boxes[i, 3])),
            landmarks=landmarks[i],
            score=float(scores[i]),
        )
        for i in order
    ]


def _decode_map(
    outputs: Mapping[str, NDArray[np.float32]], stride: int, rows: int, columns: int, threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (n, 4), landmarks (n, 5, 2) and scores (n,) of one stride's cells that reach the threshold."""
    # Both are sigmoids already; the root of their product is taken only where it counts.
    product = (outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"]).reshape(rows * columns)
    cells = np.flatnonzero(product >= np.float32(threshold) ** 2)
    corner = np.stack((cells % columns, cells // columns), axis=1).astype(np.float32)
    raw = outputs[f"bbox_{stride}"].reshape(-1, 4)[cells]
    centre = (corner + raw[:, :2]) * stride
    size = np.exp(raw[:, 2:]) * stride
    boxes = np.concatenate((centre - size / 2, size), axis=1)
    points = (outputs[f"kps_{stride}"].reshape(-1, 5, 2)[cells] + corner[:, None]) * stride
    return boxes, points.astype(np.float32, copy=False), np.sqrt(np.clip(product[cells], 0, 1))


def _suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float, nms_threshold: float, top_k: int
) -> list[int]:
    """Find the indices that survive non-maximum suppression, best first; FaceDetectorYN compares whole pixels."""
    whole = np.trunc(boxes).astype(float).tolist()
    return [int(i) for i in cv2.dnn.NMSBoxes(whole, scores.tolist(), threshold, nms_threshold, top_k=top_k)]
