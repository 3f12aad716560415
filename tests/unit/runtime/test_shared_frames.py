"""Memory through which frames go: nobody reads what is no longer there, or what is another picture by now."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegis.contracts.messages import SharedPicture
from aegis.runtime import shared_frames
from aegis.runtime.shared_frames import PLACES, Writer

WIDTH, HEIGHT = 8, 4


def lay(writer: Writer, value: int, width: int = WIDTH) -> SharedPicture:
    luma = np.full((HEIGHT, width), value, np.uint8)
    chroma = np.full((HEIGHT // 2, width // 2), value, np.uint8)
    return writer.write(width, HEIGHT, [luma, chroma, chroma])


def read(folder: Path, picture: SharedPicture) -> int | None:
    """Give the value that all of a picture has; None if it is not there."""
    planes = shared_frames.read(folder, picture)
    if planes is None:
        return None
    assert planes.shape == (picture.height * 3 // 2, picture.width)
    (value,) = set(planes.ravel().tolist())
    return int(value)


def test_a_picture_can_be_read_until_its_place_is_needed(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "lobby", 7)
    pictures = [lay(writer, value) for value in range(PLACES)]
    assert [read(tmp_path, picture) for picture in pictures] == list(range(PLACES))
    lay(writer, 99)
    assert [read(tmp_path, picture) for picture in pictures] == [None, *range(1, PLACES)]


def test_a_picture_of_another_size_begins_anew(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "lobby", 7)
    small, large = lay(writer, 1), lay(writer, 2, 2 * WIDTH)
    assert (read(tmp_path, small), read(tmp_path, large)) == (None, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_closed_is_gone_and_nothing_of_a_killed_writer_stays(tmp_path: Path) -> None:
    killed, other, writer = (Writer(tmp_path, camera, epoch) for camera, epoch in (("a", 1), ("b", 1), ("a", 2)))
    before, beside = lay(killed, 1), lay(other, 2)
    after = lay(writer, 3)
    assert [read(tmp_path, picture) for picture in (before, beside, after)] == [None, 2, 3]
    writer.close()
    writer.close()
    assert read(tmp_path, after) is None
    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == ["b"]
    assert read(tmp_path, lay(writer, 4)) == 4
    Writer(tmp_path, "a", 3)
    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == ["b"]


def test_only_this_user_can_read_a_picture(tmp_path: Path) -> None:
    (file,) = (tmp_path / lay(Writer(tmp_path, "lobby", 7), 1).file,)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../secret"},
        {"file": "nothing.1.0"},
        {"place": -1},
        {"place": PLACES},
        {"turn": 2},
        {"width": 0},
        {"height": 2 * HEIGHT},
        {"width": 10**6, "height": 10**6},
    ],
)
def test_a_message_that_names_what_is_not_there_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(1000))
    picture = lay(Writer(folder, "lobby", 7), 1)
    assert shared_frames.read(folder, replace(picture, **wrong)) is None  # type: ignore[arg-type]
    assert read(folder, picture) == 1


def test_a_full_file_system_is_an_error_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, "lobby", 7)
    monkeypatch.setattr(os, "pwritev", lambda *_: 3)
    with pytest.raises(OSError, match="did not fit"):
        lay(writer, 1)


def test_a_place_is_the_same_for_who_sees_the_same_folder_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    (tmp_path / "link").symlink_to(one)
    assert shared_frames.place_of(one) == shared_frames.place_of(tmp_path / "link")
    assert len({shared_frames.place_of(folder) for folder in (one, other, None)}) == 3
    assert shared_frames.place_of(None) == ""


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_into_which_others_can_look_is_not_used(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir(mode=0o700)
    assert shared_frames.folder_of(str(folder)) == folder
    folder.chmod(mode)
    assert shared_frames.folder_of(str(folder)) is None
    assert "chmod 700" in caplog.text


def test_a_folder_that_is_missing_or_none_is_not_used(tmp_path: Path) -> None:
    assert shared_frames.folder_of("") is None
    assert shared_frames.folder_of(str(tmp_path / "nothing")) is None
    (tmp_path / "file").write_text("")
    assert shared_frames.folder_of(str(tmp_path / "file")) is None


def test_a_fresh_folder_is_empty_and_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir(mode=0o700)
    (folder / "left.1.0").write_bytes(b"x")
    with shared_frames.fresh(folder) as problem:
        assert problem == ""
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "lobby.1.0").write_bytes(b"x")
    assert not folder.exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / "frames").symlink_to(theirs)
    for folder in (theirs, tmp_path / "frames"):
        (theirs / "file").write_text("theirs")
        with shared_frames.fresh(folder) as problem:
            assert str(folder) in problem
        assert (theirs / "file").exists()
