"""What the command line makes of an address and of a photo before anything is asked."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from aegis.cli.errors import CommandError
from aegis.cli.requests import PHOTO_BYTES, camera_url, shrink


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.7/stream2",
        "rtsp://guard@10.0.0.7:8554/stream2?profile=1",
        "rtsps://[fe80::1]:322/a",
        "usb:/dev/video0",
        "usb:0",
        "whip:",
        "file:/clips/a.mp4",
    ],
)
def test_an_address_without_a_password_stays_as_it_is(url: str) -> None:
    assert camera_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://guard:hush@10.0.0.7/",
        "rtsp://guard:hush-${REST}@10.0.0.7/",
        "rtsp://guard:$hush@10.0.0.7/",
        "rtsp://:hush@10.0.0.7/",
        "rtsp://guard:hush[@10.0.0.7/",
        "rtsp://guard:hush/hush@10.0.0.7/",
        "http://guard:hush@10.0.0.7/",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REST", "hush")
    with pytest.raises(CommandError) as caught:
        camera_url(url)
    assert caught.value.code == 2
    assert "hush" not in str(caught.value)


def test_a_variable_is_filled_in_and_what_would_break_the_address_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOBBY", "p@ss/w:rd[#]?%")
    monkeypatch.setenv("HOST", "10.0.0.7")
    assert camera_url("rtsp://guard:${LOBBY}@${HOST}/a") == ("rtsp://guard:p%40ss%2Fw%3Ard%5B%23%5D%3F%25@10.0.0.7/a")


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOBBY", raising=False)
    with pytest.raises(CommandError, match="the environment variable LOBBY is not set") as caught:
        camera_url("rtsp://guard:${LOBBY}@10.0.0.7/")
    assert caught.value.code == 2


@pytest.mark.parametrize("typed", ["p@ss word\n", "p@ss word"])
def test_a_password_can_come_on_standard_input(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert camera_url("rtsp://guard:-@10.0.0.7:8554/a?b=1") == "rtsp://guard:p%40ss%20word@10.0.0.7:8554/a?b=1"


def test_a_file_becomes_absolute_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert camera_url("file:clips/a.mp4") == f"file:{tmp_path}/clips/a.mp4"
    assert camera_url("file:../a.mp4") == f"file:{tmp_path.parent}/a.mp4"


@pytest.mark.parametrize("url", ["", "10.0.0.7", "http://10.0.0.7/", "rtsp://", "file:", "usb:", "/clips/a.mp4"])
def test_what_is_no_camera_s_address_is_refused(url: str) -> None:
    with pytest.raises(CommandError) as caught:
        camera_url(url)
    assert caught.value.code == 2


def noise(rows: int, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 255, (rows, columns, 3), np.uint8)


def test_a_photo_that_is_small_enough_goes_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), noise(100, 100))
    assert shrink(path, PHOTO_BYTES) == path.read_bytes()


@pytest.mark.parametrize("limit", [PHOTO_BYTES, PHOTO_BYTES // 3])
def test_a_large_photo_is_made_to_fit_and_keeps_its_shape(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), noise(1500, 2000))
    data = shrink(path, limit)
    assert len(data) <= limit < path.stat().st_size
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] / image.shape[0] == pytest.approx(4 / 3, abs=0.01)


def test_what_cannot_be_made_to_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), noise(700, 700))
    with pytest.raises(CommandError, match=r"a\.png: cannot be made smaller than 1000 bytes; give fewer"):
        shrink(path, 1000)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "me.jpg"
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"me\.jpg: cannot be read as a picture"):
        shrink(path, PHOTO_BYTES)


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.jpg: No such file"):
        shrink(tmp_path / "none.jpg", PHOTO_BYTES)
    with pytest.raises(CommandError, match=r"Is a directory"):
        shrink(tmp_path, PHOTO_BYTES)
