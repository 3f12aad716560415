"""Showing a person how far a model's download is: a bar on a terminal, a few lines in a log."""

from collections.abc import Callable
from typing import TextIO

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, the bytes so far, and the bytes in all where they are known."""

_MB = 1_000_000
_BAR_WIDTH = 30
_LOG_STEP_BYTES = 10 * _MB
"""Between two lines of a log while the size in all is unknown."""


def progress_bar(stream: TextIO) -> Progress:
    """Give a callback for ``model_sources.pull``: one moving line on a terminal, elsewhere a line each 10 %."""
    return _Bar(stream) if stream.isatty() else _Log(stream)


class _Bar:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._label = ""
        self._open = False

    def __call__(self, label: str, done: int, total: int | None) -> None:
        if label != self._label:
            # The label gets a line of its own: an address is long, and a bar that wraps cannot be redrawn.
            self._end_line()
            self._stream.write(f"{label}\n")
            self._label = label
        if done:
            self._stream.write(f"\r\x1b[K  {_drawn(done, total)}")
            self._open = True
        if done == total:
            self._end_line()
        self._stream.flush()

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
        self._open = False


class _Log:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._label = ""
        self._step = 0

    def __call__(self, label: str, done: int, total: int | None) -> None:
        if label != self._label:
            self._stream.write(f"{label}\n")
            self._label, self._step = label, 0
        step = done // _LOG_STEP_BYTES if total is None else 10 * done // total
        if step != self._step:
            self._stream.write(f"  {_counted(done, total)}\n")
            self._step = step
        self._stream.flush()


def _drawn(done: int, total: int | None) -> str:
    if total is None:
        return _counted(done, total)
    filled = _BAR_WIDTH * done // total
    return f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] {_counted(done, total)}"


def _counted(done: int, total: int | None) -> str:
    if total is None:
        return f"{done / _MB:.1f} MB"
    return f"{100 * done // total} % of {total / _MB:.1f} MB"
