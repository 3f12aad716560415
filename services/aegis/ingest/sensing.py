"""Whether anything moves, seen on no more pictures than that takes.

Where a stream's B pictures can all be left out, a second decoder gives the rest, just as they are, at three quarters of
the cost, and sooner, since it has nothing to put into order.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from aegis.ingest.packets import Packet
from aegis.ingest.sps import unordered
from aegis.vision.motion import shrink

PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12")
"""Formats whose first plane is the picture in grey."""
SPARE = 1.2
"""Pictures are passed over where the others are so many times the looks wanted."""
TRIAL = 50
"""Packets on which it is tried whether B pictures may be left out."""
SAVED = 0.25
"""How much less sensing a packet costs than decoding it."""
LOAN, MOST = 100.0, 300.0
"""Packets that may be decoded again before any were saved, and as many as saving counts for at most."""
RISKED = 0.02
"""Share of packets decoded while nothing moves that may be decoded again, lest a place be given up for good."""
SILENT_SECONDS = 1.0
"""A decoder that gives nothing for so long cannot sense."""


class Sensing:
    """Senses one stream at times, and keeps account of whether that pays."""

    def __init__(self, codec: VideoCodecContext, rate: float) -> None:
        self.until = 0
        """The time stamp up to which nothing moves."""
        self._exact = codec
        self._rate = rate
        self._decoder: _Decoder | None = None
        self._untried = TRIAL
        self._credit = LOAN
        self._given_at = 0.0

    @property
    def on(self) -> bool:
        """Whether the stream is sensed now."""
        return self._decoder is not None

    def earn(self) -> None:
        """Count a packet while nothing moves: what sensing it saves may be spent on decoding again."""
        self._credit = min(MOST, self._credit + (SAVED if self.on else RISKED))

    def pays(self, group: Sequence[Packet]) -> bool:
        """Tell whether this stream can be sensed, and a group like this one be decoded again for what was saved."""
        if not 0 < len(group) <= self._credit:
            return False
        if 0 < self._untried <= TRIAL:
            tried = group[:TRIAL]
            self._untried = self._untried - len(tried) if self._stand_alone(tried) else sys.maxsize
        return self._untried <= 0

    def begin(self, packet: Packet, now: float) -> None:
        """Sense from a keyframe on."""
        self._decoder = _Decoder(self._exact, fewer=True)
        self._given_at, self.until = now, (packet.pts or 0) - 1

    def stop(self, again: int) -> None:
        """Leave it; so many packets are to be decoded again."""
        if self._decoder is not None:
            self._decoder, self._credit = None, self._credit - again

    def see(self, packet: Packet, now: float) -> Sequence[VideoFrame]:
        """Give what a packet completes."""
        frames = self._decoder.decode(packet) if self._decoder else ()
        if frames:
            self._given_at = now
        return frames

    def silent(self, now: float) -> bool:
        """Tell whether nothing was given for long."""
        return now - self._given_at > SILENT_SECONDS

    def _stand_alone(self, group: Sequence[Packet]) -> bool:
        """Tell whether without the B pictures the others are the same, come at once, and are enough for the looks."""
        every, fewer = _Decoder(self._exact, fewer=False), _Decoder(self._exact, fewer=True)
        waiting: dict[int, NDArray[np.uint8]] = {}
        times: list[float] = []
        shown = 0
        for packet in (*group, None):
            for frame in fewer.decode(packet) if packet else ():
                if packet and frame.pts != packet.pts:
                    return False
                waiting[frame.pts or 0] = luma(frame)
                times.append(frame.time or 0.0)
            for frame in every.decode(packet):
                shown += 1
                other = waiting.pop(frame.pts or 0, None)
                if other is not None and not np.array_equal(luma(frame), other):
                    return False
        if not times or shown <= len(times):
            return False
        return len(times) - 1 >= SPARE * self._rate * (times[-1] - times[0])


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

    def decode(self, packet: "Packet | None") -> Sequence[VideoFrame]:
        if packet and self._within and packet.is_keyframe:
            data: Packet = av.packet.Packet(unordered(bytes(packet)))  # type: ignore[assignment]
            data.pts, data.dts, data.time_base = packet.pts, packet.dts, packet.time_base
            packet = data
        with contextlib.suppress(av.error.InvalidDataError):
            return list(self._codec.decode(packet))
        return ()


def luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """Give a picture in grey (height, width): the luma plane as it is, where it has one."""
    if frame.format.name not in PLANAR:
        return np.asarray(frame.to_ndarray(format="gray"), np.uint8)
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def small_of(frame: VideoFrame) -> NDArray[np.float32]:
    """Give a small grey copy."""
    return shrink(luma(frame))
