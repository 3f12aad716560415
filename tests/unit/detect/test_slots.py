"""The newest frame of each camera, in turn."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.detect.core import Slots

CAMERAS = "abcde"


def test_the_newest_wins_and_the_camera_keeps_its_turn() -> None:
    slots: Slots[str] = Slots()
    assert slots.take() is None
    assert not slots.put("a", "a1")
    assert not slots.put("b", "b1")
    assert slots.put("a", "a2")
    assert len(slots) == 2
    assert [slots.take(), slots.take(), slots.take()] == ["a2", "b1", None]


def test_a_camera_that_is_dropped_has_no_frame() -> None:
    slots: Slots[str] = Slots()
    slots.put("a", "a1")
    slots.put("b", "b1")
    slots.drop("a")
    slots.drop("never there")
    assert [slots.take(), slots.take()] == ["b1", None]


@given(st.lists(st.one_of(st.sampled_from(CAMERAS), st.none()), max_size=200))
def test_whatever_comes_nobody_waits_longer_than_a_round(steps: list[str | None]) -> None:
    """A camera's name is a frame of it, None is a turn of the detector; cameras flood as they like."""
    slots: Slots[tuple[str, int]] = Slots()
    newest: dict[str, int] = {}
    waited: dict[str, int] = {}
    for number, camera in enumerate(steps):
        if camera is not None:
            assert slots.put(camera, (camera, number)) == (camera in newest)
            newest[camera] = number
            waited.setdefault(camera, 0)
            continue
        taken = slots.take()
        if taken is None:
            assert not newest
            continue
        name, frame = taken
        assert frame == newest.pop(name)
        del waited[name]
        for other in list(waited):
            waited[other] += 1
            assert waited[other] < len(CAMERAS)
    assert len(slots) == len(newest)


def test_a_flood_costs_the_others_no_turn() -> None:
    slots: Slots[str] = Slots()
    served = []
    for turn in range(40):
        for _ in range(100):
            slots.put("flood", "flood")
        if turn % 2 == 0:
            slots.put("quiet", "quiet")
        served.append(slots.take())
    assert served.count("quiet") == 20


@pytest.mark.parametrize("seed", range(5))
def test_above_capacity_turns_are_even_whenever_frames_come(seed: int) -> None:
    interval = 40
    phases = random.Random(seed).choices(range(interval), k=8)
    slots: Slots[int] = Slots()
    served: Counter[int] = Counter()
    for tick in range(8_000):
        for camera, phase in enumerate(phases):
            if tick % interval == phase:
                slots.put(str(camera), camera)
        if tick % 11 == 0 and (camera_served := slots.take()) is not None:
            served[camera_served] += 1
    assert len(served) == len(phases)
    assert max(served.values()) - min(served.values()) <= 2
