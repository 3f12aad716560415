"""A picture as planes gives what the same picture gives that is coloured."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision.alignment import SIDE, TEMPLATE, align
from aegis.vision.pictures import Coloured, Planar

WIDTH, HEIGHT = 1280, 720


@pytest.fixture(scope="module")
def planes() -> NDArray[np.uint8]:
    random = np.random.default_rng(3)
    rough = random.integers(70, 180, (HEIGHT // 40, WIDTH // 40, 3), np.uint8)
    smooth = cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(smooth, cv2.COLOR_BGR2YUV_I420), np.uint8)


def landmarks(x: float, y: float, size: float) -> NDArray[np.float32]:
    """Give those of a head that is a little to one side."""
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 17, size / SIDE)
    return np.asarray(TEMPLATE @ turn[:, :2].T + turn[:, 2] + [x, y], np.float32)


@pytest.mark.parametrize("size", [30, 112, 600])
@pytest.mark.parametrize("at", [(600, 300), (-20, 10), (1230, 680), (301, 201), (5000, 5000)])
def test_a_chip_is_the_same_but_for_rounding(planes: NDArray[np.uint8], at: tuple[float, float], size: float) -> None:
    found = landmarks(*at, size)
    difference = np.abs(Planar(planes).chip(found).astype(int) - align(Planar(planes).bgr(), found))
    assert difference.mean() < 0.5
    assert difference.max() <= 8


def test_landmarks_that_span_no_face_are_refused_as_ever(planes: NDArray[np.uint8]) -> None:
    for picture in (Planar(planes), Coloured(Planar(planes).bgr())):
        with pytest.raises(ValueError, match="no face"):
            picture.chip(np.zeros((5, 2), np.float32))


@pytest.mark.parametrize("width", [2000, 1280, 640, 320, 333])
def test_shrunk_it_looks_the_same(planes: NDArray[np.uint8], width: int) -> None:
    picture, whole = Planar(planes), Coloured(Planar(planes).bgr())
    small, other = picture.at_most(width), whole.at_most(width)
    assert small.shape[1] <= width
    assert max(abs(a - b) for a, b in zip(small.shape, other.shape, strict=True)) <= 1
    size = (other.shape[1], other.shape[0])
    assert np.abs(cv2.resize(small, size).astype(int) - other).mean() < 3


def test_thinned_it_is_as_it_was_searched(planes: NDArray[np.uint8]) -> None:
    picture = Planar(planes)
    assert picture.thinned is picture
    searched = picture.at_most(640)
    assert picture.thinned.shape == (360, 640)
    assert np.array_equal(picture.thinned.bgr(), searched)
