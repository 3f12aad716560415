"""What keeps a provider from being hurried: a rate, and a breaker that leaves it alone while it is down. Pure."""

from collections.abc import Callable

FAILURES = 5
"""In a row, after which a provider counts as down."""
FIRST_REST, LONGEST_REST = 2.0, 30.0


class Rate:
    """A token bucket: ``rate`` hand-overs a second, one second's worth at once. Times are monotonic seconds."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._tokens = self._burst
        self._at = float("-inf")

    def take(self, now: float) -> float:
        """Take a turn and give how many seconds it has to wait for it."""
        if self._at > float("-inf"):
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)


class Breaker:
    """Whether a provider may be called. While it is down, one call at a time finds out whether it is back."""

    def __init__(self, changed: Callable[[bool], None] = lambda _: None) -> None:
        self._failures = 0
        self._rest = FIRST_REST
        self._until = float("-inf")
        self._trying = False
        self._changed = changed

    @property
    def down(self) -> bool:
        return self._failures >= FAILURES

    def wait(self, now: float) -> float:
        """Give the seconds to leave the provider alone; 0 lets this call through, and its outcome must be told."""
        if now < self._until:
            return self._until - now
        if not self.down:
            return 0.0
        if self._trying:
            return FIRST_REST / 2
        self._trying = True
        return 0.0

    def worked(self) -> None:
        """Take note of a provider that answered, be it with a refusal of this one message."""
        was_down, self._failures, self._rest, self._trying = self.down, 0, FIRST_REST, False
        if was_down:
            self._changed(False)  # noqa: FBT003 - it is all there is to say

    def failed(self, now: float, after: float | None = None) -> None:
        """Take note of a failure that is the provider's; ``after`` is how long it asked to be left alone."""
        trial, self._trying = self._trying, False
        self._failures += 1
        if after is not None:
            self._until = max(self._until, now + after)
        # Of several calls that were on their way when it went down, only the first says anything new.
        if self._failures == FAILURES or (self.down and trial):
            self._until = max(self._until, now + self._rest)
            self._rest = min(LONGEST_REST, 2 * self._rest)
        if self._failures == FAILURES:
            self._changed(True)  # noqa: FBT003
