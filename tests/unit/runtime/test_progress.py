import contextlib
import io
import itertools
import os

from aegis.runtime.progress import progress_bar


def told(amounts: range, total: int | None) -> list[str]:
    """Give the lines of a log of which each step took a tenth of a second."""
    stream, times = io.StringIO(), itertools.count()
    show = progress_bar(stream, clock=lambda: next(times) / 10)
    for done in amounts:
        show("m: from here", done, total)
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_each_five_seconds_and_the_last() -> None:
    assert told(range(0, 1_200_001, 10_000), 1_200_000) == [
        "m: from here",
        "  41 % of 1.2 MB",
        "  83 % of 1.2 MB",
        "  100 % of 1.2 MB",
    ]


def test_a_log_of_an_unknown_size_says_how_much_there_is() -> None:
    assert told(range(0, 12_000_000, 100_000), None) == ["m: from here", "  5.0 MB", "  10.0 MB"]


def test_a_log_gets_every_new_label_at_once() -> None:
    stream = io.StringIO()
    show = progress_bar(stream, lambda count: f"{count} photos", lambda: 0.0)
    show("looking", 0, 3)
    show("looking", 1, 3)
    show("looking", 3, 3)
    show("not from there: it answered 404", 0, None)
    assert stream.getvalue().splitlines() == ["looking", "  100 % of 3 photos", "not from there: it answered 404"]


def test_a_terminal_gets_one_line_that_is_drawn_again() -> None:
    screen, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        show = progress_bar(stream)
        show("m: from here", 0, None)
        for done in (500_000, 1_000_000):
            show("m: from here", done, 1_000_000)
    drawn = ""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while part := os.read(screen, 4096):
            drawn += part.decode()
    os.close(screen)
    assert drawn.split("\r\n") == [
        "m: from here",
        f"\r\x1b[K  [{'#' * 15}{'-' * 15}] 50 % of 1.0 MB\r\x1b[K  [{'#' * 30}] 100 % of 1.0 MB",
        "",
    ]
