"""What the sizes of a camera's packets say."""

import random

import pytest

from aegis.ingest.gate import DISTRUST_SECONDS, LONGEST_DISTRUST, PacketGate

KEY = 60_000


def learnt(*sizes: int, key: int = KEY) -> PacketGate:
    """Give a gate that saw sizes during stillness, in groups of fifty."""
    gate = PacketGate()
    for number, size in enumerate(sizes):
        if number % 50 == 0:
            gate.keyframe(key, 50)
        gate.still(size)
    return gate


@pytest.mark.parametrize("idle", [46, 100, 200])
def test_small_packets_of_stillness_tell(idle: int) -> None:
    gate = learnt(*[idle] * 100)
    assert gate.telling(10.0, 1.0)
    assert not gate.jumped(idle)
    assert not gate.jumped(round(1.2 * idle))
    assert gate.jumped(2 * idle + 64)


def test_nothing_is_told_before_enough_was_learnt() -> None:
    assert not PacketGate().telling(0.0, 1.0)
    assert not learnt(*[46] * 10).telling(0.0, 1.0)
    without_keyframe = PacketGate()
    for _ in range(100):
        without_keyframe.still(46)
    assert not without_keyframe.telling(0.0, 1.0)


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_constant_rate_tells_nothing(spread: float) -> None:
    chance = random.Random(5)
    sizes = [round(8000 * chance.uniform(1 - spread, 1 + spread)) for _ in range(200)]
    assert not learnt(*sizes, key=25_000).telling(10.0, 1.0)


def test_a_rare_outlier_of_stillness_does_not_deafen() -> None:
    gate = learnt(*[100] * 255, 20_000)
    assert gate.telling(10.0, 1.0)
    assert gate.jumped(300)


def test_old_sizes_are_forgotten() -> None:
    gate = learnt(*[5000] * 256)
    assert not gate.telling(10.0, 1.0)
    for _ in range(256):
        gate.still(100)
    assert gate.telling(20.0, 1.0)


def test_a_gate_that_failed_is_trusted_again_later_each_time() -> None:
    gate = learnt(*[100] * 100)
    when, waited = 0.0, []
    for _ in range(10):
        gate.failed(when)
        assert not gate.telling(when, 1.0)
        for _ in range(100):
            gate.still(100)
        since = when
        while not gate.telling(when, 1.0):
            when += DISTRUST_SECONDS / 2
        waited.append(when - since)
    assert waited[:3] == [DISTRUST_SECONDS, 2 * DISTRUST_SECONDS, 4 * DISTRUST_SECONDS]
    assert waited[-1] == LONGEST_DISTRUST


def test_a_group_that_ends_before_its_time_is_noticed() -> None:
    gate = PacketGate()
    for _ in range(8):
        gate.keyframe(KEY, 50)
    assert gate.early(20)
    assert not gate.early(50)
    assert not gate.early(49)


def test_pictures_out_of_order_may_be_larger() -> None:
    gate = learnt(*[600] * 100)
    assert not gate.telling(10.0, 1.0)
    assert gate.telling(10.0, 0.25)
