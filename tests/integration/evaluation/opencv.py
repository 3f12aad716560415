"""OpenCV's own face recogniser on the same photos, to compare with."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.cli.evaluation.photos import Photo
from aegis.runtime.faces import TRACKED
from aegis.vision.error_rates import Accuracy, fold_accuracy, fold_pairs

FOLDS = 10


class Recogniser:
    """YuNet and SFace by FaceDetectorYN and FaceRecognizerSF."""

    def __init__(self, models: Path) -> None:
        self._detector = cv2.FaceDetectorYN.create(
            str(models / "face_detection_yunet_2023mar.onnx"), "", (320, 320), TRACKED
        )
        self._recogniser = cv2.FaceRecognizerSF.create(str(models / "face_recognition_sface_2021dec.onnx"), "")

    def vector(self, path: Path) -> NDArray[np.float32] | None:
        """Embed the face that a photo is of, as the evaluation chooses it; None where none is found."""
        image = cv2.imread(str(path))
        if image is None:
            return None
        height, width = image.shape[:2]
        self._detector.setInputSize((width, height))
        _, faces = self._detector.detect(image)
        if faces is None:
            return None
        centre = faces[:, :2] + faces[:, 2:4] / 2 - (width / 2, height / 2)
        meant = faces[np.argmax(faces[:, 2] * faces[:, 3] - 2 * (centre**2).sum(axis=1))]
        found = np.asarray(self._recogniser.feature(self._recogniser.alignCrop(image, meant))[0], np.float32)
        return found / np.float32(np.linalg.norm(found))


def accuracies(photos: Sequence[Photo], models: Path, pairs: int, seed: int) -> tuple[Accuracy, Accuracy]:
    """Give the accuracy in ten folds of the product's vectors and of OpenCV's, on the same pairs."""
    recogniser = Recogniser(models)
    both = [
        (photo, theirs)
        for photo in photos
        if photo.looks and (theirs := recogniser.vector(photo.listed.path)) is not None
    ]
    own: dict[str, list[int]] = {}
    for place, (photo, _) in enumerate(both):
        own.setdefault(photo.listed.person, []).append(place)
    folds = fold_pairs(own, pairs, FOLDS, np.random.default_rng(seed))
    ours = np.stack([photo.looks[0].vector for photo, _ in both])
    theirs = np.stack([vector for _, vector in both])
    return _accuracy(ours, folds), _accuracy(theirs, folds)


def _accuracy(vectors: NDArray[np.float32], folds: Sequence[Sequence[tuple[int, int, bool]]]) -> Accuracy:
    scored = []
    for fold in folds:
        one, other, mated = (np.array(column) for column in zip(*fold, strict=True))
        scored.append(((vectors[one] * vectors[other]).sum(axis=1), mated))
    return fold_accuracy(scored)
