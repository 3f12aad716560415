from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision import yunet
from aegis.vision.faces import Face

Image = NDArray[np.uint8]
Detect = Callable[..., list[Face]]


def by_opencv(models_dir: Path, image: Image, threshold: float) -> NDArray[np.float32]:
    size = (image.shape[1], image.shape[0])
    detector = cv2.FaceDetectorYN.create(str(models_dir / "face_detection_yunet_2023mar.onnx"), "", size, threshold)
    found: object = detector.detect(image)[1]
    return np.empty((0, 15), np.float32) if found is None else np.asarray(found, np.float32)


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.7])
def test_decode_equals_opencv_face_by_face(
    models_dir: Path, detect: Detect, crowd: Image, test_data: Path, threshold: float
) -> None:
    portrait = cv2.imread(str(min((test_data / "lfw" / "AJ_Cook").glob("*.jpg"))))
    assert portrait is not None
    for image in (crowd, np.asarray(portrait, np.uint8), crowd[:, :333], crowd[40:72, :96]):
        contiguous = np.ascontiguousarray(image)
        expected = by_opencv(models_dir, contiguous, threshold)
        found = detect(contiguous, threshold=threshold)
        assert len(found) == len(expected)
        for face, row in zip(found, expected, strict=True):
            np.testing.assert_allclose(face.box, row[:4], atol=1e-3)
            np.testing.assert_allclose(face.landmarks.ravel(), row[4:14], atol=1e-3)
            assert face.score == pytest.approx(float(row[14]), abs=1e-5)


def test_decode_puts_the_greatest_score_first_and_finds_the_crowd(detect: Detect, crowd: Image) -> None:
    scores = [face.score for face in detect(crowd)]
    assert len(scores) >= 16
    assert scores == sorted(scores, reverse=True)


def test_an_empty_picture_has_no_faces(detect: Detect) -> None:
    assert detect(np.zeros((200, 300, 3), np.uint8)) == []


def test_letterbox_pads_to_the_right_and_below_and_never_enlarges(crowd: Image) -> None:
    tensor, scale = yunet.letterbox(crowd, 1280)
    assert scale == 1.0
    assert tensor.shape == (1, 3, 192, 832)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor[0, :, :180, :810], crowd.transpose(2, 0, 1))
    assert not tensor[0, :, 180:].any()
    assert not tensor[0, :, :, 810:].any()


def test_letterbox_shrinks_a_wide_image_to_the_width(crowd: Image) -> None:
    tensor, scale = yunet.letterbox(crowd, 405)
    assert scale == 0.5
    assert tensor.shape == (1, 3, 96, 416)


def test_faces_found_in_a_shrunk_image_lie_where_they_are(detect: Detect, crowd: Image) -> None:
    large = np.asarray(cv2.resize(crowd, None, fx=2, fy=2), np.uint8)
    plain, shrunk = detect(crowd), detect(large, width=crowd.shape[1])
    assert len(plain) == len(shrunk)
    for face in plain:
        nearest = min(shrunk, key=lambda other: abs(np.subtract(other.centre, np.multiply(face.centre, 2))).sum())
        np.testing.assert_allclose(nearest.landmarks, face.landmarks * 2, atol=6)
