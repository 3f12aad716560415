import numpy as np
import pytest

from aegis.vision.faces import Face, overlap

FACE = Face(
    box=(10.0, 20.0, 40.0, 60.0),
    landmarks=np.array([[20, 40], [44, 33], [30, 50], [22, 70], [40, 70]], np.float32),
    score=0.9,
)


def test_a_face_measures_itself() -> None:
    assert FACE.interocular == pytest.approx(25)
    assert FACE.centre == (30.0, 50.0)


def test_a_scaled_face_keeps_its_score_and_its_shape() -> None:
    twice = FACE.scaled(2)
    assert twice.box == (20.0, 40.0, 80.0, 120.0)
    assert twice.score == FACE.score
    assert twice.interocular == pytest.approx(50)
    assert twice.landmarks.dtype == np.float32


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 10, 10), 1 / 3),
        ((10, 0, 10, 10), 0.0),
        ((20, 20, 5, 5), 0.0),
        ((0, 0, 5, 5), 0.25),
    ],
)
def test_overlap_is_intersection_over_union(other: tuple[float, float, float, float], expected: float) -> None:
    assert overlap((0, 0, 10, 10), other) == pytest.approx(expected)
    assert overlap(other, (0, 0, 10, 10)) == pytest.approx(expected)
