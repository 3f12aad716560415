"""Camera streams of known truth, drawn and encoded in the test, and how the decoder takes them."""

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from aegis.ingest import core
from aegis.ingest.decoding import Decoder
from aegis.ingest.packets import Packet

Image = NDArray[np.uint8]
FPS = 25
RATE = 5.0
AT_ONCE = 1 / RATE + 1.5 / FPS
"""So long nobody may be without a look who moves, in seconds; one is due every fifth of a second, or a picture later
where looks move to the beat of the wall clock."""
LATER = 5 / FPS
"""And so much longer where pictures are out of order: of those between two others none is looked at."""
EPOCH = 1_700_000_000.0
"""The wall clock when a stream begins."""
CONSTANT = {"b": "600k", "maxrate": "600k", "minrate": "600k", "bufsize": "600k", "x264-params": "nal-hrd=cbr"}
PLAIN = {"preset": "veryfast", "crf": "23", "g": "50", "bf": "0"}
"""As most cameras encode: no picture is shown out of order."""
REORDERED = {"preset": "veryfast", "crf": "23", "g": "50", "bf": "3"}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An empty hallway with fresh noise, somebody in it for a time, and light."""

    seconds: float
    visits: Sequence[tuple[float, float]] = ()
    """From when to when somebody is there."""
    fade: float = 0.0
    """Somebody comes out of the dark within so many seconds."""
    speed: float = 60.0
    """Pixels a second."""
    light: Callable[[float], float] = lambda _: 0.0
    noise: float = 0.5
    """Grey levels; the pictures are small, so that a sixth of what a large one may have remains when it is shrunk."""
    width: int = 320
    height: int = 192

    def pictures(self) -> list[Image]:
        """Draw it, as grey pictures (height, width)."""
        random = np.random.default_rng(3)
        wall = np.kron(random.uniform(80, 160, (self.height // 8, self.width // 8)), np.ones((8, 8)))
        wall += random.normal(0, 6, wall.shape)
        coat = np.kron(random.uniform(0, 255, (20, 8)), np.ones((4, 4)))
        grain = [random.normal(0, self.noise, wall.shape) for _ in range(40)]
        drawn = []
        for number in range(round(self.seconds * FPS)):
            clock = number / FPS
            image = wall + self.light(clock)
            for start, end in self.visits:
                if start <= clock < end:
                    shown = min(1.0, (clock - start) / self.fade) if self.fade else 1.0
                    left = 8 + round(self.speed * (clock - start)) % (self.width - 48)
                    part = image[64:144, left : left + 32]
                    image[64:144, left : left + 32] = (1 - shown) * part + shown * coat
            drawn.append(np.clip(image + grain[random.integers(40)], 0, 255).astype(np.uint8))
        return drawn

    def stream(self, **options: str) -> bytes:
        """Encode it as Matroska in H.264."""
        return encode(self.pictures(), **(options or PLAIN))


def encode(pictures: Sequence[Image], codec: str = "libx264", pixels: str = "yuv420p", **options: str) -> bytes:
    """Write pictures as a Matroska file."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = pixels
        stream.time_base = Fraction(1, FPS)
        stream.thread_count = 1
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="gray")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@dataclass(frozen=True)
class Taken:
    """A look, and by when it was given, in seconds since the stream began."""

    at: float
    captured_at: float
    given: float
    grey: Image


@dataclass
class Played:
    """What the decoder made of a stream."""

    looks: list[Taken] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    decoded: int = 0
    telling: list[tuple[float, bool]] = field(default_factory=list)
    spared: list[bool] = field(default_factory=list)
    """Of every packet, whether B pictures were left out."""
    kept: int = 0
    """Packets that were held at most."""
    remembered: int = 0
    """Times that were held at most."""

    def between(self, start: float, end: float) -> list[Taken]:
        return [look for look in self.looks if start <= look.at < end]


