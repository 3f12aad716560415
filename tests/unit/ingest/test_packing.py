"""What is sent of a frame: its planes through memory, or a JPEG."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from aegis.ingest import packing
from aegis.runtime import shared_frames
from aegis.runtime.shared_frames import Writer
from aegis.vision.pictures import Planar

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
    assert size_of(packing.encode(frame(1920, 1080), MEBIBYTE)) == (1280, 720)


@pytest.mark.parametrize("limit", [MEBIBYTE - 4096, 200_000, 60_000])
def test_the_worst_picture_still_fits(limit: int) -> None:
    jpeg = packing.encode(frame(1280, 1280, noise=True), limit)
    assert 0 < len(jpeg) <= limit


def test_what_cannot_fit_is_empty() -> None:
    assert packing.encode(frame(1280, 720, noise=True), 100) == b""


def scene(width: int, height: int) -> VideoFrame:
    """Draw something smooth in colours, as a picture of a camera is."""
    across, down = np.meshgrid(np.linspace(0, 220, width), np.linspace(0, 220, height))
    return VideoFrame.from_ndarray(np.dstack([across, down, 220 - across]).astype(np.uint8), format="bgr24")


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuyv422", "nv12", "rgb24"])
@pytest.mark.parametrize(
    ("size", "sent"), [((1280, 720), (1280, 720)), ((1920, 1080), (1280, 720)), ((645, 363), (646, 364))]
)
def test_planes_are_read_as_they_were_laid_down_whatever_the_camera_s_format(
    tmp_path: Path, pixels: str, size: tuple[int, int], sent: tuple[int, int]
) -> None:
    frame = scene(*size)
    picture = packing.share(frame.reformat(format=pixels), Writer(tmp_path, "lobby", 7))
    assert (picture.width, picture.height) == sent
    planes = shared_frames.read(tmp_path, picture)
    assert planes is not None
    read = Planar(planes)
    assert read.shape == (sent[1], sent[0])
    whole = frame.to_ndarray(format="bgr24", width=sent[0], height=sent[1])
    assert np.abs(read.bgr().astype(int) - whole).mean() < 3
