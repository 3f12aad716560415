"""Which part of a picture is searched."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.vision.searching import MARGIN, QUIET_SECONDS, WHOLE_SECONDS, Part, Searching

Image = NDArray[np.uint8]
ROWS, COLUMNS = 360, 640
ALL = (0, 0, COLUMNS, ROWS)
NOTHING = (0, 0, 0, 0)


def scene(seed: int = 0, noise: float = 0.0) -> Image:
    """Give a textured wall with noise that is fresh for each seed."""
    wall = np.random.default_rng(9).uniform(40, 200, (ROWS // 8, COLUMNS // 8, 1)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(wall + np.random.default_rng(seed).normal(0, noise, (ROWS, COLUMNS, 3)), 0, 255).astype(np.uint8)


def with_somebody(picture: Image, left: int, top: int, side: int = 40, contrast: int = 30) -> Image:
    there = picture.copy()
    there[top : top + side, left : left + side] += np.uint8(contrast)
    return there


@pytest.fixture
def searching() -> Searching:
    begun = Searching()
    assert begun.part(scene(), [], 0.0) == ALL, "nothing was seen before"
    begun.found(anybody=True)
    return begun


def holds(part: Part, left: int, top: int, side: int, around: int) -> bool:
    x, y, right, bottom = part
    return (
        x <= max(0, left - around)
        and y <= max(0, top - around)
        and right >= min(COLUMNS, left + side + around)
        and bottom >= min(ROWS, top + side + around)
    )


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_where_nothing_changed_and_nobody_is_known_nothing_is_searched(searching: Searching, noise: float) -> None:
    searching.part(scene(0, noise), [], WHOLE_SECONDS)
    searching.found(anybody=True)
    assert [searching.part(scene(n, noise), [], WHOLE_SECONDS + n / 10) for n in range(1, 9)] == [NOTHING] * 8


@pytest.mark.parametrize("noise", [0.0, 4.0])
@pytest.mark.parametrize(("left", "top"), [(0, 0), (100, 50), (301, 173), (600, 320)])
def test_what_changed_is_searched_with_a_margin_and_on_the_grid(
    searching: Searching, noise: float, left: int, top: int
) -> None:
    searching.part(scene(0, noise), [], WHOLE_SECONDS)
    searching.found(anybody=True)
    part = searching.part(with_somebody(scene(1, noise), left, top), [], WHOLE_SECONDS + 0.2)
    assert holds(part, left, top, 40, MARGIN)
    assert part[0] % 32 == part[1] % 32 == 0
    assert all(end % 32 == 0 or end == most for end, most in zip(part[2:], (COLUMNS, ROWS), strict=True))
    assert (part[2] - part[0]) * (part[3] - part[1]) < ROWS * COLUMNS / 4


def test_where_somebody_was_is_searched_as_well_as_where_he_is(searching: Searching) -> None:
    searching.part(with_somebody(scene(), 100, 100), [], 0.2)
    part = searching.part(with_somebody(scene(), 180, 100), [], 0.4)
    assert holds(part, 100, 100, 40, MARGIN)
    assert holds(part, 180, 100, 40, MARGIN)


def test_known_faces_are_searched_though_they_keep_still(searching: Searching) -> None:
    assert holds(searching.part(scene(), [(300.0, 100.0, 60.0, 60.0)], 0.2), 300, 100, 60, 30 + MARGIN)
    outside = searching.part(scene(), [(-90.0, -90.0, 60.0, 60.0)], 0.4)
    assert outside[2] <= 64
    assert outside[3] <= 64


def test_what_changes_slowly_adds_up(searching: Searching) -> None:
    parts = [searching.part(with_somebody(scene(), 300, 100, contrast=n), [], n / 10) for n in range(9)]
    assert parts[1:4] == [NOTHING] * 3
    assert any(holds(part, 300, 100, 40, MARGIN) for part in parts)


def test_what_was_not_searched_is_still_due_later(searching: Searching) -> None:
    searching.part(with_somebody(scene(), 300, 100, contrast=3), [(0.0, 0.0, 40.0, 40.0)], 0.2)
    assert holds(searching.part(with_somebody(scene(), 300, 100, contrast=6), [], 0.4), 300, 100, 40, MARGIN)


def test_the_whole_is_searched_again_and_again_and_when_time_jumps_back(searching: Searching) -> None:
    step, whole = WHOLE_SECONDS / 5, []
    for n in range(1, 30):
        if searching.part(scene(), [], n * step) == ALL:
            whole.append(n)
            searching.found(anybody=True)
    assert whole == [5, 10, 15, 20, 25]
    assert searching.part(scene(), [], 3.0) == ALL


def whole_at(searching: Searching, picture: Image, since: float, until: float) -> list[float]:
    times = np.arange(since, until, 0.5)
    return [float(now) for now in times if searching.part(picture, [], float(now)) == ALL]


def test_the_whole_in_which_nobody_was_is_searched_less_often_until_something_changes(searching: Searching) -> None:
    assert whole_at(searching, scene(), 0.5, 40.0) == [WHOLE_SECONDS + n * QUIET_SECONDS for n in range(3)]
    changed = with_somebody(scene(), 300, 100)
    assert whole_at(searching, changed, 40.0, 60.0) == [40.0, 40.0 + QUIET_SECONDS]


def test_where_somebody_keeps_still_the_whole_is_searched_as_often_as_ever(searching: Searching) -> None:
    searching.found(anybody=False)
    searching.found(anybody=True)
    assert whole_at(searching, scene(), 0.5, 3.0) == [WHOLE_SECONDS], "it was not nobody"
    searching.part(scene(), [(300.0, 100.0, 60.0, 60.0)], 3.0)
    assert whole_at(searching, scene(), 3.5, 6.0) == [2 * WHOLE_SECONDS], "a face is followed"


AFTER = {
    "another light": scene() // 2,
    "fewer rows": scene()[:-8],
    "fewer columns": scene()[:, :-8],
    "two people": with_somebody(with_somebody(scene(), 0, 0), 600, 320),
}


@pytest.mark.parametrize("case", AFTER)
def test_another_light_or_size_and_people_all_over_have_the_whole_searched(searching: Searching, case: str) -> None:
    after = AFTER[case]
    assert searching.part(after, [], 0.2) == (0, 0, after.shape[1], after.shape[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (33, 31), (720, 1280)])
def test_a_picture_of_any_size_can_be_searched(shape: tuple[int, int]) -> None:
    searching, picture = Searching(), np.full((*shape, 3), 90, np.uint8)
    assert searching.part(picture, [], 0.0) == (0, 0, shape[1], shape[0])
    assert searching.part(picture, [], 0.2) == NOTHING
    left, top, right, bottom = searching.part(picture, [(0.0, 0.0, 10.0, 10.0)], 0.4)
    assert (left, top) == (0, 0)
    assert 0 < right <= shape[1]
    assert 0 < bottom <= shape[0]
