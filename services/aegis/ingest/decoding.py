"""From a camera's packets to the pictures that are worth a look, decoding as little as can be.

While nothing moves, only keyframes are decoded, and the packets since the last one are kept: as soon as they grow,
decoding goes on from that keyframe, so that nothing of an arriving person is lost.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import av
import numpy as np
from av.packet import Packet as AnyPacket
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from aegis.ingest import core
from aegis.ingest.gate import PacketGate
from aegis.vision.motion import Motion, changed, shrink

Packet: TypeAlias = "AnyPacket[VideoStream]"

BEAT_SECONDS = 5.0
"""A picture is looked at this often though nothing moves in it, so that who stands still is not lost."""
LONGEST_BEAT = 2 * BEAT_SECONDS
"""While packets are passed over, a keyframe serves for that; without one for so long, they are decoded for it."""
REFINED = (1, 2)
"""Places in a group whose sizes say nothing: the keyframe, and the picture that refines it."""
STILL_SECONDS = 1.0
"""For so long the picture stood still before its packets are learnt from, and no longer decoded if they tell."""
LONGEST_GROUP, LARGEST_GROUP = 300, 16 * 1024 * 1024
"""Packets since a keyframe that are kept, and bytes; a camera with fewer keyframes is decoded throughout."""
SPARE = 1.2
"""Pictures on which no other one builds are passed over where the others are so many times the looks wanted."""
TRIAL = LEARNING = 50
REMEMBERED = 2 * LONGEST_GROUP  # packets whose time of coming is known
REORDERED_SECONDS = 1.0
"""Packets of pictures that are shown earlier come at most this long after; more is a jump of the clock."""
PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12")
"""Formats whose first plane is the picture in grey."""


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
        self._codec = stream.codec_context
        self._alone = self._codec.codec.intra_only
        self._time_base = float(stream.time_base or 1)
        self._rate = rate
        self._wanted, self._count = wanted, count
        self._pace = core.Pace(rate)
        self._motion = Motion(BEAT_SECONDS)
        self._gate = PacketGate()
        self._shut = False  # whether packets are passed over
        self._stood = False  # whether the newest picture stood still
        self._forward = 1.0  # share of packets whose picture is shown after all before
        self._group: list[Packet] = []
        self._bytes = 0
        self._whole = False  # whether the group has all packets since the last keyframe
        self._seen: NDArray[np.float32] | None = None
        self._moved_at = self._woken_at = self._group_at = 0.0
        self._since_look, self._before_look = list[int](), list[int]()
        self._came: dict[int, float] = {}
        self._newest = 0
        self._unseen = -sys.maxsize  # the time stamp of the first picture that was not passed over
        self._now = self._last_came = self._last_taken = 0.0
        self._trial: list[float] | None = []
        self._fed = 0
        if not self._alone:
            self._codec.skip_frame = "NONREF"

    @property
    def telling(self) -> bool:
        """Whether packet sizes are relied on, or would be if nothing moved."""
        return self._gate.telling(self._now, self._forward)

    def feed(self, packet: Packet, captured_at: float) -> Iterator[Look]:
        """Take the next packet and give the looks that it completes; several when decoding begins again."""
        unseen = self._note(packet, captured_at)
        if not packet.size:  # the end: what the decoder holds back
            if not self._shut:
                yield from self._open(packet)
        elif self._alone:
            yield from self._intra(packet)
        else:
            if self._shut and self._overflows(packet):
                yield from self._wake(self._newest + 1)
            before = self._keep(packet)
            if self._shut:
                yield from self._pass_over(packet, before, unseen)
            else:
                yield from self._open(packet)
                self._shut = bool(self.decoded) and self._whole and self._may_shut()

    def _note(self, packet: Packet, captured_at: float) -> int:
        """Take note of when a packet came; give the time stamp from which on pictures are new with it."""
        self._last_came = captured_at
        if not packet.size:
            return self._newest
        ticks = packet.pts if packet.dts is None else packet.dts
        now = captured_at if ticks is None else ticks * self._time_base
        if now < self._now - REORDERED_SECONDS:
            self._begin_anew(now)
        self._now = now
        if packet.pts is None:
            packet.pts = round(now / self._time_base)
        # A picture that comes behind one that is shown later was taken before it; much earlier is a clock that jumped.
        far = (self._newest - packet.pts) * self._time_base > REORDERED_SECONDS
        self._forward += ((packet.pts > self._newest) - self._forward) / LEARNING
        unseen = min(self._newest + 1, packet.pts)
        self._newest = packet.pts if far else max(self._newest, packet.pts)
        self._came[packet.pts] = captured_at - (self._newest - packet.pts) * self._time_base
        if len(self._came) > REMEMBERED:
            del self._came[next(iter(self._came))]
        return unseen

    def _begin_anew(self, now: float) -> None:
        """Forget what has a time on it, since the stream's clock was set back."""
        self._moved_at = self._woken_at = now
        self._unseen, self._motion, self._gate = -sys.maxsize, Motion(BEAT_SECONDS), PacketGate()

    def _overflows(self, packet: Packet) -> bool:
        full = len(self._group) >= LONGEST_GROUP or self._bytes + packet.size > LARGEST_GROUP
        return full and not packet.is_keyframe

    def _keep(self, packet: Packet) -> list[Packet]:
        """Keep a packet with those since the last keyframe; give the group that ends with it, if it is one."""
        before: list[Packet] = []
        if packet.is_keyframe:
            self._gate.keyframe(packet.size, len(self._group))
            before, self._group, self._bytes, self._whole = self._group, [], 0, True
            self._group_at = self._now
        elif self._overflows(packet):
            self._group, self._bytes, self._whole = [], 0, False
        if self._whole:
            self._group.append(packet)
            self._bytes += packet.size
        return before

    def _intra(self, packet: Packet) -> Iterator[Look]:
        """Decode no more pictures than are looked at, where each stands alone."""
        if not self.decoded or (self._wanted() and self._pace.take(self._now)):
            for frame in self._decode(packet):
                yield from self._offer(frame)
        else:
            self._count("not due", 1)

    def _open(self, packet: Packet) -> Iterator[Look]:
        self._stood = False
        if packet.size and len(self._group) not in REFINED:
            self._since_look.append(packet.size)
        if self._grew(packet):
            self._woken_at = self._now
        self._fed += bool(self.decoded)
        for frame in self._decode(packet):
            self._try_sparing(frame)
            # The first shows that the camera delivers, also while no look is wanted.
            if self._due(frame) and (self._wanted() or self.decoded == 1):
                yield from self._offer(frame)

    def _offer(self, frame: VideoFrame) -> Iterator[Look]:
        """Give a picture if it is worth a look, and learn from it what packets are worth."""
        when, self._seen = self._when(frame), small_of(frame)
        wanted, moved = self._motion.look(self._seen, when)
        self._stood = not moved
        if moved:
            # No later than now: a clock may have been set back since that picture came.
            self._moved_at = min(when, self._now)
        elif when - self._moved_at > STILL_SECONDS:
            # Those of the interval before: pictures come out of order, so the newest may belong to what comes next.
            for size in self._before_look:
                self._gate.still(size)
        self._before_look, self._since_look = self._since_look, []
        if wanted:
            yield self._look(frame, when, self._taken(frame))
        else:
            self._count("still", 1)

    def _grew(self, packet: Packet) -> bool:
        return len(self._group) not in REFINED and self._gate.jumped(packet.size)

    def _may_shut(self) -> bool:
        still_for = self._now - max(self._moved_at, self._woken_at)
        # The more would have to be decoded again, the longer: in the worst case, no more than as much again.
        enough = max(STILL_SECONDS, (self._now - self._group_at) / 2)
        return not self._wanted() or (self._stood and still_for >= enough and self.telling)

    def _pass_over(self, packet: Packet, before: list[Packet], unseen: int) -> Iterator[Look]:
        """Pass over a packet, unless it says that something moves; ``before`` is the group that ends with it."""
        if not self._wanted():
            self._seen = None
        elif self._seen is None:
            yield from self._wake(unseen)
        elif packet.is_keyframe:
            yield from self._peek(packet, before)
        elif self._now - self._motion.looked_at > LONGEST_BEAT or self._grew(packet):
            yield from self._wake(unseen)
        else:
            self._count("packets", 1)

    def _peek(self, packet: Packet, before: list[Packet]) -> Iterator[Look]:
        """Decode a keyframe alone, to look at it at a slow beat and to see whether the packets told the truth."""
        self._codec.flush_buffers()
        frames = [*self._decode(packet), *self._decode(None)]
        if not frames:
            yield from self._wake(self._newest + 1)
            return
        # A decoder that was emptied forgets the times of what it gives.
        when, small = self._now if packet.pts is None else packet.pts * self._time_base, small_of(frames[0])
        if not self._gate.early(len(before)) and changed(self._seen, small) and self._unnoticed(before):
            self._gate.failed(when)
        wanted, moved = self._motion.look(small, when)
        if wanted:
            yield self._look(frames[0], when, self._last_came)
        else:
            self._count("still", 1)
        self._seen = small
        if moved:
            self._moved_at = when
            yield from self._wake(self._newest + 1)

    def _unnoticed(self, group: list[Packet]) -> bool:
        """Tell whether the picture changed within a group that was passed over, and not just with the next one."""
        self._codec.flush_buffers()
        last = [frame for packet in group for frame in self._decode(packet)][-1:]
        return bool(last) and changed(self._seen, small_of(last[0]))

    def _wake(self, unseen: int) -> Iterator[Look]:
        """Decode again, from the last keyframe on, and look at pictures from the time stamp ``unseen`` on."""
        self._shut, self._woken_at, self._unseen = False, self._now, unseen
        if self._trial is not None:
            self._trial, self._fed = [], 0
        self._codec.flush_buffers()
        for packet in list(self._group):
            for frame in self._decode(packet):
                if self._due(frame):
                    yield from self._offer(frame)
        # Should the picture stand still after all, the packet that grew is one more of a still picture.
        self._since_look, self._before_look = [packet.size for packet in self._group[2:][-1:]], []

    def _decode(self, packet: "Packet | None") -> Iterator[VideoFrame]:
        # A damaged packet costs its picture; what comes after can be whole again.
        with contextlib.suppress(av.error.InvalidDataError, av.error.EOFError):
            for frame in self._codec.decode(packet):
                self.decoded += 1
                yield frame

    def _try_sparing(self, frame: VideoFrame) -> None:
        """Find out, once, whether enough pictures are left where those that no other builds on are passed over."""
        if self._trial is None:
            return
        self._trial.append(self._when(frame))
        if self._fed >= TRIAL:
            lasted = self._trial[-1] - self._trial[0]
            if lasted <= 0 or (len(self._trial) - 1) / lasted < SPARE * self._rate:
                self._codec.skip_frame = "DEFAULT"
            self._trial = None

    def _due(self, frame: VideoFrame) -> bool:
        return (frame.pts or 0) >= self._unseen and self._pace.take(self._when(frame))

    def _when(self, frame: VideoFrame) -> float:
        return self._taken(frame) if frame.time is None else frame.time

    def _taken(self, frame: VideoFrame) -> float:
        """Give when a picture was taken, by the wall clock."""
        return self._came.get(frame.pts or 0, self._last_came)

    def _look(self, frame: VideoFrame, when: float, taken: float) -> Look:
        # Packets that come in a burst, out of the order of their pictures, seem to have been taken so, too.
        self._last_taken = max(self._last_taken, taken)
        return Look(frame, when, self._last_taken)


def small_of(frame: VideoFrame) -> NDArray[np.float32]:
    """Give a small grey copy: the luma plane as it is, where the picture has one."""
    if frame.format.name not in PLANAR:
        return shrink(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return shrink(rows[:, : plane.width])
