"""No face that is found when all of every look is searched is lost when what stands still is passed over."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.ingest.gating import compare

from aegis.detect.finder import Finder
from aegis.runtime.faces import FRAME_WIDTH


@pytest.fixture(scope="module")
def finder(models_dir: Path) -> Finder:
    return Finder(models_dir, "cpu", FRAME_WIDTH)


@pytest.mark.parametrize(("name", "searched"), [("hallway.mp4", 0.5), ("again.mkv", 0.95), ("eat.mkv", 1.0)])
def test_nobody_is_lost_in_a_real_clip(name: str, searched: float, test_data: Path, finder: Finder) -> None:
    compared = compare(test_data / "clips" / name, finder)
    assert compared.tracks > 0
    assert compared.unseen == 0
    assert compared.lost == []
    assert compared.slowest <= 0.2
    assert compared.searched <= searched


@pytest.mark.parametrize("rate", ["vbr", "cbr"])
def test_nobody_is_lost_on_a_camera_that_mostly_stands_still(
    rate: str, test_data: Path, finder: Finder, tmp_path: Path
) -> None:
    options = ["--seconds", "14", "--occupied", "0.2", "--cameras", "1", "--rate", rate, "--crf", "27"]
    subprocess.run([sys.executable, test_data / "make_clips.py", "--out", tmp_path, *options], check=True)
    compared = compare(tmp_path / "cam-0.mp4", finder)
    assert compared.found
    assert compared.lost == []
    assert compared.slowest <= 0.2
    assert compared.looked < 0.7 * compared.due
    assert (compared.telling > 0) == (rate == "vbr")
    assert compared.decoded < (0.6 if rate == "vbr" else 0.7) * compared.packets
