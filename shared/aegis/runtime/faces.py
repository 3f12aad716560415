"""From an image to faces and from faces to vectors: the same for frames and for enrolled photos. Blocking."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aegis.runtime import inference, metrics
from aegis.runtime.inference import Model
from aegis.vision import yunet
from aegis.vision.embedding import normalise, to_tensor
from aegis.vision.faces import Face

DETECTOR = "yunet-2023mar"
FRAME_WIDTH = 640
"""A camera's frame is searched at this width, unless its site says otherwise."""
TRACKED = 0.6
"""From this score on a detection in a frame is a face to be tracked."""
SUSPECTED = 0.3
"""From this score on a detection might be a bystander and is hidden in what is kept."""


def search(detector: Model, image: NDArray[np.uint8], width: int, certainty: float) -> list[Face]:
    """Find the faces of at least ``certainty`` in an image (height, width, 3) BGR, searched at ``width`` pixels.

    The most certain comes first; boxes and landmarks are in pixels of the image.
    """
    tensor, scale = yunet.letterbox(image, width)
    started = time.perf_counter()
    outputs = detector.run(tensor)
    metrics.INFERENCE.labels(detector.card.id).observe(time.perf_counter() - started)
    faces = yunet.decode(outputs, height=tensor.shape[2], width=tensor.shape[3], score_threshold=certainty)
    return [face.scaled(1 / scale) for face in faces]


def embed(embedder: Model, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Turn aligned chips, each (112, 112, 3) uint8 BGR, into unit vectors (N, dimension).

    Raises:
        ValueError: a vector is zero or not finite.

    """
    card = embedder.card
    tensor = to_tensor(chips, rgb=card.rgb, mean=card.mean, std=card.std)
    started = time.perf_counter()
    raw = inference.embed(embedder, tensor)
    metrics.INFERENCE.labels(card.id).observe(time.perf_counter() - started)
    return normalise(raw)
