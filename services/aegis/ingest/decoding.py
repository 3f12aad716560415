"""From a camera's packets to the pictures that are worth a look, decoding as little as can be.

While nothing moves, only keyframes are decoded, where packets tell; the packets since the last keyframe are kept. As
soon as they grow, decoding goes on from that keyframe, so that nothing of an arriving person is lost.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from aegis.ingest import core
from aegis.ingest.gate import PacketGate
from aegis.ingest.grey import small_of
from aegis.ingest.packets import Arrivals, Group, Packet
from aegis.ingest.sparing import Sparing, pictures
from aegis.vision.motion import Motion, changed

BEAT_SECONDS = 5.0
"""A picture is looked at this often though nothing moves in it, so that who stands still is not lost."""
LONGEST_BEAT = 2 * BEAT_SECONDS
"""While packets are passed over, a keyframe serves for that; without one for so long, they are decoded for it."""
CHECK_SECONDS = 3.0
"""While packets are passed over, a keyframe shows whether they tell the truth; those that come sooner need not."""
STILL_SECONDS = 1.0
"""For so long the picture stood still before its packets are learnt from, and no longer decoded if they tell."""


@dataclass(frozen=True, slots=True)
class Look:
    """A picture that is worth a look."""

    frame: VideoFrame
    at: float
    """Seconds on the stream's own clock."""
    captured_at: float
    """Wall clock, seconds, when it came."""


