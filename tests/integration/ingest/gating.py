"""What gating costs in looks at faces: a video through the product's decoder, detector and tracker, gated and whole."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import av
import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import FrameCaptured
from aegis.detect.core import CameraLooks
from aegis.detect.finder import Finder
from aegis.ingest import core
from aegis.ingest.decoding import Decoder
from aegis.ingest.packets import Packet
from aegis.vision.faces import Box, Face
from aegis.vision.pictures import Coloured
from aegis.vision.searching import Part, area
from aegis.vision.tracking import Tracker

RATE = 5.0
LONG = 3
APART = 0.3
"""Seconds, between views of the same face in two runs that do not look at the same pictures."""
NEAR = 1.5
"""And how far it may have moved by then, in face sizes."""


@dataclass(frozen=True)
class Found:
    """The first usable look of a track."""

    at: float
    given: float
    """When the pictures had come that it was decoded from: seconds, as ``at``."""
    until: float
    """When the track was last seen."""


class Figures(TypedDict):
    """What gated decoding took."""

    packets: int
    decoded: int
    telling: float


@dataclass(frozen=True)
class Compared:
    """A video gated and whole."""

    found: list[Found]
    """Of every track that has a usable look without gating, whether the looks are these or those between them: what
    one of the two misses is left to chance and not to gating."""
    delays: list[float | None]
    """By how much later gating finds it, in seconds; None if it does not."""
    tracks: int
    """Faces that are seen in full three times and more, usable or not."""
    unseen: int
    """Of them, those that gating shows not once."""
    due: int
    looked: int
    searched: float
    """Which share of the pictures that are looked at is searched."""
    packets: int
    decoded: int
    telling: float
    """For which share of the packets they were relied on."""

    @property
    def lost(self) -> list[Found]:
        return [found for found, delay in zip(self.found, self.delays, strict=True) if delay is None]

    @property
    def slowest(self) -> float:
        return max((delay for delay in self.delays if delay is not None), default=0.0)


class _Run:
    """The looks that the product sends, and of each track what a face looked like when."""

    def __init__(self) -> None:
        self.looks = CameraLooks()
        self.views: dict[int, list[tuple[float, Box]]] = defaultdict(list)
        self.sent: dict[int, list[tuple[float, float, Box]]] = defaultdict(list)
        self._tracker = Tracker()
        self.searched: list[float] = []

    def part(self, now: float, image: NDArray[np.uint8], factor: float) -> Part:
        part = self.looks.part(now, image, factor)
        self.searched.append(area(part) / (image.shape[0] * image.shape[1]))
        return part

    def see(self, image: NDArray[np.uint8], faces: Sequence[Face], at: float, given: float) -> None:
        # Another tracker that is given the same gives the same identities.
        for identity, face in zip(self._tracker.update(faces, at), faces, strict=True):
            self.views[identity].append((at, face.box))
        frame = FrameCaptured(camera="gate", lease=1, sequence=0, captured_at=at, jpeg=b"")
        for look in self.looks.see(frame, Coloured(image), faces).looks:
            kept = self.looks.kept(look.track, look.look)
            if kept is not None and look.captured_at == at:
                self.sent[look.track].append((at, given, kept.box))


def compare(video: Path, finder: Finder) -> Compared:
    """Search every look of a video that is due, and those that gating leaves."""
    taken, figures = _gate(video)
    whole, between, gated, due, now = _Run(), _Run(), _Run(), 0, 0.0
    pace, other_pace = core.Pace(RATE), core.Pace(RATE)
    left = dict(taken)
    with av.open(str(video)) as container:
        for packet in container.demux(video=0):
            now = _clock(packet, now)
            for frame in packet.decode():
                at = frame.time or 0.0
                wanted, given = pace.take(at), left.pop(round(at, 3), None)
                other = at >= 0.5 / RATE and other_pace.take(at)
                due += wanted
                if not wanted and not other and given is None:
                    continue
                image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                faces = finder.find(Coloured(image))
                if wanted:
                    whole.see(image, faces, at, now)
                if other:
                    between.see(image, faces, at, now)
                if given is not None:
                    gated.see(image, finder.find(Coloured(image), functools.partial(gated.part, at)), at, given)
    if left:
        message = f"looks at pictures that full decoding does not give: {sorted(left)}"
        raise AssertionError(message)
    found, delays = [], []
    for track, sent in whole.sent.items():
        views, (at, first, _) = whole.views[track], sent[0]
        otherwise = _given(views, at, between)
        if otherwise is not None:
            given = _given(views, at, gated)
            found.append(Found(at, first, views[-1][0]))
            delays.append(None if given is None else max(0.0, given - max(first, otherwise)))
    tracks = [views for views in whole.views.values() if len(views) >= LONG and _shown(views, between)]
    unseen = sum(not _shown(views, gated) for views in tracks)
    return Compared(found, delays, len(tracks), unseen, due, len(taken), float(np.mean(gated.searched)), **figures)


def _gate(video: Path) -> tuple[dict[float, float], Figures]:
    """Decode gated: of each look when it was taken and by when it was given, and what it took."""
    taken: dict[float, float] = {}
    now = 0.0
    packets = telling = 0
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        decoder = Decoder(stream, RATE, lambda: True, lambda _, __: None)
        for packet in container.demux(stream):
            now = _clock(packet, now)
            packets += bool(packet.size)
            taken |= {round(look.at, 3): now for look in decoder.feed(packet, now)}
            telling += decoder.telling
    return taken, {"packets": packets, "decoded": decoder.decoded, "telling": telling / packets}


def _clock(packet: Packet, now: float) -> float:
    """Give when a packet comes, in seconds of the video; they come in the order in which they are decoded."""
    return now if packet.dts is None or not packet.time_base else max(now, float(packet.dts * packet.time_base))


def _given(views: list[tuple[float, Box]], since: float, run: _Run) -> float | None:
    """Give when another run first gives a usable look of the same face; None if it does not."""
    given = [
        given
        for looks in run.sent.values()
        for at, given, box in looks
        if at >= since - APART and any(abs(at - seen) <= APART and _near(box, there) for seen, there in views)
    ]
    return min(given, default=None)


def _shown(views: list[tuple[float, Box]], run: _Run) -> bool:
    """Tell whether another run sees the same face, usable or not."""
    others = [view for track in run.views.values() for view in track]
    return any(abs(at - seen) <= APART and _near(box, there) for at, box in others for seen, there in views)


def _near(one: Box, other: Box) -> bool:
    (x, y, width, height), (left, top, wide, high) = one, other
    size = (width * height * wide * high) ** 0.25
    return bool(np.hypot(x + width / 2 - left - wide / 2, y + height / 2 - top - high / 2) <= NEAR * size)
