"""Showing a person how far something long is: a bar on a terminal, a line every few seconds in a log."""

import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and how much there is where that is known."""

_MB = 1_000_000
_BAR_WIDTH = 30
_LOG_SECONDS = 5.0


def megabytes(count: int) -> str:
    return f"{count / _MB:.1f} MB"


def progress_bar(
    stream: TextIO,
    amount: Callable[[int], str] = megabytes,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Give a callback: one moving line on a terminal, elsewhere a line every five seconds and at the end.

    ``amount`` puts a count into words, unit included; ``clock`` gives seconds.
    """
    return _Bar(stream, amount) if stream.isatty() else _Log(stream, amount, clock)


class _Bar:
    def __init__(self, stream: TextIO, amount: Callable[[int], str]) -> None:
        self._stream = stream
        self._amount = amount
        self._label = ""
        self._open = False

    def __call__(self, label: str, done: int, total: int | None) -> None:
        if label != self._label:
            # The label gets a line of its own: an address is long, and a bar that wraps cannot be redrawn.
            self._end_line()
            self._stream.write(f"{label}\n")
            self._label = label
        if done:
            self._stream.write(f"\r\x1b[K  {self._drawn(done, total)}")
            self._open = True
        if done == total:
            self._end_line()
        self._stream.flush()

    def _drawn(self, done: int, total: int | None) -> str:
        counted = _counted(done, total, self._amount)
        if not total:
            return counted
        filled = _BAR_WIDTH * done // total
        return f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] {counted}"

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
        self._open = False


class _Log:
    def __init__(self, stream: TextIO, amount: Callable[[int], str], clock: Callable[[], float]) -> None:
        self._stream = stream
        self._amount = amount
        self._clock = clock
        self._label = ""
        self._told = 0.0

    def __call__(self, label: str, done: int, total: int | None) -> None:
        now = self._clock()
        if label != self._label:
            self._stream.write(f"{label}\n")
            self._label, self._told = label, now
        if done and (done == total or now - self._told >= _LOG_SECONDS):
            self._stream.write(f"  {_counted(done, total, self._amount)}\n")
            self._told = now
        self._stream.flush()


def _counted(done: int, total: int | None, amount: Callable[[int], str]) -> str:
    return f"{100 * done // total} % of {amount(total)}" if total else amount(done)
