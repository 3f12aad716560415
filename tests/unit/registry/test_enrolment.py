"""From files as people have them to a template, and what of a photo is kept."""

import struct

import cv2
import numpy as np
import pytest
from tests.unit.registry.conftest import Image, jpeg, png, scaled

from aegis.registry.enrolment import KEPT_SIDE, Enrolled, Enroller
from aegis.runtime.enrolment import EnrolmentError
from aegis.runtime.faces import SUSPECTED
from aegis.runtime.models import ModelError
from aegis.vision.faces import overlap


def cosine(one: Enrolled, other: Enrolled) -> float:
    return float(one.vector @ other.vector)


def decoded(enrolled: Enrolled) -> Image:
    image = cv2.imdecode(np.frombuffer(enrolled.photo_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def turned(image: Image, orientation: int) -> bytes:
    """Store an image as a phone does that was held sideways: turned, with a note how to turn it back."""
    stored = {1: image, 6: np.rot90(image, 1), 3: np.rot90(image, 2), 8: np.rot90(image, 3)}[orientation]
    note = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    data = jpeg(np.ascontiguousarray(stored))
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + data[2:]


def beside(image: Image, bystander: Image, size: float) -> Image:
    """Put a second person, this much smaller, to the right of the first one's face."""
    small = scaled(bystander, size)
    wide = np.full((250, 250 + small.shape[1], 3), 128, np.uint8)
    wide[:, :250] = image
    wide[60 : 60 + small.shape[0], 215 : 215 + small.shape[1]] = small
    return wide


@pytest.fixture(scope="module")
def template(enroller: Enroller, photo: Image) -> Enrolled:
    return enroller.enrol(png(photo), "a.png")


def test_a_template_is_a_unit_vector_that_knows_its_person(
    enroller: Enroller, template: Enrolled, same_person: Image, somebody_else: Image
) -> None:
    assert template.vector.shape == (enroller.card.dimension,)
    assert float(np.linalg.norm(template.vector)) == pytest.approx(1, abs=1e-6)
    assert template.warning == ""
    assert cosine(template, enroller.enrol(png(same_person), "b.png")) > 0.5
    assert cosine(template, enroller.enrol(png(somebody_else), "c.png")) < 0.3


def test_a_template_is_as_like_the_mirror_image_as_the_photo(
    enroller: Enroller, template: Enrolled, photo: Image
) -> None:
    chip = enroller.portrait(photo, "a.png").chip
    one, mirrored = enroller.embed([chip, chip[:, ::-1]])
    assert template.vector @ one == pytest.approx(template.vector @ mirrored, abs=1e-5)
    assert template.vector @ one > one @ mirrored


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b"%PDF-1.4"])
def test_what_is_no_picture_is_refused_by_name(enroller: Enroller, data: bytes) -> None:
    with pytest.raises(EnrolmentError, match=r"^me\.jpg: cannot be read as a picture"):
        enroller.enrol(data, "me.jpg")


