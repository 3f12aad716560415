"""One camera's looks, pure: tracking, choice of best shots, and the pictures that an alert may ask for."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import FrameCaptured, Look
from aegis.vision.best_shot import BestShot
from aegis.vision.faces import Box, Face
from aegis.vision.likeness import likeness, pattern
from aegis.vision.pictures import Picture, Planar
from aegis.vision.quality import assess
from aegis.vision.searching import Part, Searching
from aegis.vision.tracking import Tracker

T = TypeVar("T")

SAME_FACE = 0.7
"""Below this likeness of two views, one after the other, somebody else's face has come into a track's place. Measured
on people who relieve each other and on each alone: all but 2 % of successive views of one person lie above."""
SAME_VIEW = 0.9
"""From this likeness on a look adds little to the one that was sent before: on people at a door their vectors have a
cosine of 0.92 on average. Waiting for others left a fifth of the embeddings out, and the best score of each visit
was none the worse."""
REACQUIRED_SECONDS = 0.55
"""A track that was out of sight for longer sends its next usable look at once."""
WHOLE_SECONDS = 2.0
"""How long planes are kept whole: 1.4 MB a look. Whoever asks does so at once, unless something is in its way."""
KEEP_SECONDS = 10.0
"""How long the picture behind a look can be asked for after it was last sent; it is kept in memory alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The frame behind a look that was sent, and where the face is in it."""

    picture: bytes | Planar
    """As it came, as JPEG or as planes; after :data:`WHOLE_SECONDS` those are as small as they were searched."""
    width: int
    """Of the frame in whose pixels the box is."""
    box: Box
    chip: bytes
    sent_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A usable view of a tracked face that has not been sent."""

    frame: FrameCaptured
    picture: Picture
    quality: float
    chip: bytes
    pattern: NDArray[np.float32]
    box: Box


