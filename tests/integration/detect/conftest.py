"""One detect process for all tests; each test has cameras of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import av
import cv2
import pytest
from tests.integration.match.world import Process, World, joined, serving


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder through which frames go."""
    folder = tmp_path_factory.mktemp("frames")
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, models_dir: Path, frames: Path) -> Iterator[Process]:
    settings = {"AEGIS_MODELS_DIR": str(models_dir), "AEGIS_PROVIDER": "cpu", "AEGIS_FRAMES_DIR": str(frames)}
    with serving("detect", tmp_path_factory.mktemp("detect"), **settings) as running:
        yield running


@pytest.fixture
async def world(process: Process) -> AsyncIterator[World]:
    async with joined(process, World) as world:
        await world.site()
        yield world


@pytest.fixture(scope="session")
def portrait(test_data: Path) -> bytes:
    """A frame with one face."""
    with av.open(str(test_data / "clips" / "eat.mkv")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    return cv2.imencode(".jpg", image)[1].tobytes()
