"""Whether a camera's packets say by their sizes alone that nothing moves, so that they need not be decoded. Pure.

A camera with variable rate spends almost nothing on a picture that stays the same. What it spends then differs from
camera to camera by a factor of three hundred, so it is learnt; and where the sizes turn out to say nothing, as on a
camera with constant rate, they are not trusted.
"""

from collections import deque

LEARNT = 256
"""Sizes of packets during stillness that are remembered: about ten seconds."""
ENOUGH = 25
LOUDER = 1.5
"""How much larger than nearly all of them a packet must be to mean that something moves ..."""
LOUDER_BYTES = 64
"""... and by so many bytes more, since an idle packet can be 46 bytes of headers."""
KEY_SHARE = 0.0075
"""Somebody who comes into view costs more than this share of the bytes of a whole picture, a person who covers a
hundredth of it one half. Where stillness does, too, sizes cannot tell them apart."""
EARLY = 0.9
DISTRUST_SECONDS, LONGEST_DISTRUST = 60.0, 3600.0


class PacketGate:
    """What one camera's packet sizes mean."""

    def __init__(self) -> None:
        self._still: deque[int] = deque(maxlen=LEARNT)
        self._limit: float | None = None
        self._keys: deque[int] = deque(maxlen=8)
        self._groups: deque[int] = deque(maxlen=8)
        self._distrust = DISTRUST_SECONDS
        self._distrusted_until = float("-inf")

    @property
    def limit(self) -> float:
        """Bytes beyond which a packet between keyframes means that something moves."""
        # Asked for with every packet, and another one only when something was learnt.
        if self._limit is None:
            ordered = sorted(self._still)
            self._limit = LOUDER * ordered[int(0.99 * (len(ordered) - 1))] + LOUDER_BYTES if ordered else 0.0
        return self._limit

    def telling(self, when: float, forward: float) -> bool:
        """Say whether sizes can be relied on at ``when`` seconds.

        ``forward`` is the share of packets that lead on in time: the fewer, the more has moved from one to the next.
        """
        if when < self._distrusted_until or len(self._still) < ENOUGH or not self._keys:
            return False
        return self.limit * forward <= KEY_SHARE * sorted(self._keys)[len(self._keys) // 2]

    def keyframe(self, size: int, group: int) -> None:
        """Take note of the size of a whole picture, and of how many packets the group has that ends with it."""
        self._keys.append(size)
        self._groups.append(group)

    def early(self, group: int) -> bool:
        """Tell whether a group ended before its time: an encoder makes a keyframe of a picture that is all new."""
        return group < EARLY * sorted(self._groups)[len(self._groups) // 2]

    def still(self, size: int) -> None:
        """Learn the size of a packet between keyframes while the decoded picture stood still."""
        self._still.append(size)
        self._limit = None

    def jumped(self, size: int) -> bool:
        """Tell whether a packet between keyframes says that something moves."""
        return size > self.limit

    def failed(self, when: float) -> None:
        """Take note that the picture changed though the packets were small: do not rely on them for a while."""
        self._distrusted_until = when + self._distrust
        self._distrust = min(2 * self._distrust, LONGEST_DISTRUST)
        self._still.clear()
        self._limit = None
