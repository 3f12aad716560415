"""How far this machine's clock is from the bus's, told from messages that come just after the bus stored them.

A message takes time to arrive and may wait, so the least difference of a minute is the best estimate: too high by as
much as the fastest message took, a millisecond or so.
"""

import datetime as dt
import time

from aegis.runtime import metrics

WINDOW_SECONDS = 60.0


class Offset:
    """The least difference of this window and the one before."""

    def __init__(self) -> None:
        self._until = 0.0
        self._before: float | None = None
        self._least: float | None = None

    def add(self, difference: float, now: float) -> float:
        """Take a difference in seconds at the monotonic time ``now``; give the estimate."""
        if now >= self._until:
            fresh = now < self._until + WINDOW_SECONDS
            self._before, self._least = self._least if fresh else None, None
            self._until = now + WINDOW_SECONDS
        self._least = difference if self._least is None else min(self._least, difference)
        return self._least if self._before is None else min(self._least, self._before)


_offset = Offset()


def note(stored: dt.datetime) -> None:
    """Take note of when the bus says that it stored a message which has just come."""
    metrics.CLOCK_OFFSET.set(_offset.add(time.time() - stored.timestamp(), time.monotonic()))
