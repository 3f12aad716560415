"""From a camera's packets to the pictures that are worth a look, decoding as little as can be.

While nothing moves, only keyframes are decoded, and the packets since the last one are kept: as soon as they grow,
decoding goes on from that keyframe, so that nothing of an arriving person is lost.
"""

import contextlib
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
STILL_SECONDS = 1.0
"""For so long the picture stood still before its packets are learnt from, and no longer decoded if they tell."""
LONGEST_GROUP = 600
"""Packets since a keyframe that are kept; a camera with fewer keyframes is decoded throughout."""
SPARE = 1.2
"""Pictures on which no other one builds are passed over where the others are so many times the looks wanted."""
TRIAL = 50
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
        self._wanted = wanted
        self._count = count
        self._pace = core.Pace(rate)
        self._motion = Motion(BEAT_SECONDS)
        self._gate = PacketGate()
        self._shut = False
        """Whether packets are passed over."""
        self._group: list[Packet] = []
        self._whole = False
        """Whether the group has all packets since the last keyframe."""
        self._seen: NDArray[np.float32] | None = None
        self._moved_at = 0.0
        self._woken_at = 0.0
        self._since_look: list[int] = []
        self._before_look: list[int] = []
        self._came: dict[int, float] = {}
        self._last_came = 0.0
        self._newest = 0
        self._now = 0.0
        self._trial: list[float] | None = []
        self._fed = 0
        if not self._alone:
            self._codec.skip_frame = "NONREF"

    @property
    def telling(self) -> bool:
        """Whether packet sizes are relied on, or would be if nothing moved."""
        return self._gate.telling(self._now)

    def feed(self, packet: Packet, captured_at: float) -> Iterator[Look]:
        """Take the next packet and give the looks that it completes; several when decoding begins again."""
        self._note(packet, captured_at)
        if not packet.size:  # the end: what the decoder holds back
            if not self._shut:
                yield from self._open(packet)
        elif self._alone:
            yield from self._intra(packet)
        else:
            before = self._keep(packet)
            if self._shut:
                yield from self._pass_over(packet, before)
            else:
                yield from self._open(packet)
                self._shut = bool(self.decoded) and self._whole and self._may_shut()

    def _note(self, packet: Packet, captured_at: float) -> None:
        if packet.pts is not None:
            # A picture that comes behind one that is shown later was taken before it.
            far = (self._newest - packet.pts) * self._time_base > REORDERED_SECONDS
            self._newest = packet.pts if far else max(self._newest, packet.pts)
            self._came[packet.pts] = captured_at - (self._newest - packet.pts) * self._time_base
        self._last_came = captured_at
        ticks = packet.dts if packet.dts is not None else packet.pts
        self._now = captured_at if ticks is None else ticks * self._time_base

    def _keep(self, packet: Packet) -> list[Packet]:
        """Keep a packet with those since the last keyframe; give the group that ends with it, if it is one."""
        before: list[Packet] = []
        if packet.is_keyframe:
            self._gate.keyframe(packet.size, len(self._group))
            before, self._group, self._whole = self._group, [], True
        elif len(self._group) >= LONGEST_GROUP:
            self._group, self._whole = [], False
        self._group.append(packet)
        return before

    def _intra(self, packet: Packet) -> Iterator[Look]:
        """Decode no more pictures than are looked at, where each stands alone."""
        if not self.decoded or (self._wanted() and self._pace.take(self._now)):
            for frame in self._decode(packet):
                yield from self._offer(frame)
        else:
            self._count("not due", 1)

    def _open(self, packet: Packet) -> Iterator[Look]:
        if packet.size and not packet.is_keyframe:
            self._since_look.append(packet.size)
        self._fed += 1
        for frame in self._decode(packet):
            self._try_sparing(frame)
            # The first shows that the camera delivers, also while no look is wanted.
            if self._pace.take(self._when(frame)) and (self._wanted() or self.decoded == 1):
                yield from self._offer(frame)

    def _offer(self, frame: VideoFrame) -> Iterator[Look]:
        """Give a picture if it is worth a look, and learn from it what packets are worth."""
        when, self._seen = self._when(frame), small_of(frame)
        wanted, moved = self._motion.look(self._seen, when)
        if moved:
            self._moved_at = when
        elif when - self._moved_at > STILL_SECONDS:
            # Those of the interval before: pictures come out of order, so the newest may belong to what comes next.
            for size in self._before_look:
                self._gate.still(size)
        self._before_look, self._since_look = self._since_look, []
        if wanted:
            yield Look(frame, when, self._taken(frame))
        else:
            self._count("still", 1)

    def _may_shut(self) -> bool:
        still_for = self._now - max(self._moved_at, self._woken_at)
        return not self._wanted() or (still_for >= STILL_SECONDS and self.telling)

    def _pass_over(self, packet: Packet, before: list[Packet]) -> Iterator[Look]:
        """Pass over a packet, unless it says that something moves; ``before`` is the group that ends with it."""
        if not self._wanted():
            self._seen = None
        elif self._seen is None or not self._whole or (not packet.is_keyframe and self._gate.jumped(packet.size)):
            yield from self._wake(self._came.get(packet.pts or 0, 0.0))
        elif packet.is_keyframe:
            yield from self._peek(packet, before)
        else:
            self._count("packets", 1)

    def _peek(self, packet: Packet, before: list[Packet]) -> Iterator[Look]:
        """Decode a keyframe alone, to look at it at a slow beat and to see whether the packets told the truth."""
        self._codec.flush_buffers()
        frames = [*self._decode(packet), *self._decode(None)]
        if not frames:
            return
        # A decoder that was emptied forgets the times of what it gives.
        when, small = self._now if packet.pts is None else packet.pts * self._time_base, small_of(frames[0])
        if not self._gate.early(len(before)) and changed(self._seen, small) and self._unnoticed(before):
            self._gate.failed(when)
        wanted, moved = self._motion.look(small, when)
        if wanted:
            yield Look(frames[0], when, self._last_came)
        else:
            self._count("still", 1)
        self._seen = small
        if moved:
            self._moved_at = when
            yield from self._wake(float("inf"))

    def _unnoticed(self, group: list[Packet]) -> bool:
        """Tell whether the picture changed within a group that was passed over, and not just with the next one."""
        self._codec.flush_buffers()
        last = [frame for packet in group for frame in self._decode(packet)][-1:]
        return bool(last) and changed(self._seen, small_of(last[0]))

    def _wake(self, since: float) -> Iterator[Look]:
        """Decode again, from the last keyframe on, and look at what came from ``since`` on."""
        self._shut, self._woken_at = False, self._now
        self._codec.flush_buffers()
        for packet in list(self._group):
            for frame in self._decode(packet):
                if self._taken(frame) >= since and self._pace.take(self._when(frame)):
                    yield from self._offer(frame)
        # Should the picture stand still after all, the packet that grew is one more of a still picture.
        self._since_look, self._before_look = [self._group[-1].size], []

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

    def _when(self, frame: VideoFrame) -> float:
        return self._taken(frame) if frame.time is None else frame.time

    def _taken(self, frame: VideoFrame) -> float:
        """Give when a picture was taken, by the wall clock."""
        if len(self._came) > 2 * LONGEST_GROUP:
            self._came = {pts: at for pts, at in self._came.items() if pts >= (frame.pts or 0)}
        return self._came.get(frame.pts or 0, self._last_came)


def small_of(frame: VideoFrame) -> NDArray[np.float32]:
    """Give a small grey copy: the luma plane as it is, where the picture has one."""
    if frame.format.name not in PLANAR:
        return shrink(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return shrink(rows[:, : plane.width])
