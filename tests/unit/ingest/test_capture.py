"""Encoding frames and putting FFmpeg's errors into words."""

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from aegis.ingest import capture

MEBIBYTE = 1 << 20


def frame(width: int, height: int, *, noise: bool = False) -> VideoFrame:
    random = np.random.default_rng(7)
    pixels = (
        random.integers(0, 256, (height, width, 3), np.uint8) if noise else np.full((height, width, 3), 128, np.uint8)
    )
    return VideoFrame.from_ndarray(pixels, format="bgr24")


def size_of(jpeg: bytes) -> tuple[int, int]:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.shape[1], picture.shape[0]


def test_a_large_frame_is_sent_1280_wide() -> None:
    assert size_of(capture.encode(frame(1920, 1080), MEBIBYTE)) == (1280, 720)


@pytest.mark.parametrize("limit", [MEBIBYTE - 4096, 200_000, 60_000])
def test_the_worst_picture_still_fits(limit: int) -> None:
    jpeg = capture.encode(frame(1280, 1280, noise=True), limit)
    assert 0 < len(jpeg) <= limit


def test_what_cannot_fit_is_empty() -> None:
    assert capture.encode(frame(1280, 720, noise=True), 100) == b""


def test_no_error_quotes_the_address() -> None:
    for number in av.error.classes:
        with pytest.raises(av.FFmpegError) as caught:
            av.error.err_check(-number, "rtsp://user:secret@cam/live")
        said = capture.explain(caught.value)
        assert said
        assert "secret" not in said
