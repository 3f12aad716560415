"""Which photos of a folder a cohort cannot take."""

from pathlib import Path

import pytest

from aegis.cli import cohort_photos
from aegis.cli.evaluation.photos import Listed, Photo


def test_nothing_is_said_where_every_photo_can_be_used() -> None:
    assert cohort_photos.unused([]) == []


def test_one_photo_is_named() -> None:
    photo = Photo(listed=Listed(path=Path("photos/ann/a.jpg"), person="ann"), refusal="no picture")
    assert cohort_photos.unused([photo]) == [
        "note: 1 photo cannot be used: 1 no picture",
        "  photos/ann/a.jpg: no picture",
    ]


@pytest.mark.parametrize(("count", "rest"), [(10, []), (13, ["  and 3 more"])])
def test_ten_are_named_and_the_rest_is_counted(count: int, rest: list[str]) -> None:
    photos = [Photo(listed=Listed(path=Path(f"{n}.jpg"), person=f"{n}"), refusal="blurred") for n in range(count)]
    lines = cohort_photos.unused(photos)
    assert lines[0] == f"note: {count} photos cannot be used: {count} blurred"
    assert lines[1:11] == [f"  {n}.jpg: blurred" for n in range(10)]
    assert lines[11:] == rest


def test_the_commonest_reason_comes_first() -> None:
    reasons = ["blurred", "no picture", "blurred"]
    photos = [Photo(listed=Listed(path=Path("a.jpg"), person="a"), refusal=reason) for reason in reasons]
    assert cohort_photos.unused(photos)[0] == "note: 3 photos cannot be used: 2 blurred, 1 no picture"