def play(
    stream: bytes,
    *,
    wanted: Callable[[float], bool] = lambda _: True,
    change: "Callable[[int, Packet], Packet | None]" = lambda _, packet: packet,
    rate: float = RATE,
) -> Played:
    """Give a stream to the decoder in real time; ``change`` may alter a packet, by its number, or swallow it."""
    played = Played()
    clock = 0.0
    with av.open(io.BytesIO(stream), "r") as container:
        source = container.streams.video[0]
        source.codec_context.thread_count = 1
        decoder = Decoder(source, rate, lambda: wanted(clock), lambda why, n: played.passed.update({why: n}))
        for number, packet in enumerate(container.demux(source)):
            clock = number / FPS
            given = change(number, packet)
            if given is None:
                continue
            played.packets += bool(given.size)
            passes, decoded, looks = decoder.passes(given), played.decoded, len(played.looks)
            for look in decoder.feed(given, EPOCH + clock):
                grey = np.asarray(look.frame.to_ndarray(format="gray"), np.uint8)
                played.looks.append(Taken(look.at, look.captured_at, clock, grey))
            played.decoded = decoder.decoded
            if passes and (len(played.looks), played.decoded) != (looks, decoded):
                message = f"a packet that was to be but kept was decoded at {clock} s"
                raise AssertionError(message)
            played.spared.append(decoder._sparing.on)
            played.telling.append((clock, decoder.telling))
            played.kept = max(played.kept, len(decoder._group.packets))
            played.remembered = max(played.remembered, len(decoder._times._came))
    return played


def assert_decoded_in_full(stream: bytes) -> None:
    """See that the pictures of all looks are those that full decoding gives."""
    with av.open(io.BytesIO(stream), "r") as container:
        whole = {
            round((frame.time or 0.0) * FPS): frame.to_ndarray(format="gray") for frame in container.decode(video=0)
        }
    for look in play(stream).looks:
        assert np.array_equal(look.grey, whole[round(look.at * FPS)]), look.at


def due(stream: bytes, rate: float = RATE) -> int:
    """Give how many looks are due when all is decoded."""
    pace = core.Pace(rate)
    with av.open(io.BytesIO(stream), "r") as container:
        return sum(pace.take(frame.time or 0.0) for frame in container.decode(video=0))


def blind(played: Played, start: float, end: float) -> float:
    """Give the longest time without a look from ``start`` to ``end``, in seconds of the wall clock since the start."""
    times = [look.captured_at - EPOCH for look in played.looks if start <= look.captured_at - EPOCH < end]
    return float(np.max(np.diff([start, *times, end])))


def raw(stream: bytes) -> bytes:
    """Give a stream as H.264 without a container, and so without time stamps; two of them are one behind the other."""
    with av.open(io.BytesIO(stream), "r") as container:
        source = container.streams.video[0]
        plain = BitStreamFilterContext("h264_mp4toannexb", source)
        return b"".join(bytes(out) for packet in container.demux(source) if packet.size for out in plain.filter(packet))


def transport(stream: bytes) -> bytes:
    """Give a stream as MPEG-TS, where its parameters come with every keyframe, as from a live camera."""
    file = io.BytesIO()
    with av.open(io.BytesIO(stream), "r") as container, av.open(file, "w", format="mpegts") as out:
        source = container.streams.video[0]
        target = out.add_stream_from_template(source)
        for packet in container.demux(source):
            if packet.size:
                packet.stream = target
                out.mux(packet)
    return file.getvalue()


def joined(first: bytes, second: bytes) -> bytes:
    """Give one stream behind another, as MPEG-TS: of a camera that comes to encode in another way."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as out:
        target: Any = None
        offset = 0
        for part in (transport(first), transport(second)):
            newest = 0
            with av.open(io.BytesIO(part), "r") as container:
                source = container.streams.video[0]
                target = target or out.add_stream_from_template(source)
                start: int | None = None
                for packet in container.demux(source):
                    if not packet.size or packet.pts is None or packet.dts is None:
                        continue
                    start = packet.dts if start is None else start
                    packet.pts, packet.dts = packet.pts - start + offset, packet.dts - start + offset
                    newest = max(newest, packet.pts)
                    packet.stream = target
                    out.mux(packet)
            offset = newest + round(1 / FPS / float(source.time_base or 1))
    return file.getvalue()
