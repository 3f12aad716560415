from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision import alignment, quality
from aegis.vision.faces import Face

Image = NDArray[np.uint8]
Clips = dict[str, Any]


@pytest.fixture(scope="session")
def good(clips: Clips) -> tuple[Face, Image, tuple[int, ...]]:
    """The best look of a clip, with its frame's shape."""
    best = max(clips["night.mkv"].sightings, key=lambda sighting: sighting.quality.score)
    return best.face, best.chip, clips["night.mkv"].frames[0].shape


def test_every_confident_look_of_the_clips_is_usable(clips: Clips) -> None:
    flaws = [(name, s.quality.flaw) for name, clip in clips.items() for s in clip.sightings if s.quality.flaw]
    assert flaws == []
    assert sum(len(clip.sightings) for clip in clips.values()) > 100


def test_a_head_thrown_back_ranks_below_the_same_face_level(clips: Clips) -> None:
    """In learn.mkv the face is level for the first 18 frames; the next 25 match other clips at .32 to .5 only."""
    sightings = clips["learn.mkv"].sightings
    level = [s.quality.score for s in sightings if s.at < 0.6]
    back = [s.quality.score for s in sightings if 0.8 <= s.at <= 1.5]
    assert min(level) > 1.1 * max(back)


def test_quality_goes_with_how_well_a_look_matches(clips: Clips) -> None:
    rows = []
    for name, clip in clips.items():
        others = [c for n, c in clips.items() if c.person == clip.person and n != name]
        centres = [np.mean([s.vector for s in other.sightings], axis=0) for other in others]
        rows += [(s.quality.score, np.mean([s.vector @ c for c in centres])) for s in clip.sightings if centres]
    ranks = np.argsort(np.argsort(np.array(rows), axis=0), axis=0)
    assert float(np.corrcoef(ranks[:, 0], ranks[:, 1]).ravel()[1]) > 0.5


def test_backs_of_heads_and_profiles_in_a_hallway_are_refused_or_worth_nothing(
    test_data: Path, detect: Callable[..., list[Face]]
) -> None:
    with av.open(str(test_data / "clips" / "hallway.mp4")) as container:
        container.seek(25_000_000)
        frames = [f.to_ndarray(format="bgr24") for f in container.decode(video=0) if 26 <= float(f.time or 0) <= 32]
    looks = []
    for frame in frames[::4]:
        image = np.asarray(frame, np.uint8)
        for face in detect(image, threshold=0.6):
            looks.append(quality.assess(face, alignment.align(image, face.landmarks), image.shape))  # noqa: PERF401
    assert looks
    assert all(look.flaw or look.score == 0.01 for look in looks)


def test_a_stranger_photographed_well_is_usable(test_data: Path, detect: Callable[..., list[Face]]) -> None:
    flaws = []
    for folder in sorted((test_data / "lfw").iterdir())[::60]:
        image = np.asarray(cv2.imread(str(min(folder.glob("*.jpg")))), np.uint8)
        face = min(detect(image), key=lambda found: abs(found.centre[0] - 125) + abs(found.centre[1] - 125))
        flaws.append(quality.assess(face, alignment.align(image, face.landmarks), image.shape).flaw)
    assert len(flaws) > 40
    assert flaws.count(None) == len(flaws)


def test_each_disturbance_is_named_and_lowers_the_score(good: tuple[Face, Image, tuple[int, ...]]) -> None:
    face, chip, shape = good
    plain = quality.assess(face, chip, shape)
    assert plain.flaw is None
    turned = face.landmarks.copy()
    turned[2] += (turned[1] - turned[0]) * 1.2
    _, y, width, height = face.box
    cases = {
        "small": (face.scaled(0.2), chip),
        "cut": (replace(face, box=(-width * 0.4, y, width, height)), chip),
        "turned": (replace(face, landmarks=turned), chip),
        "dark": (face, (chip * 0.03).astype(np.uint8)),
        "bright": (face, np.clip(chip * 4.0, 0, 255).astype(np.uint8)),
        "blurred": (face, np.asarray(cv2.GaussianBlur(chip, (0, 0), 6), np.uint8)),
    }
    for flaw, (disturbed, picture) in cases.items():
        found = quality.assess(disturbed, picture, shape)
        assert found.flaw == flaw
        assert found.score < plain.score or flaw == "cut"
        assert 0.01 <= found.score <= 1
    assert quality.assess(replace(face, box=(-width * 0.1, y, width, height)), chip, shape).flaw is None


def test_motion_blur_counts_along_either_axis(good: tuple[Face, Image, tuple[int, ...]]) -> None:
    face, chip, shape = good
    plain = quality.assess(face, chip, shape).sharpness
    for kernel in ((13, 1), (1, 13)):
        moved = np.asarray(cv2.blur(chip, kernel), np.uint8)
        assert quality.assess(face, moved, shape).sharpness < 0.7 * plain


def test_a_twelve_pixel_face_is_usable(good: tuple[Face, Image, tuple[int, ...]]) -> None:
    face, chip, shape = good
    factor = 12 / face.interocular
    coarse = cv2.resize(chip, None, fx=12 / 35.2, fy=12 / 35.2, interpolation=cv2.INTER_AREA)
    found = quality.assess(face.scaled(factor), np.asarray(cv2.resize(coarse, (112, 112)), np.uint8), shape)
    assert found.flaw is None


def test_degenerate_landmarks_and_a_flat_chip_are_refused_without_an_error() -> None:
    face = Face(box=(10, 10, 0, 0), landmarks=np.full((5, 2), 12, np.float32), score=0.9)
    found = quality.assess(face, np.zeros((112, 112, 3), np.uint8), (100, 100))
    assert found.flaw == "small"
    assert found.score == 0.01
