"""Picture files as arrays."""

import cv2
import numpy as np
from numpy.typing import NDArray


def read_picture(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG or PNG file to (height, width, 3) uint8 BGR, upright; None if it is no picture."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)
