"""The least difference of a minute stands for how far the clocks are apart."""

from aegis.runtime.clock import WINDOW_SECONDS, Offset


def test_a_message_that_waited_does_not_count() -> None:
    offset = Offset()
    assert offset.add(0.3, 0.0) == 0.3
    assert offset.add(0.002, 1.0) == 0.002
    assert offset.add(4.0, 2.0) == 0.002


def test_a_clock_that_is_behind_is_told_at_once() -> None:
    offset = Offset()
    offset.add(0.002, 0.0)
    assert offset.add(-5.0, 1.0) == -5.0


def test_a_clock_that_was_set_right_is_believed_after_two_windows_at_most() -> None:
    offset = Offset()
    offset.add(-5.0, 0.0)
    assert offset.add(0.001, WINDOW_SECONDS - 1) == -5.0
    assert offset.add(0.001, WINDOW_SECONDS + 1) == -5.0, "the window before still counts"
    assert offset.add(0.001, 2 * WINDOW_SECONDS + 1) == 0.001


def test_what_is_older_than_the_window_before_does_not_count() -> None:
    offset = Offset()
    offset.add(-5.0, 0.0)
    assert offset.add(0.001, 10 * WINDOW_SECONDS) == 0.001
