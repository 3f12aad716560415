"""Frames go through memory to a detect that sees the same folder, and nothing stays there that should not."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.bus import until
from tests.integration.ingest.conftest import System

from aegis.contracts.messages import SiteState
from aegis.runtime import shared_frames
from aegis.vision.pictures import Planar, read_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "frames"
    made.mkdir(mode=0o700)
    return made


async def test_a_frame_is_laid_down_for_who_sees_the_folder(system: System, clip: Path, folder: Path) -> None:
    await system.site()
    await system.camera("door", f"file:{clip}", loop=True)
    async with system.ingest(frames_dir=str(folder)), system.readers(shared_frames.place_of(folder)):
        await until(lambda: any(frame.shared for frame in system.frames["door"]), "a frame lies in memory")

        def newest() -> bool:
            frame = system.frames["door"][-1]
            if frame.shared is None or (planes := shared_frames.read(folder, frame.shared)) is None:
                return False
            assert frame.jpeg == b""
            assert Planar(planes).shape == (480, 640)
            return bool(Planar(planes).bgr().std() > 20)

        await until(newest, "it can be read")
        assert len(list(folder.iterdir())) == 1
        await system.site(SiteState.DISARMED)
        await until(lambda: list(folder.iterdir()) == [], "disarmed, nothing stays")
        await system.site()
        await until(newest, "armed, frames come again")
        await system.remove("door")
        await until(lambda: list(folder.iterdir()) == [], "of a camera that is gone nothing stays")
        await system.camera("door", f"file:{clip}", loop=True)
        await until(newest, "it is there again")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", ["", "another.1.2"])
async def test_a_frame_goes_as_jpeg_to_who_does_not(system: System, clip: Path, folder: Path, place: str) -> None:
    await system.site()
    await system.camera("door", f"file:{clip}", loop=True)
    async with system.ingest(frames_dir=str(folder)), system.readers(place):
        await system.delivers("door", 5)
        assert all(frame.shared is None for frame in system.frames["door"])
        assert read_picture(system.frames["door"][-1].jpeg) is not None
        assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
async def test_without_room_frames_go_as_jpeg(system: System, clip: Path, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", folder], check=True)
    try:
        await system.site()
        await system.camera("door", f"file:{clip}", loop=True)
        async with system.ingest(frames_dir=str(folder)), system.readers(shared_frames.place_of(folder)):
            await until(lambda: "frames go as JPEG" in system.log.read_text(), "the log says so")
            await system.delivers("door", 5)
            assert all(frame.shared is None for frame in system.frames["door"])
    finally:
        subprocess.run(["umount", folder], check=True)
