"""What counts as a change of the picture, and when it is worth a look."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision.motion import COLUMNS, LINGER_SECONDS, Motion, changed, shrink

Grey = NDArray[np.float32]
ROWS = 90


def scene(noise: float = 0.0, seed: int = 0, light: float = 0.0) -> Grey:
    """Give a textured wall on which the noise is fresh for each seed."""
    wall = np.random.default_rng(9).uniform(40, 200, (ROWS, COLUMNS))
    return np.asarray(wall + light + np.random.default_rng(seed).normal(0, noise, wall.shape), np.float32)


def with_somebody(picture: Grey, contrast: float, side: int = 3) -> Grey:
    there = picture.copy()
    there[40 : 40 + side, 70 : 70 + side] += contrast
    return there


def test_a_picture_is_shrunk_to_its_shape() -> None:
    assert shrink(np.zeros((720, 1280), np.uint8)).shape == (90, COLUMNS)
    assert shrink(np.zeros((1280, 720), np.uint8)).shape == (284, COLUMNS)
    assert shrink(np.zeros((4, 4000), np.uint8)).shape == (1, COLUMNS)
    assert shrink(np.full((48, 64), 77, np.uint8)).mean() == 77


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_noise_is_no_change(noise: float) -> None:
    assert not any(changed(scene(noise, 0), scene(noise, seed)) for seed in range(1, 200))


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("contrast", [-12.0, 12.0])
def test_a_face_far_away_is_a_change(noise: float, contrast: float) -> None:
    assert all(changed(scene(noise, 0), with_somebody(scene(noise, seed), contrast)) for seed in range(1, 50))


@pytest.mark.parametrize("light", [-3.0, 3.0])
def test_somebody_is_seen_while_the_light_changes(light: float) -> None:
    assert not changed(scene(0.3, 0), scene(0.3, 1, light))
    assert changed(scene(0.3, 0), with_somebody(scene(0.3, 1, light), 12))


def test_another_light_or_size_is_a_change() -> None:
    assert changed(scene(), scene(light=20))
    assert changed(scene(), scene(light=-20))
    assert changed(scene(), scene()[:-1])
    assert changed(None, scene())


def test_a_flickering_cell_is_no_change() -> None:
    lamp = scene()
    lamp[3, 3] += 100
    assert not changed(scene(), lamp)


def test_what_stands_still_is_looked_at_at_the_beat() -> None:
    motion = Motion(5.0)
    looked = [number / 5 for number in range(100) if motion.look(scene(0.3, number), number / 5)[0]]
    still = [when for when in looked if when > LINGER_SECONDS]
    assert len(still) >= 3
    assert np.diff(still) == pytest.approx(5.0)


def test_what_moves_is_looked_at_throughout_and_a_while_longer() -> None:
    motion = Motion(5.0)
    for number in range(10):
        motion.look(scene(), number / 5)
    moving = [motion.look(with_somebody(scene(), 10 * (1 + number % 2)), 2 + number / 5) for number in range(10)]
    assert moving == [(True, True)] * 10
    stopped = [motion.look(with_somebody(scene(), 20), 4.0 + number / 5) for number in range(10)]
    assert stopped == [(number <= 1, False) for number in range(10)]


@pytest.mark.parametrize("seconds", [2, 10])
def test_who_comes_slowly_out_of_the_dark_is_noticed(seconds: int) -> None:
    motion = Motion(5.0)
    motion.look(scene(0.3, 0), 0.0)
    contrasts = np.linspace(0, 60, seconds * 5)
    moved = [
        motion.look(with_somebody(scene(0.3, number), float(contrast)), 0.2 * number)[1]
        for number, contrast in enumerate(contrasts, 1)
    ]
    assert contrasts[moved.index(True)] < 12


def test_a_clock_that_is_set_back_costs_one_look() -> None:
    motion = Motion(5.0)
    motion.look(scene(), 1000.0)
    assert [motion.look(scene(), when) for when in (1.0, 1.2, 1.4, 6.2)] == [
        (True, False),
        (False, False),
        (False, False),
        (True, False),
    ]
