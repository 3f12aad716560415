from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision.faces import Face
from aegis.vision.redact import redact

Image = NDArray[np.uint8]


def face(x: float, y: float, width: float, height: float) -> Face:
    return Face(box=(x, y, width, height), landmarks=np.zeros((5, 2), np.float32), score=0.9)


def noise(height: int = 120, width: int = 160) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_no_detector_finds_a_hidden_face_and_the_kept_one_stays(
    detect: Callable[..., list[Face]], crowd: Image
) -> None:
    faces = detect(crowd)
    keep = faces[3]
    image = redact(crowd, keep.box, faces)
    left = detect(image, threshold=0.5)
    assert len(left) == 1
    np.testing.assert_allclose(left[0].centre, keep.centre, atol=4)
    assert detect(redact(crowd, None, faces), threshold=0.5) == []
    assert len(faces) >= 16


def test_nothing_changes_outside_the_hidden_faces_nor_in_the_original() -> None:
    image = noise()
    before = image.copy()
    result = redact(image, None, [face(40, 40, 20, 30)])
    np.testing.assert_array_equal(image, before)
    inside = np.zeros(image.shape[:2], bool)
    inside[35:75, 37:63] = True  # 40 - 4.5 and 40 - 3, cut outwards to whole pixels
    np.testing.assert_array_equal(result[~inside], image[~inside])
    assert len(np.unique(result[inside], axis=0)) == 1, "one colour is left of a face"


@pytest.mark.parametrize("box", [(-15, -10, 30, 40), (150, 100, 40, 50), (-20, 30, 400, 20), (60, 60, 3, 4)])
def test_faces_at_the_border_and_tiny_ones_are_hidden_too(box: tuple[float, float, float, float]) -> None:
    image = noise()
    result = redact(image, None, [face(*box)])
    x, y, width, height = (int(value) for value in box)
    hidden = result[max(y, 0) : y + height, max(x, 0) : x + width].reshape(-1, 3)
    assert len(np.unique(hidden, axis=0)) == 1


@pytest.mark.parametrize("box", [(-80, 10, 30, 40), (500, 10, 30, 40), (10, 10, 0, 0)])
def test_a_face_beside_the_image_changes_next_to_nothing(box: tuple[float, float, float, float]) -> None:
    image = noise()
    np.testing.assert_array_equal(redact(image, None, [face(*box)]), image)


def test_another_face_gives_way_to_the_kept_one() -> None:
    image = noise()
    keep = (40.0, 40.0, 30.0, 30.0)
    result = redact(image, keep, [face(60, 40, 30, 30), face(42, 41, 30, 30)])
    np.testing.assert_array_equal(result[40:70, 40:70], image[40:70, 40:70])
    assert len(np.unique(result[40:70, 72:90].reshape(-1, 3), axis=0)) == 1
    np.testing.assert_array_equal(result[30:35, 40:50], image[30:35, 40:50])
