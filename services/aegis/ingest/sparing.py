"""Which pictures of a stream are decoded at all: where enough are left for the looks, none that no other one needs.

Most cameras that show pictures out of order, between others (the B kind), build no picture of another kind on them. A
decoder that leaves all of those out gives the rest just as they are, for half of what it costs to leave out only those
on which nothing at all builds, and sooner, since it has nothing to put into order.
"""

import contextlib
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from aegis.ingest.grey import luma
from aegis.ingest.packets import LONGEST_GROUP, Packet
from aegis.ingest.sps import unordered

SPARE = 1.2
"""Pictures are left out where the others are so many times the looks wanted."""
TRIAL, PROOF = 50, 100
"""Packets on which it is tried whether enough are left, and whether others build on B pictures. The latter are those of
groups in which something moves: of a still picture all are the same, whatever they build on."""
AGAIN_SECONDS = 300.0
"""After so long it is tried again: a camera may be set to encode in another way."""


class Sparing:
    """What decodes one stream, and whether that leaves out pictures of the B kind."""

    def __init__(self, codec: VideoCodecContext, rate: float) -> None:
        self.on = False
        """Whether B pictures are left out."""
        self.codec: VideoCodecContext | _Decoder = codec
        """What decodes now."""
        self._exact = codec
        self._rate = rate
        self._proven = 0
        self._tried_at = -math.inf
        self._times: list[float] | None = []
        self._fed = 0
        self._trying = True  # whether another decoder's pictures of this group are to be compared
        self._sums: dict[int, int] = {}  # with these, by their time stamps
        if not codec.codec.intra_only:
            codec.skip_frame = "NONREF"

    def choose(self, group: Sequence[Packet], now: float, *, moved: bool) -> bool:
        """Find out, from a group that was decoded, whether another decoder is to go on; :meth:`change` has it do so.

        ``moved`` is whether something moved in it.
        """
        others = _others(group)
        gains = len(others) < len(group) and _enough(others, self._rate)
        if not gains:
            self._proven = 0
        elif moved and 2 * len(self._sums) > len(others):
            self._proven = self._proven + len(group) if self._stand_alone(group) else 0
            self._tried_at = now
        self._trying = gains and (0 < self._proven < PROOF or abs(now - self._tried_at) >= AGAIN_SECONDS)
        self._sums = {}
        return (self._proven >= PROOF) != self.on

    def change(self) -> None:
        """Go on with the other decoder, from a keyframe on."""
        self.on = not self.on
        self.codec = _Decoder(self._exact, fewer=True) if self.on else self._exact
        self.codec.flush_buffers()
        self.try_anew()

    def try_anew(self) -> None:
        """Begin to count again, since what comes next is no even stream of pictures."""
        if self._times is not None:
            self._times, self._fed = [], 0

    def given(self, when: float) -> None:
        """Take note of a picture that was decoded, shown at ``when`` seconds on the stream's own clock.

        Once, it is found out whether enough are left where those are passed over on which no other one builds.
        """
        if self._times is None or self.on:
            return
        self._times.append(when)
        if self._fed >= TRIAL:
            if not _enough(self._times, self._rate):
                self._exact.skip_frame = "DEFAULT"
            self._times = None

    def remember(self, frame: VideoFrame) -> None:
        """Take note of a picture, if it is of those with which another decoder's are to be compared."""
        # Where no keyframe comes, nobody asks for them.
        if self._trying and len(self._sums) < LONGEST_GROUP and frame.pict_type != PictureType.B:
            self._sums[frame.pts or 0] = _sum(frame)

    def fed(self) -> None:
        """Take note of a packet that is decoded in turn."""
        self._fed += 1

    def _stand_alone(self, group: Sequence[Packet]) -> bool:
        """Tell whether without the B pictures the others are the same, and come at once."""
        other = _Decoder(self._exact, fewer=not self.on)
        same = 0
        for packet in group:
            for frame in pictures(other, packet):
                if not self.on and frame.pts != packet.pts:
                    return False
                known = self._sums.get(frame.pts or 0)
                if known is not None:
                    if _sum(frame) != known:
                        return False
                    same += 1
        # The last ones are still held back, here or there.
        return 2 * same > len(self._sums)


def _others(group: Sequence[Packet]) -> list[float]:
    """Give the times of a group's pictures that are not of the B kind: those that are shown after all before."""
    others, newest = list[float](), -math.inf
    for packet in group:
        shown = float((packet.pts or 0) * (packet.time_base or 1))
        if shown > newest:
            newest = shown
            others.append(shown)
    return others


def _sum(frame: VideoFrame) -> int:
    return zlib.crc32(np.ascontiguousarray(luma(frame)).data)


class _Decoder:
    """A decoder of the same stream as another one; ``fewer`` leaves B pictures out."""

    def __init__(self, exact: VideoCodecContext, *, fewer: bool) -> None:
        before = exact.extradata or b""
        ordered = fewer and exact.name == "h264"
        self._within = ordered and before[:1] != b"\1"
        self._codec: Any = av.CodecContext.create(exact.name, "r")
        self._codec.thread_count = 1
        self._codec.extradata = (unordered(before) if ordered else before) or None
        self._codec.skip_frame = "BIDIR" if fewer else exact.skip_frame

    def decode(self, packet: "Packet | None") -> Iterator[VideoFrame]:
        """Give the pictures that a packet completes, or, for None, those that are held back."""
        if packet and self._within and packet.is_keyframe:
            data: Packet = av.packet.Packet(unordered(bytes(packet)))  # type: ignore[assignment]
            data.pts, data.dts, data.time_base = packet.pts, packet.dts, packet.time_base
            packet = data
        yield from self._codec.decode(packet)

    def flush_buffers(self) -> None:
        """Forget what is held back; decoding begins again with a keyframe."""
        self._codec.flush_buffers()


def pictures(codec: VideoCodecContext | _Decoder, packet: "Packet | None") -> Iterator[VideoFrame]:
    """Give the pictures that a packet completes, or, for None, those that are held back.

    A damaged packet costs its picture; what comes after can be whole again.
    """
    with contextlib.suppress(av.error.InvalidDataError, av.error.EOFError):
        yield from codec.decode(packet)


def _enough(times: Sequence[float], rate: float) -> bool:
    """Tell whether pictures at these times are enough for so many looks a second."""
    lasted = times[-1] - times[0] if times else 0.0
    return lasted > 0 and len(times) - 1 >= SPARE * rate * lasted
