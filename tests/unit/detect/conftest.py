"""Real clips as frames at ten a second, and the detector that finds the faces in them."""

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.contracts.messages import FrameCaptured
from aegis.detect.finder import Finder

Image = NDArray[np.uint8]
Clip = Callable[[str], list[Image]]


@pytest.fixture(scope="session")
def finder(models_dir: Path) -> Finder:
    return Finder(models_dir, "cpu", 640)


@pytest.fixture(scope="session")
def clip(test_data: Path) -> Clip:
    def read(name: str) -> list[Image]:
        with av.open(str(test_data / "clips" / name)) as container:
            return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in container.decode(video=0)][::3]

    return read


def captured(image: Image, at: float, camera: str = "gate") -> FrameCaptured:
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    return FrameCaptured(camera=camera, lease=1, sequence=int(at * 100), captured_at=at, jpeg=jpeg)
