"""The coarse pattern of a face: the same from one view to the next, another one for somebody else."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.detect.finder import Finder
from aegis.vision.alignment import align
from aegis.vision.likeness import SIDE, likeness, pattern
from aegis.vision.pictures import Coloured

Chip = NDArray[np.uint8]


@pytest.fixture(scope="module")
def chips(test_data: Path, models_dir: Path) -> dict[str, list[Chip]]:
    """Give each of two people's aligned faces, five a second."""
    finder = Finder(models_dir, "cpu", 640)
    found: dict[str, list[Chip]] = {}
    for name in ("again.mkv", "eat.mkv"):
        with av.open(str(test_data / "clips" / name)) as container:
            images = [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in container.decode(video=0)][::6]
        found[name] = [align(image, faces[0].landmarks) for image in images if (faces := finder.find(Coloured(image)))]
    return found


def test_successive_views_of_one_person_are_alike_and_two_people_are_not(chips: dict[str, list[Chip]]) -> None:
    one, other = chips.values()
    assert min(len(one), len(other)) >= 5
    for views in (one, other):
        patterns = [pattern(chip) for chip in views]
        successive = [likeness(a, b) for a, b in pairwise(patterns)]
        assert np.median(successive) > 0.85
    assert np.median([likeness(pattern(a), pattern(b)) for a in one for b in other]) < 0.6


def test_light_and_contrast_do_not_count(chips: dict[str, list[Chip]]) -> None:
    chip = chips["eat.mkv"][0]
    dim = np.asarray(chip * 0.5 + 20, np.uint8)
    assert likeness(pattern(chip), pattern(dim)) > 0.99


def test_a_chip_without_any_pattern_is_like_nothing() -> None:
    flat = pattern(np.full((112, 112, 3), 128, np.uint8))
    assert flat.shape == (SIDE, SIDE)
    assert likeness(flat, flat) == 0
