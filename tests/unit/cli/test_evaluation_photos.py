"""Which photos are measured, whom they show and which group they are of."""

from pathlib import Path

import numpy as np
import pytest

from aegis.cli.errors import CommandError
from aegis.cli.evaluation.photos import Listed, Photo, complaints, listed, templates
from aegis.vision.scoring import Look


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo")
    return folder


def people(photos: list[Listed], folder: Path) -> dict[str, str]:
    return {str(photo.path.relative_to(folder)): photo.person for photo in photos}


def test_a_folder_names_the_people(tmp_path: Path) -> None:
    made(tmp_path, "ada/1.jpg", "ada/2.PNG", "ben/1.jpeg", "ben/notes.txt", "loose.jpg")
    photos, problems = listed(tmp_path)
    assert people(photos, tmp_path) == {
        "ada/1.jpg": "ada",
        "ada/2.PNG": "ada",
        "ben/1.jpeg": "ben",
        "loose.jpg": "loose.jpg",
    }
    assert problems == []


def test_a_csv_gives_groups_and_names_what_is_not_there(tmp_path: Path) -> None:
    made(tmp_path, "ada/1.jpg", "ben/1.jpg", "cy/1.jpg")
    table = tmp_path / "groups.csv"
    table.write_text("photo,age,hair\nada/1.jpg,adult,red\nben/1.jpg,,grey\ngone.jpg,adult,red\n,adult,red\n")
    photos, problems = listed(tmp_path, table)
    assert [dict(photo.groups) for photo in photos] == [{"age": "adult", "hair": "red"}, {"hair": "grey"}, {}]
    assert problems == [
        "gone.jpg: the CSV names it and it is not there",
        "a line without a photo: the CSV names it and it is not there",
    ]


def test_a_csv_alone_lists_its_photos_and_may_say_who_they_show(tmp_path: Path) -> None:
    made(tmp_path, "1.jpg", "2.jpg", "3.jpg", "not-listed.jpg")
    table = tmp_path / "faces.csv"
    table.write_bytes("\ufeffphoto,person,age\n1.jpg,ada,adult\n2.jpg,ada,adult\n3.jpg,,minor\n".encode())
    photos, problems = listed(table)
    assert people(photos, tmp_path) == {"1.jpg": "ada", "2.jpg": "ada", "3.jpg": "3.jpg"}
    assert dict(photos[0].groups) == {"age": "adult"}
    assert problems == []


@pytest.mark.parametrize("text", ["path,age\n1.jpg,adult\n", "photo,age,age\n1.jpg,a,b\n", ""])
def test_a_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    made(tmp_path, "1.jpg")
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(CommandError, match=r"bad\.csv"):
        listed(tmp_path, tmp_path / "bad.csv")


def test_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no photo in"):
        listed(made(tmp_path, "ada/notes.txt"))
    with pytest.raises(CommandError, match="there is no folder"):
        listed(tmp_path / "nowhere")
    with pytest.raises(CommandError, match=r"there is no file .*nowhere\.csv"):
        listed(made(tmp_path, "1.jpg"), tmp_path / "nowhere.csv")
    with pytest.raises(CommandError, match=r"1\.jpg is a photo; give the folder that it is in, or a CSV"):
        listed(tmp_path / "1.jpg")
    (tmp_path / "list.xls").write_bytes(b"\xff\xd8")
    with pytest.raises(CommandError, match=r"list\.xls: is no folder, and no CSV file in UTF-8"):
        listed(tmp_path / "list.xls")


def test_photos_one_folder_deeper_are_pointed_at(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"photos are one folder deeper: .*nest/a$"):
        listed(made(tmp_path, "nest/a/ada/1.jpg") / "nest")


def test_a_csv_of_which_no_path_is_there_says_from_where_they_are_seen(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("photo,age\nphotos/1.jpg,adult\nphotos/2.jpg,adult\n")
    text = r"none of the 2 photos that .*faces\.csv names is there; the paths are relative to "
    with pytest.raises(CommandError, match=text + "the CSV"):
        listed(table)
    with pytest.raises(CommandError, match=text + "the folder .*photos"):
        listed(made(tmp_path, "photos/1.jpg") / "photos", table)


def photo(person: str, *, usable: bool = True, refusal: str = "") -> Photo:
    vector = np.full(4, 0.5, np.float32)
    return Photo(
        listed=Listed(path=Path(f"{person}.jpg"), person=person),
        template=None if refusal else vector,
        refusal=refusal,
        looks=(Look(vector=vector, weight=1.0),) if usable else (),
    )


def test_who_cannot_be_used_is_named() -> None:
    lost = photo("ben", usable=False, refusal="no face")
    photos = [photo("ada"), photo("ada", usable=False, refusal="no face"), lost, lost]
    broken = photo("ada", usable=False, refusal="no picture")
    assert complaints(photos) == ["ben: no usable face in any photo"]
    assert complaints([*photos, broken])[0] == "ada.jpg: cannot be read as a picture"


def test_each_person_has_the_template_of_the_first_photo_that_can_be_enrolled() -> None:
    photos = [photo("ada", refusal="several faces"), photo("ada"), photo("ben"), photo("cy", refusal="no face")]
    assert list(templates(photos)) == ["ada", "ben"]