def test_a_picture_without_a_face_is_refused(enroller: Enroller) -> None:
    for image in (np.full((400, 300, 3), 128, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        with pytest.raises(EnrolmentError, match=r"^wall: no face was found"):
            enroller.enrol(png(image), "wall")


def test_two_people_of_one_size_are_refused(enroller: Enroller, photo: Image, somebody_else: Image) -> None:
    with pytest.raises(EnrolmentError, match=r"^both: 2 faces were found; crop it"):
        enroller.enrol(png(np.hstack([photo, somebody_else])), "both")


def test_a_face_that_is_too_small_is_refused_with_its_size(enroller: Enroller, photo: Image) -> None:
    with pytest.raises(EnrolmentError, match=r"^far: the face is too small \(1[0-5] pixels between the eyes"):
        enroller.enrol(png(scaled(photo, 0.36)), "far")


def test_a_poor_view_is_taken_with_a_warning(enroller: Enroller, photo: Image) -> None:
    blurred = np.asarray(cv2.GaussianBlur(photo, (0, 0), 5), np.uint8)
    assert enroller.enrol(png(blurred), "soft").warning.startswith("soft: a poor view (")


def test_a_huge_photo_is_enrolled_and_a_small_part_of_it_kept(
    enroller: Enroller, template: Enrolled, photo: Image
) -> None:
    huge = np.full((4000, 6000, 3), 128, np.uint8)
    huge[:, 1000:5000] = scaled(photo, 16)
    enrolled = enroller.enrol(jpeg(huge), "huge.jpg")
    assert cosine(enrolled, template) > 0.9
    assert max(decoded(enrolled).shape) == KEPT_SIDE
    assert len(enrolled.photo_jpeg) < 200_000


def test_a_face_that_fills_the_photo_is_found(enroller: Enroller, template: Enrolled, photo: Image) -> None:
    close = scaled(np.ascontiguousarray(photo[50:200, 75:200]), 8)
    assert cosine(enroller.enrol(jpeg(close), "close"), template) > 0.8


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bits", "palette of JPEG"])
def test_other_kinds_of_files_give_the_same_person(
    enroller: Enroller, template: Enrolled, photo: Image, kind: str
) -> None:
    data = {
        "grey": cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY))[1].tobytes(),
        "alpha": cv2.imencode(".png", np.dstack([photo, np.full(photo.shape[:2], 200, np.uint8)]))[1].tobytes(),
        "16 bits": cv2.imencode(".png", photo.astype(np.uint16) * 257)[1].tobytes(),
        "palette of JPEG": jpeg(photo),
    }[kind]
    assert cosine(enroller.enrol(data, kind), template) > (0.7 if kind == "grey" else 0.98)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_that_was_taken_sideways_is_turned_upright(
    enroller: Enroller, template: Enrolled, photo: Image, orientation: int
) -> None:
    enrolled = enroller.enrol(turned(photo, orientation), "phone.jpg")
    assert cosine(enrolled, template) > 0.97
    assert len(enroller.search(decoded(enrolled), KEPT_SIDE, 0.8)) == 1, "what is kept is upright too"


def test_what_is_kept_is_the_face_and_a_margin(enroller: Enroller, photo: Image) -> None:
    room = np.full((900, 1200, 3), 128, np.uint8)
    room[300:550, 400:650] = photo
    enrolled = enroller.enrol(png(room), "room.png")
    (face,) = enroller.find(room)
    kept = decoded(enrolled)
    assert kept.shape[0] == pytest.approx(3 * face.box[3], abs=3)
    assert kept.shape[1] == pytest.approx(3 * face.box[2], abs=3)
    again = enroller.enrol(enrolled.photo_jpeg, "again")
    assert cosine(again, enrolled) > 0.9, "it can be enrolled again from what is kept"


@pytest.mark.parametrize("size", [0.12, 0.2, 0.3])
def test_a_smaller_person_beside_is_hidden_in_what_is_kept(
    enroller: Enroller, template: Enrolled, photo: Image, somebody_else: Image, size: float
) -> None:
    """At three times the size, as a photo of a phone is, so that the bystander could be recognised in it."""
    image = scaled(beside(photo, somebody_else, size), 3)
    main = max(enroller.find(image), key=lambda face: face.box[2])
    plain = np.asarray(image[:, : int(main.box[0] + 2 * main.box[2])], np.uint8)
    assert len(enroller.search(plain, 1280, SUSPECTED)) == 2, "the bystander is inside the part that is kept"
    enrolled = enroller.enrol(png(image), "party.png")
    assert cosine(enrolled, template) > 0.9
    kept = decoded(enrolled)
    faces = [face for width in (640, 1280) for face in enroller.search(kept, width, SUSPECTED)]
    assert len(faces) == 2, "one face, found at both widths"
    assert overlap(faces[0].box, faces[1].box) > 0.8


def test_a_bystander_who_is_too_faint_to_be_meant_is_hidden_all_the_same(
    enroller: Enroller, photo: Image, somebody_else: Image
) -> None:
    faint = np.asarray(cv2.GaussianBlur(scaled(somebody_else, 0.2), (0, 0), 3.5), np.uint8)
    image = scaled(beside(photo, faint, 1.0), 3)
    assert len(enroller.find(image)) == 1, "the detector is not sure of the bystander"
    assert len(enroller.search(image, 640, SUSPECTED)) == 2
    kept = decoded(enroller.enrol(png(image), "party.png"))
    assert len(enroller.search(kept, KEPT_SIDE, SUSPECTED)) == 1


def test_an_embedder_that_is_none_is_refused(models_dir: object) -> None:
    for name in ("none-such", "yunet-2023mar"):
        with pytest.raises(ModelError, match=f"{name}.*names no embedder; known are sface-2021dec"):
            Enroller(models_dir, None, name, "cpu")  # type: ignore[arg-type]
