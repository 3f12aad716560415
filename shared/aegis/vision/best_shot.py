"""Which looks of a track are worth an embedding: the first at once, a few others quickly, then only better ones."""

GATHER_S = 1.0
"""For this long after the first look, further ones are sent whatever they are like ..."""
GATHER_LOOKS = 4
"""... until this many have gone out: several looks together are better evidence than any one."""
GATHER_GAP_S = 0.15
"""Looks closer together than this differ too little to add evidence."""
ALIKE_GAP_S = 0.5
"""And those that show the face just as the one sent before did need so much: less waits for one that differs. Two
looks are needed where one alone is not clear enough, so a face that keeps still is not made to wait for the second."""
BETTER = 1.1
"""A look is clearly better from this multiple of the best quality sent on: from one frame to the next, the quality
of one and the same face varies by about 5 %."""
BETTER_GAP_S = 0.3
RESEND_S = 1.0


class BestShot:
    """The choice for one track. The caller keeps the images; times are seconds of any one clock."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._sent = 0
        self._best = 0.0

    def offer(self, quality_score: float, usable: bool, now: float, *, alike: bool = False) -> bool:  # noqa: FBT001 -- a fact of a look
        """Say whether the look that is at hand at ``now`` is to be sent on; True counts as sent.

        ``alike`` is whether it shows the face just as the look did that was sent before.
        """
        if not usable or not self._wanted(quality_score, now, ALIKE_GAP_S if alike else GATHER_GAP_S):
            return False
        if self._first is None:
            self._first = now
        self._last = now
        self._sent += 1
        self._best = max(self._best, quality_score)
        return True

    def resend_due(self, now: float) -> bool:
        """Say whether something is to be sent though nothing is better, after a silent second; True counts as sent."""
        due = self._first is not None and now - self._last >= RESEND_S
        if due:
            self._last = now
        return due

    def _wanted(self, quality_score: float, now: float, apart: float) -> bool:
        if self._first is None:
            return True
        gap = now - self._last
        gathering = now - self._first <= GATHER_S and self._sent < GATHER_LOOKS and gap >= apart
        return gathering or (gap >= BETTER_GAP_S and quality_score > self._best * BETTER)
