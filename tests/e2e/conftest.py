"""The people of the test clips: who is in which, and one frame of each clip as a photo."""

import json
from pathlib import Path

import av
import cv2
import pytest


class People:
    """Clips by person, and photos taken from clips."""

    def __init__(self, clips: Path, photos: Path) -> None:
        self.clips = clips
        self._photos = photos
        self.of: dict[str, list[str]] = json.loads((clips / "people.json").read_text())

    def clip(self, name: str) -> Path:
        return self.clips / name

    def photo(self, clip: str, frame: int = 10) -> Path:
        """Give one frame of a clip as a PNG file."""
        path = self._photos / f"{clip}-{frame}.png"
        if not path.exists():
            with av.open(str(self.clips / clip)) as container:
                for number, picture in enumerate(container.decode(video=0)):
                    if number == frame:
                        cv2.imwrite(str(path), picture.to_ndarray(format="bgr24"))
                        break
        return path


@pytest.fixture(scope="session")
def people(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(test_data / "clips", tmp_path_factory.mktemp("photos"))
