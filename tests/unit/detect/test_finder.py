"""The picture behind an alert shows one person."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tests.unit.detect.conftest import Clip, Image, captured

from aegis.detect.core import Kept
from aegis.detect.finder import Finder
from aegis.vision.alignment import align
from aegis.vision.faces import Face, overlap
from aegis.vision.pictures import Coloured, Planar, read_picture


@pytest.fixture(scope="module")
def two_people(clip: Clip, finder: Finder) -> tuple[Image, list[Face]]:
    image = np.hstack([clip("eat.mkv")[0], clip("bird.mkv")[0]])
    faces = sorted(finder.find(Coloured(image)), key=lambda face: face.box[0])
    assert len(faces) == 2
    return image, faces


def kept(image: Image, face: Face) -> Kept:
    chip = align(image, face.landmarks).tobytes()
    return Kept(picture=captured(image, 1.0).jpeg, width=image.shape[1], box=face.box, chip=chip, sent_at=1.0)


@pytest.mark.parametrize("whom", [0, 1])
def test_the_other_s_face_is_gone_and_the_kept_one_whole(
    two_people: tuple[Image, list[Face]], finder: Finder, whom: int
) -> None:
    image, faces = two_people
    found = finder.picture(kept(image, faces[whom]))
    assert found.problem == ""
    picture = read_picture(found.frame_jpeg)
    assert picture is not None
    assert picture.shape == image.shape
    (left,) = finder._search(picture, 1280, 0.3)
    assert overlap(left.box, faces[whom].box) > 0.8
    x, y, width, height = (int(value) for value in faces[whom].box)
    mine = (slice(y, y + height), slice(x, x + width))
    assert np.abs(picture[mine].astype(int) - image[mine]).mean() < 6, "JPEG's loss alone"
    x, y, width, height = (int(value) for value in faces[1 - whom].box)
    assert picture[y + 5 : y + height - 5, x + 5 : x + width - 5].std(axis=(0, 1)).max() < 4, "one colour"


def test_the_probe_is_given_without_loss(two_people: tuple[Image, list[Face]], finder: Finder) -> None:
    image, faces = two_people
    found = finder.picture(kept(image, faces[0]))
    chip = cv2.imdecode(np.frombuffer(found.chip_png, np.uint8), cv2.IMREAD_COLOR)
    assert chip is not None
    assert np.array_equal(chip, align(image, faces[0].landmarks))


def test_faces_are_found_where_they_are_in_a_large_frame(clip: Clip, finder: Finder) -> None:
    image = clip("eat.mkv")[0]
    (face,) = finder.find(Coloured(image))
    large = np.asarray(cv2.resize(image, None, fx=2, fy=2), np.uint8)
    (found,) = finder.find(Coloured(large))
    assert overlap(found.box, face.scaled(2).box) > 0.8


@pytest.mark.parametrize("jpeg", [b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_a_broken_frame_is_a_problem_and_no_exception(
    two_people: tuple[Image, list[Face]], finder: Finder, jpeg: bytes
) -> None:
    image, faces = two_people
    good = kept(image, faces[0])
    found = finder.picture(replace(good, picture=jpeg))
    assert "cannot be read" in found.problem
    assert (found.chip_png, found.frame_jpeg) == (b"", b"")
    assert read_picture(jpeg) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (33, 31)])
def test_a_frame_of_any_size_can_be_searched(finder: Finder, shape: tuple[int, int]) -> None:
    assert finder.find(Coloured(np.full((*shape, 3), 90, np.uint8))) == []


def test_of_planes_the_picture_is_whole_at_first_and_small_later_with_the_same_faces_hidden(
    two_people: tuple[Image, list[Face]], finder: Finder
) -> None:
    image, faces = two_people
    planes = Planar(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).astype(np.uint8))
    planes.at_most(640)
    for picture, width in ((planes, image.shape[1]), (planes.thinned, 640)):
        found = read_picture(finder.picture(replace(kept(image, faces[0]), picture=picture)).frame_jpeg)
        assert found is not None
        assert found.shape[1] == width
        (left,) = finder._search(found, 1280, 0.3)
        assert overlap(left.scaled(image.shape[1] / width).box, faces[0].box) > 0.8
