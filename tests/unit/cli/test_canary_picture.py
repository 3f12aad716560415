"""The canary's pictures: an empty room in which nothing moves, and a person whom detection finds."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from aegis.cli.canary_picture import EYES, SIZE, PersonInRoom
from aegis.cli.scene import Picture
from aegis.runtime.enrolment import EnrolmentError
from aegis.runtime.faces import DETECTOR, FRAME_WIDTH, TRACKED, search
from aegis.runtime.inference import Model, open_model
from aegis.runtime.models import load_cards
from aegis.vision.alignment import align
from aegis.vision.faces import Face
from aegis.vision.motion import Motion, shrink
from aegis.vision.quality import assess


@pytest.fixture(scope="module")
def portrait() -> Path:
    """Give a portrait in the public domain that comes inside a package."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def person(portrait: Path, models_dir: Path) -> PersonInRoom:
    return PersonInRoom.open(portrait, models_dir)


@pytest.fixture(scope="module")
def detector(models_dir: Path) -> Model:
    return open_model(load_cards()[DETECTOR], models_dir, provider="cpu")


def faces(detector: Model, picture: Picture) -> list[Face]:
    return search(detector, picture, FRAME_WIDTH, TRACKED)


def small(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return shrink(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))


@pytest.mark.parametrize("since", [0.0, 1.3, 4.0, 11.9])
def test_the_person_is_seen_well_enough_to_be_recognised(since: float, person: PersonInRoom, detector: Model) -> None:
    picture = person.draw(since)
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    (face,) = faces(detector, picture)
    assert face.interocular == pytest.approx(EYES, rel=0.25)
    quality = assess(face, align(picture, face.landmarks), picture.shape)
    assert (quality.flaw, quality.score > 0.5) == (None, True)


def test_the_empty_room_has_nobody_and_only_noise_moves_in_it(person: PersonInRoom, detector: Model) -> None:
    pictures = [person.draw(None) for _ in range(20)]
    assert not faces(detector, pictures[0])
    assert np.any(pictures[0] != pictures[1])
    motion = Motion(beat=1000.0)
    moved = [motion.look(small(picture), 100.0 + n / 10)[1] for n, picture in enumerate(pictures)]
    assert moved == [True] + [False] * 19
    assert motion.look(small(person.draw(0.0)), 102.1)[1], "who comes is noticed"


def test_who_stands_there_moves_a_little(person: PersonInRoom) -> None:
    motion = Motion(beat=1000.0)
    assert sum(motion.look(small(person.draw(n / 5)), 100.0 + n / 5)[1] for n in range(30)) > 10


def test_a_photo_of_any_size_fits(portrait: Path, models_dir: Path, tmp_path: Path, detector: Model) -> None:
    image = cv2.imread(str(portrait))
    assert image is not None
    for name, scale in (("small.png", 0.4), ("large.png", 4.0)):
        cv2.imwrite(str(tmp_path / name), cv2.resize(image, None, fx=scale, fy=scale))
        (face,) = faces(detector, PersonInRoom.open(tmp_path / name, models_dir).draw(0.0))
        assert face.interocular == pytest.approx(EYES, rel=0.25)


def test_a_photo_without_a_face_is_refused(models_dir: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 200, np.uint8))
    with pytest.raises(EnrolmentError, match=r"wall\.png: no face was found"):
        PersonInRoom.open(tmp_path / "wall.png", models_dir)
