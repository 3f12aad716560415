from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aegis.vision.best_shot import BestShot


def sent(offers: list[tuple[float, float]]) -> list[float]:
    """Times of those (quality, time) offers that were taken."""
    choice = BestShot()
    return [now for quality, now in offers if choice.offer(quality, True, now)]


def test_the_first_usable_look_goes_at_once_and_no_unusable_one_ever() -> None:
    choice = BestShot()
    assert not choice.offer(0.9, False, 5.0)
    assert choice.offer(0.1, True, 5.0)
    assert not choice.offer(1.0, False, 6.0)


def test_a_second_of_equal_looks_gives_four_well_apart() -> None:
    assert sent([(0.5, k / 100) for k in range(200)]) == [0.0, 0.15, 0.30, 0.45]
    assert sent([(0.5, k / 5) for k in range(20)]) == [0.0, 0.2, 0.4, 0.6]
    assert sent([(0.5, k / 2) for k in range(20)]) == [0.0, 0.5, 1.0]


def test_looks_that_are_alike_need_longer_and_a_better_one_does_not() -> None:
    choice = BestShot()
    taken = [k / 5 for k in range(8) if choice.offer(0.5, True, k / 5, alike=True)]
    assert taken == [0.0, 0.6]
    assert choice.offer(0.6, True, 1.6, alike=True)


def test_later_only_a_clearly_better_look_goes() -> None:
    choice = BestShot()
    for k in range(6):
        choice.offer(0.5, True, k / 5)
    assert not choice.offer(0.54, True, 3.0)
    assert choice.offer(0.56, True, 3.1)
    assert not choice.offer(0.9, True, 3.3), "too soon after the last"
    assert choice.offer(0.9, True, 3.45)
    assert not choice.offer(0.9, True, 9.0)


def test_something_is_due_after_a_quiet_second() -> None:
    choice = BestShot()
    assert not choice.resend_due(100.0), "nothing has been sent"
    choice.offer(0.5, True, 100.0)
    assert not choice.resend_due(100.9)
    assert choice.resend_due(101.0)
    assert not choice.resend_due(101.9), "sending it again counts"
    assert choice.resend_due(102.1)
    choice.offer(0.9, True, 103.0)
    assert not choice.resend_due(103.5)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 0.5)), max_size=80))
def test_looks_are_never_sent_faster_than_promised(steps: list[tuple[float, float]]) -> None:
    now, offers = 0.0, []
    for quality, wait in steps:
        now += wait
        offers.append((quality, now))
    times = sent(offers)
    assert bool(times) == bool(offers)
    assert all(later - earlier >= 0.15 for earlier, later in pairwise(times))
    # From 0.01 to 1 there is room for 48 steps of a tenth.
    assert len(times) <= 4 + 48