@dataclass(slots=True)
class _Track:
    choice: BestShot
    seen_at: float
    first_captured_at: float = 0.0
    looks: int = 0
    turns: int = 0
    """How often something was sent after a silence."""
    best: Look | None = None
    pattern: NDArray[np.float32] | None = None
    """Of the view before."""
    sent: NDArray[np.float32] | None = None
    """The pattern of the look that was sent last."""
    unsent: _View | None = None
    """The best view since something was last sent."""


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
        self._searching = Searching()

    @property
    def live(self) -> int:
        return len(self._tracks)

    @property
    def lingers(self) -> bool:
        """Whether something is remembered of somebody, which ends though no frame comes."""
        return bool(self._tracks or self._kept)

    def part(self, now: float, image: NDArray[np.uint8], factor: float) -> Part:
        """Say which part of a frame, which was shrunk ``factor`` times to this image, is to be searched at ``now``."""
        faces = [(x / factor, y / factor, w / factor, h / factor) for x, y, w, h in self._tracker.expected(now)]
        return self._searching.part(image, faces, now)

    def see(self, frame: FrameCaptured, picture: Picture, faces: Sequence[Face]) -> Seen:
        """Take in a frame, its picture and the faces found in it."""
        now = frame.captured_at
        self._searching.found(bool(faces))
        looks: list[Look] = []
        flaws: dict[str, int] = {}
        for identity, face in zip(self._tracker.update(faces, now), faces, strict=True):
            track = self._follow(identity, now)
            try:
                chip = picture.chip(face.landmarks)
            except ValueError:
                flaws["landmarks"] = flaws.get("landmarks", 0) + 1
                continue
            quality = assess(face, chip, picture.shape)
            if quality.flaw:
                flaws[quality.flaw] = flaws.get(quality.flaw, 0) + 1
                continue
            seen = pattern(chip)
            track = self._same(identity, track, seen, now)
            alike = track.sent is not None and likeness(track.sent, seen) >= SAME_VIEW
            view = _View(
                frame=frame, picture=picture, quality=quality.score, chip=chip.tobytes(), pattern=seen, box=face.box
            )
            if track.choice.offer(quality.score, usable=True, now=now, alike=alike):
                looks.append(self._send(identity, track, view, now))
            elif track.unsent is None or view.quality > track.unsent.quality:
                track.unsent = view
        self._forget_tracks()
        looks.extend(self._again(now))
        self.forget(now)
        return Seen(looks=tuple(looks), flaws=flaws)

    def _follow(self, identity: int, now: float) -> _Track:
        """Give a track, begun anew if it was out of sight: somebody else may have stepped into its place."""
        track = self._tracks.get(identity)
        if track is None:
            track = self._tracks[identity] = _Track(BestShot(), now)
        elif now - track.seen_at > REACQUIRED_SECONDS:
            track = self._begin_anew(identity, track, now)
        track.seen_at = now
        return track

    def _same(self, identity: int, track: _Track, seen: NDArray[np.float32], now: float) -> _Track:
        """Give the track, begun anew if somebody else's face has taken its place from one look to the next."""
        if track.pattern is not None and likeness(track.pattern, seen) < SAME_FACE:
            track = self._begin_anew(identity, track, now)
        track.pattern = seen
        return track

    def _begin_anew(self, identity: int, track: _Track, now: float) -> _Track:
        """Forget all of a track but how its looks are numbered."""
        self._tracks[identity] = _Track(BestShot(), now, looks=track.looks)
        return self._tracks[identity]

    def idle(self, now: float) -> None:
        """Let tracks end though no frame comes."""
        self._tracker.expire(now)
        self._forget_tracks()
        self.forget(now)

    def kept(self, track: int, look: int) -> Kept | None:
        """Give the picture behind a look that was sent in the last :data:`KEEP_SECONDS`."""
        return self._kept.get((track, look))

    def forget(self, now: float) -> None:
        """Drop pictures that nobody asked for in time, and keep less of those that nobody asked for at once."""
        for key, kept in list(self._kept.items()):
            if now - kept.sent_at > KEEP_SECONDS:
                del self._kept[key]
            elif now - kept.sent_at > WHOLE_SECONDS and isinstance(kept.picture, Planar):
                thinned = kept.picture.thinned
                if thinned is not kept.picture:
                    self._kept[key] = replace(kept, picture=thinned)

    def _send(self, identity: int, track: _Track, view: _View, now: float) -> Look:
        track.looks += 1
        if track.best is None:
            track.first_captured_at = view.frame.captured_at
        look = Look(
            track=identity,
            look=track.looks,
            captured_at=view.frame.captured_at,
            first_captured_at=track.first_captured_at,
            seen_at=track.seen_at,
            media_time=view.frame.media_time,
            quality=view.quality,
            chip=view.chip,
        )
        picture, width = view.picture, view.picture.shape[1]
        kept = picture if isinstance(picture, Planar) else view.frame.jpeg
        self._kept[identity, look.look] = Kept(picture=kept, width=width, box=view.box, chip=view.chip, sent_at=now)
        if track.best is None or view.quality >= track.best.quality:
            track.best = look
        track.unsent, track.sent = None, view.pattern
        return look

    def _again(self, now: float) -> list[Look]:
        """Give, of each track that was silent for a second, its best view since; every other time its best look too.

        The first shows who stands there now, should the track have changed hands unnoticed; the second brings back
        what got lost.
        """
        looks = []
        for identity, track in self._tracks.items():
            if track.best is None or not track.choice.resend_due(now):
                continue
            track.turns += 1
            if track.turns % 2 == 0 or track.unsent is None:
                key = (identity, track.best.look)
                if kept := self._kept.get(key):
                    self._kept[key] = replace(kept, sent_at=now)
                looks.append(replace(track.best, seen_at=track.seen_at))
            if track.unsent is not None:
                looks.append(self._send(identity, track, track.unsent, now))
        return looks

    def _forget_tracks(self) -> None:
        live = set(self._tracker.live)
        for identity in [identity for identity in self._tracks if identity not in live]:
            del self._tracks[identity]


class Slots(Generic[T]):
    """The newest frame of each camera, served in turn: a burst costs frame rate, evenly, and never latency.

    The turn is whose frame was taken longest ago, not whose has waited longest: by the latter, cameras whose frames
    come soon after their turn would be served more often than others.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, T] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, camera: str, frame: T) -> bool:
        """Lay down a frame; True if it replaced one that nobody had looked at. The camera keeps its turn."""
        replaced = camera in self._waiting
        self._waiting[camera] = frame
        self._turns.setdefault(camera)
        return replaced

    def take(self) -> T | None:
        """Take the frame of the camera whose turn it is."""
        camera = next((camera for camera in self._turns if camera in self._waiting), None)
        if camera is None:
            return None
        self._turns.move_to_end(camera)
        return self._waiting.pop(camera)

    def drop(self, camera: str) -> None:
        """Forget a camera and its frame."""
        self._waiting.pop(camera, None)
        self._turns.pop(camera, None)
