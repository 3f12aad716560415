import contextlib
import io
import os

from aegis.runtime.model_progress import progress_bar


def test_a_log_gets_a_line_each_tenth() -> None:
    stream = io.StringIO()
    show = progress_bar(stream)
    show("m: from here", 0, None)
    for done in range(0, 2_000_001, 1000):
        show("m: from here", done, 2_000_000)
    lines = stream.getvalue().splitlines()
    assert lines == ["m: from here", *(f"  {percent} % of 2.0 MB" for percent in range(10, 101, 10))]


def test_a_log_of_an_unknown_size_gets_a_line_each_ten_megabytes() -> None:
    stream = io.StringIO()
    show = progress_bar(stream)
    for done in range(0, 25_000_000, 100_000):
        show("m: the whole wheel", done, None)
    show("m: not from there: it answered 404", 0, None)
    assert stream.getvalue().splitlines() == [
        "m: the whole wheel",
        "  10.0 MB",
        "  20.0 MB",
        "m: not from there: it answered 404",
    ]


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
