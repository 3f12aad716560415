"""Photos of people as files, and the enroller that judges them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.registry.enrolment import Enroller

Image = NDArray[np.uint8]


@pytest.fixture(scope="session")
def enroller(models_dir: Path) -> Enroller:
    return Enroller(models_dir, None, "sface-2021dec", "cpu")


@pytest.fixture(scope="session")
def photo(test_data: Path) -> Image:
    """One person, 250x250, the face 84 pixels wide."""
    return load(test_data / "lfw" / "Al_Gore" / "Al_Gore_0001.jpg")


@pytest.fixture(scope="session")
def same_person(test_data: Path) -> Image:
    return load(test_data / "lfw" / "Al_Gore" / "Al_Gore_0002.jpg")


@pytest.fixture(scope="session")
def somebody_else(test_data: Path) -> Image:
    return load(test_data / "lfw" / "Aaron_Peirsol" / "Aaron_Peirsol_0001.jpg")


def load(path: Path) -> Image:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, np.uint8)


def png(image: Image) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def scaled(image: Image, factor: float) -> Image:
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way), np.uint8)