class Decoder:
    """Decodes one stream. ``wanted`` tells whether looks are, ``count`` is told what was passed over, and why."""

    def __init__(
        self, stream: VideoStream, rate: float, wanted: Callable[[], bool], count: Callable[[str, int], None]
    ) -> None:
        self.decoded = 0
        """Pictures so far."""
        self._alone = stream.codec_context.codec.intra_only
        self._time_base = float(stream.time_base or 1)
        self._rate = rate
        self._wanted, self._count = wanted, count
        self._pace = core.Pace(rate)
        self._motion = Motion(BEAT_SECONDS)
        self._gate = PacketGate()
        self._shut = False  # whether packets are passed over
        self._stood = False  # whether the newest picture stood still
        self._group = Group()
        self._seen: NDArray[np.float32] | None = None
        self._seen_at = 0.0
        self._moved_at = self._woken_at = 0.0
        self._since_look, self._before_look = list[int](), list[int]()
        self._times = Arrivals(self._time_base)
        self._unseen = -sys.maxsize  # the time stamp of the first picture that was not passed over
        self._last_taken = 0.0
        self._sparing = Sparing(stream.codec_context, rate)

    @property
    def telling(self) -> bool:
        """Whether packet sizes are relied on, or would be if nothing moved."""
        return self._gate.telling(self._times.now, self._times.forward)

    def passes(self, packet: Packet) -> bool:
        """Tell whether a packet that comes next will only be kept; if not, it may be so nevertheless."""
        if not self._shut or self._seen is None or not self._wanted() or not packet.size or packet.is_keyframe:
            return False
        due = self._times.now - self._motion.looked_at > BEAT_SECONDS
        return not (due or self._group.overflows(packet) or self._gate.jumped(packet.size))

    def feed(self, packet: Packet, captured_at: float) -> Iterator[Look]:
        """Take the next packet and give the looks that it completes; several when decoding begins again."""
        unseen, back = self._times.note(packet, captured_at)
        if back:
            self._begin_anew()
        if not packet.size:  # the end: what the decoder holds back
            if not self._shut:
                yield from self._open(packet)
        elif self._alone:
            yield from self._intra(packet)
        else:
            if self._shut and self._group.overflows(packet):
                yield from self._wake(self._times.newest + 1)
            if packet.is_keyframe:
                self._gate.keyframe(packet.size, len(self._group.packets))
            before = self._group.keep(packet, self._times.now)
            if self._shut:
                yield from self._pass_over(packet, before, unseen)
                return
            if packet.is_keyframe and self.decoded and self._wanted():
                yield from self._choose(before)
            yield from self._open(packet)
            self._shut = bool(self.decoded) and self._group.whole and self._may_shut()

    def _begin_anew(self) -> None:
        """Forget what has a time on it, since the stream's clock was set back."""
        self._moved_at = self._woken_at = self._times.now
        self._unseen = -sys.maxsize
        self._motion, self._gate = Motion(BEAT_SECONDS), PacketGate()

    def _intra(self, packet: Packet) -> Iterator[Look]:
        """Decode no more pictures than are looked at, where each stands alone."""
        if not self.decoded or (self._wanted() and self._pace.take(self._times.now, self._times.came_at)):
            for frame in self._decode(packet):
                yield from self._offer(frame)
        else:
            self._count("not due", 1)

    def _open(self, packet: Packet) -> Iterator[Look]:
        self._stood = False
        if packet.size and not self._group.refined:
            self._since_look.append(packet.size)
        if self._grew(packet):
            self._woken_at = self._times.now
        if self.decoded:
            self._sparing.fed()
        yield from self._take(packet)

    def _take(self, packet: "Packet | None") -> Iterator[Look]:
        for frame in self._decode(packet):
            self._sparing.given(self._times.when(frame))
            self._sparing.remember(frame)
            # The first shows that the camera delivers, also while no look is wanted.
            if self._due(frame) and (self._wanted() or self.decoded == 1):
                yield from self._offer(frame)

    def _offer(self, frame: VideoFrame) -> Iterator[Look]:
        """Give a picture if it is worth a look, and learn from it what packets are worth."""
        when = self._times.when(frame)
        self._seen, self._seen_at = small_of(frame), self._times.now
        wanted, moved = self._motion.look(self._seen, when)
        self._stood = not moved
        if moved:
            # No later than now: a clock may have been set back since that picture came.
            self._moved_at = min(when, self._times.now)
        self._learn(when)
        if wanted:
            yield self._look(frame, when, self._times.taken(frame))
        else:
            self._count("still", 1)

    def _learn(self, when: float) -> None:
        """Learn what packets are worth while nothing moves."""
        if when - self._moved_at > STILL_SECONDS:
            # Those of the interval before: pictures come out of order, so the newest may belong to what comes next.
            for size in self._before_look:
                self._gate.still(size)
        self._before_look, self._since_look = self._since_look, []

    def _choose(self, before: list[Packet]) -> Iterator[Look]:
        """Go on with another decoder where the group before shows that this is better."""
        began = float((before[0].pts or 0) * self._time_base) if before else self._times.now
        if self._sparing.choose(before, self._times.now, moved=self._moved_at >= began):
            yield from self._take(None)  # what the decoder holds back
            self._sparing.change()

    def _grew(self, packet: Packet) -> bool:
        return not self._group.refined and self._gate.jumped(packet.size)

    def _still_for(self) -> float:
        return self._times.now - max(self._moved_at, self._woken_at)

    def _may_shut(self) -> bool:
        # The more would have to be decoded again, the longer: in the worst case, no more than as much again.
        enough = max(STILL_SECONDS, (self._times.now - self._group.began) / 2)
        return not self._wanted() or (self._stood and self._still_for() >= enough and self.telling)

    def _pass_over(self, packet: Packet, before: list[Packet], unseen: int) -> Iterator[Look]:
        """Pass over a packet, unless it says that something moves; ``before`` is the group that ends with it."""
        if not self._wanted():
            self._seen = None
        elif self._seen is None:
            yield from self._wake(unseen)
        elif packet.is_keyframe and self._to_be_seen(before):
            yield from self._peek(packet, before)
        elif self._times.now - self._motion.looked_at > LONGEST_BEAT or self._grew(packet):
            yield from self._wake(unseen)
        else:
            self._count("packets", 1)

    def _to_be_seen(self, before: list[Packet]) -> bool:
        """Tell whether a keyframe is decoded among packets that are passed over; ``before`` is the group it ends."""
        now = self._times.now
        lately = 0 <= now - self._seen_at < CHECK_SECONDS and now - self._motion.looked_at <= BEAT_SECONDS
        return not lately or self._gate.early(len(before))

    def _peek(self, packet: Packet, before: list[Packet]) -> Iterator[Look]:
        """Decode a keyframe alone, to look at it at a slow beat and to see whether the packets told the truth."""
        self._sparing.codec.flush_buffers()
        frames = [*self._decode(packet), *self._decode(None)]
        if not frames:
            yield from self._wake(self._times.newest + 1)
            return
        # A decoder that was emptied forgets the times of what it gives.
        when, small = self._times.now if packet.pts is None else packet.pts * self._time_base, small_of(frames[0])
        if not self._gate.early(len(before)) and changed(self._seen, small) and self._unnoticed(before):
            self._gate.failed(when)
        wanted, moved = self._motion.look(small, when)
        if wanted:
            yield self._look(frames[0], when, self._times.came_at)
        else:
            self._count("still", 1)
        self._seen, self._seen_at = small, self._times.now
        if moved:
            self._moved_at = when
            yield from self._wake(self._times.newest + 1)

    def _unnoticed(self, group: list[Packet]) -> bool:
        """Tell whether the picture changed within a group that was passed over, and not just with the next one."""
        self._sparing.codec.flush_buffers()
        last = [frame for packet in group for frame in self._decode(packet)][-1:]
        return bool(last) and changed(self._seen, small_of(last[0]))

    def _wake(self, unseen: int) -> Iterator[Look]:
        """Decode again, from the last keyframe on, and look at pictures from the time stamp ``unseen`` on."""
        self._shut, self._woken_at, self._unseen = False, self._times.now, unseen
        self._sparing.try_anew()
        self._sparing.codec.flush_buffers()
        for packet in list(self._group.packets):
            for frame in self._decode(packet):
                self._sparing.remember(frame)
                if self._due(frame):
                    yield from self._offer(frame)
        # Should the picture stand still after all, the packet that grew is one more of a still picture.
        self._since_look, self._before_look = [packet.size for packet in self._group.packets[2:][-1:]], []

    def _decode(self, packet: "Packet | None") -> Iterator[VideoFrame]:
        for frame in pictures(self._sparing.codec, packet):
            self.decoded += 1
            yield frame

    def _due(self, frame: VideoFrame) -> bool:
        return (frame.pts or 0) >= self._unseen and self._pace.take(self._times.when(frame), self._times.taken(frame))

    def _look(self, frame: VideoFrame, when: float, taken: float) -> Look:
        # Packets that come in a burst, out of the order of their pictures, seem to have been taken so, too.
        self._last_taken = max(self._last_taken, taken)
        return Look(frame, when, self._last_taken)
