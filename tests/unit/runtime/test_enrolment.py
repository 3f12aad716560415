"""Which face a photo is of."""

import numpy as np
import pytest

from aegis.runtime.enrolment import EnrolmentError, choose_face
from aegis.vision.faces import Face


def face(width: float, interocular: float | None = None, *, x: float = 0) -> Face:
    eyes = width / 2 if interocular is None else interocular
    points = np.array([[x, 10], [x + eyes, 10], [x + eyes / 2, 20], [x, 30], [x + eyes, 30]], np.float32)
    return Face(box=(x, 0, width, 1.3 * width), landmarks=points, score=0.9)


def test_the_largest_face_is_meant() -> None:
    small, large = face(30, x=300), face(100)
    assert choose_face([small, large], "p") == (large, [small])
    assert choose_face([large], "p") == (large, [])


@pytest.mark.parametrize(("width", "refused"), [(39, False), (41, True), (100, True)])
def test_a_second_face_of_similar_size_is_unclear(width: float, refused: bool) -> None:
    faces = [face(100), face(width, x=300)]
    if refused:
        with pytest.raises(EnrolmentError, match=r"^p: 2 faces were found"):
            choose_face(faces, "p")
    else:
        assert choose_face(faces, "p")[0] is faces[0]


def test_none_and_too_small_are_refused() -> None:
    with pytest.raises(EnrolmentError, match=r"^p: no face was found"):
        choose_face([], "p")
    with pytest.raises(EnrolmentError, match=r"^p: the face is too small \(15 pixels .* at least 16"):
        choose_face([face(40, 15.4)], "p")
    assert choose_face([face(40, 16.0)], "p")
