from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision import alignment
from aegis.vision.faces import Face

Image = NDArray[np.uint8]


def test_align_equals_opencv(models_dir: Path, detect: Callable[..., list[Face]], crowd: Image) -> None:
    recognizer = cv2.FaceRecognizerSF.create(str(models_dir / "face_recognition_sface_2021dec.onnx"), "")
    for turned in (crowd, np.ascontiguousarray(np.rot90(crowd))):
        for face in detect(turned, threshold=0.3):
            row = np.concatenate((face.box, face.landmarks.ravel(), [face.score])).astype(np.float32)
            expected = recognizer.alignCrop(turned, row)
            chip = alignment.align(turned, face.landmarks)
            difference = np.abs(chip.astype(int) - expected.astype(int))
            # OpenCV rounds the template's mean to four digits, which moves one pixel in thousands by one grey level.
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.005


def test_align_brings_the_landmarks_of_any_pose_onto_the_template() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    angle, scale = np.deg2rad(70), 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ((alignment.TEMPLATE - 56) @ turn.T + 150).astype(np.float32)
    for x, y in points:
        cv2.circle(image, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
    chip = alignment.align(image, points)
    assert chip.shape == (112, 112, 3)
    assert chip.dtype == np.uint8
    for x, y in alignment.TEMPLATE:
        assert chip[round(y), round(x)].max() > 200


def test_landmarks_that_span_no_face_are_refused() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="landmarks span no face"):
        alignment.align(image, np.full((5, 2), 7, np.float32))
    with pytest.raises(ValueError, match="landmarks span no face"):
        alignment.align(image, np.full((5, 2), np.nan, np.float32))
