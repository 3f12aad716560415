"""One camera's looks, pure: tracking, choice of best shots, and the pictures that an alert may ask for."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import FrameCaptured, Look
from aegis.vision.alignment import align
from aegis.vision.best_shot import BestShot
from aegis.vision.faces import Box, Face
from aegis.vision.quality import assess
from aegis.vision.tracking import Tracker

T = TypeVar("T")

KEEP_SECONDS = 10.0
"""How long the picture behind a look can be asked for after it was last sent; it is kept in memory alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The frame behind a look that was sent, and where the face is in it."""

    jpeg: bytes
    box: Box
    chip: bytes
    sent_at: float


@dataclass(slots=True)
class _Track:
    choice: BestShot
    first_captured_at: float = 0.0
    looks: int = 0
    best: Look | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one frame gave: the looks to send, and how many faces were passed over for which flaw."""

    looks: tuple[Look, ...]
    flaws: dict[str, int]


class CameraLooks:
    """The state of one camera under one lease. Times are those of the frames, seconds since the epoch."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._tracks: dict[int, _Track] = {}
        self._kept: dict[tuple[int, int], Kept] = {}

    @property
    def live(self) -> int:
        return len(self._tracks)

    def see(self, frame: FrameCaptured, image: NDArray[np.uint8], faces: Sequence[Face]) -> Seen:
        """Take in a frame of shape (height, width, 3) BGR and the faces found in it."""
        now = frame.captured_at
        looks: list[Look] = []
        flaws: dict[str, int] = {}
        for identity, face in zip(self._tracker.update(faces, now), faces, strict=True):
            track = self._tracks.setdefault(identity, _Track(BestShot()))
            try:
                chip = align(image, face.landmarks)
            except ValueError:
                flaws["landmarks"] = flaws.get("landmarks", 0) + 1
                continue
            quality = assess(face, chip, image.shape)
            if quality.flaw:
                flaws[quality.flaw] = flaws.get(quality.flaw, 0) + 1
            if not track.choice.offer(quality.score, quality.flaw is None, now):
                continue
            look = self._look(track, identity, frame, quality.score, chip.tobytes())
            self._kept[identity, look.look] = Kept(jpeg=frame.jpeg, box=face.box, chip=look.chip, sent_at=now)
            looks.append(look)
        self._forget_tracks()
        looks.extend(self._again(now))
        self.forget(now)
        return Seen(looks=tuple(looks), flaws=flaws)

    def idle(self, now: float) -> None:
        """Let tracks end though no frame comes."""
        self._tracker.expire(now)
        self._forget_tracks()
        self.forget(now)

    def kept(self, track: int, look: int) -> Kept | None:
        """Give the picture behind a look that was sent in the last :data:`KEEP_SECONDS`."""
        return self._kept.get((track, look))

    def forget(self, now: float) -> None:
        """Drop pictures that nobody asked for in time."""
        for key in [key for key, kept in self._kept.items() if now - kept.sent_at > KEEP_SECONDS]:
            del self._kept[key]

    def _look(self, track: _Track, identity: int, frame: FrameCaptured, quality: float, chip: bytes) -> Look:
        track.looks += 1
        if track.looks == 1:
            track.first_captured_at = frame.captured_at
        look = Look(
            track=identity,
            look=track.looks,
            captured_at=frame.captured_at,
            first_captured_at=track.first_captured_at,
            seen_at=frame.captured_at,
            media_time=frame.media_time,
            quality=quality,
            chip=chip,
        )
        if track.best is None or quality >= track.best.quality:
            track.best = look
        return look

    def _again(self, now: float) -> list[Look]:
        """Give the best look of each track that was silent for two seconds: what got lost comes again."""
        looks = []
        for identity, track in self._tracks.items():
            if track.best is not None and track.choice.resend_due(now):
                looks.append(replace(track.best, seen_at=now))
                key = (identity, track.best.look)
                if kept := self._kept.get(key):
                    self._kept[key] = replace(kept, sent_at=now)
        return looks

    def _forget_tracks(self) -> None:
        live = set(self._tracker.live)
        for identity in [identity for identity in self._tracks if identity not in live]:
            del self._tracks[identity]


class Slots(Generic[T]):
    """The newest frame of each camera, served in turn: a burst costs frame rate, evenly, and never latency."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, camera: str, frame: T) -> bool:
        """Lay down a frame; True if it replaced one that nobody had looked at. The camera keeps its turn."""
        replaced = camera in self._waiting
        self._waiting[camera] = frame
        return replaced

    def take(self) -> T | None:
        """Take the frame of the camera whose turn it is."""
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    def drop(self, camera: str) -> None:
        """Forget a camera's frame."""
        self._waiting.pop(camera, None)
