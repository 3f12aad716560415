"""A held camera as the others see it: its frames and events on the bus, its metrics, its line in the status."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from av.video.frame import VideoFrame

from aegis.contracts import cameras, cloudevents, codec, subjects
from aegis.contracts.cameras import CameraReport
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import CameraRecord, FrameCaptured, SharedPicture
from aegis.ingest.capture import Picture
from aegis.ingest.packing import encode, share
from aegis.runtime import metrics, tracing
from aegis.runtime.bus import Bus, BusUnavailableError, PayloadTooLargeError, RefusedError
from aegis.runtime.leases import Lease
from aegis.runtime.policy import Policy
from aegis.runtime.shared_frames import Writer

log = logging.getLogger(__name__)

ROOM_FOR_THE_REST = 4096
"""Bytes of a frame's message that are not its JPEG, generously."""
TRY_AGAIN = 0.2
HEADERS = {"content-type": cloudevents.CONTENT_TYPE}


@dataclass(frozen=True, slots=True)
class Known:
    """A camera as it is configured now."""

    record: CameraRecord
    revision: int
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was changed or removed."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every camera's output needs of this process."""

    bus: Bus
    policy: Policy
    run: str
    name: Callable[[], str]
    """The site's id; known once the policy is."""
    status: dict[str, dict[str, str]]
    """Of each camera that is held here, for ``aegis status``."""
    frames: Path | None
    """Where frames are laid down for a detect that sees the same folder."""
    shares: Callable[[int], bool]
    """Whether the detect that has a partition does."""

    @property
    def room(self) -> int:
        """How many bytes a JPEG may have."""
        return max(0, self.bus.max_payload - ROOM_FOR_THE_REST)


class Output:
    """What leaves this process about one camera while it is held under ``lease``."""

    def __init__(self, site: Site, lease: Lease, known: Known) -> None:
        self._site = site
        self._lease = lease
        self._sequence = 0
        self._told = ("", "")
        self._no_room = False
        self._online_since = 0.0
        frames = site.frames
        self._writer = Writer(frames, known.record.id, lease.epoch) if frames else None
        self.use(known)

    def use(self, known: Known) -> None:
        """Go on under a changed record; the frames' sequence goes on too, as their lease does."""
        self.record, self.revision = known.record, known.revision
        self._told = ("", "")
        self.state("connecting")

    @property
    def ended(self) -> bool:
        return self._site.status.get(self.record.id, {}).get("state") == "ended"

    def delivered_for(self) -> float:
        """Give the seconds since the camera came online; 0 if it is not."""
        return time.monotonic() - self._online_since if self._online_since else 0.0

    def state(self, state: str, reason: str = "") -> None:
        self._online_since = (self._online_since or time.monotonic()) if state == "online" else 0.0
        if state != "online":
            self.forget()
        self._site.status[self.record.id] = {"state": state, "reason": reason}
        metrics.CAMERA_ONLINE.labels(self.record.id).set(state == "online")

    def forget(self) -> None:
        """Keep no picture of the camera in memory that others see."""
        if self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        self.forget()
        self._site.status.pop(self.record.id, None)
        with contextlib.suppress(KeyError):
            metrics.CAMERA_ONLINE.remove(self.record.id)
            metrics.PACKETS_TELL.remove(self.record.id)

    async def publish(self, picture: Picture) -> None:
        """Send a frame, if that is allowed and of use now."""
        if picture.packed is None or not self.wanted:
            return
        if not picture.packed:
            self.drop("size")
        elif not self._lease.valid:
            self.drop("lease")
        else:
            await self._send(picture, picture.packed)

    async def send_frame(self, frame: VideoFrame, captured_at: float) -> None:
        """Encode and send a frame that came through the event loop."""
        await self.online()
        packed = await asyncio.to_thread(self.pack, frame)
        await self.publish(Picture(captured_at, None, packed))

    async def _send(self, picture: Picture, packed: bytes | SharedPicture) -> None:
        jpeg, shared = (packed, None) if isinstance(packed, bytes) else (b"", packed)
        message = FrameCaptured(
            camera=self.record.id,
            lease=self._lease.epoch,
            sequence=self._sequence,
            captured_at=picture.captured_at,
            media_time=picture.media_time,
            jpeg=jpeg,
            shared=shared,
        )
        self._sequence += 1
        subject = subjects.frame_captured(self.record.partition, self.record.id)
        try:
            with tracing.started("ingest.frame", since=picture.captured_at, camera=self.record.id, bytes=len(jpeg)):
                sent = await self._site.bus.publish(subject, codec.encode(message))
        except PayloadTooLargeError:  # a server with a smaller limit may have taken over
            self.drop("size")
            return
        if sent:
            metrics.FRAMES_CAPTURED.labels(self.record.id).inc()
        else:
            self.drop("bus")

    def drop(self, reason: str) -> None:
        metrics.FRAMES_DROPPED.labels(self.record.id, reason).inc()

    @property
    def wanted(self) -> bool:
        """Whether frames leave: none does while the site is disarmed."""
        return self._site.policy.processing

    def pack(self, frame: VideoFrame) -> bytes | SharedPicture | None:
        if not self.wanted:
            return None
        shared = self._share(frame) if self._writer and self._site.shares(self.record.partition) else None
        if shared is None or not self.wanted:  # it may have been disarmed meanwhile
            self.forget()
        return shared or encode(frame, self._site.room)

    def _share(self, frame: VideoFrame) -> SharedPicture | None:
        assert self._writer is not None  # noqa: S101 - asked before
        try:
            return share(frame, self._writer)
        except OSError as error:
            if not self._no_room:
                self._no_room = True
                log.warning("camera %s: frames go as JPEG, since %s: %s", self.record.id, self._site.frames, error)
        return None

    def gated(self, reason: str, pictures: int) -> None:
        metrics.FRAMES_GATED.labels(self.record.id, reason).inc(pictures)

    def packets_tell(self, tell: bool) -> None:  # noqa: FBT001 - as the protocol has it
        metrics.PACKETS_TELL.labels(self.record.id).set(tell)

    async def online(self) -> None:
        self.state("online")
        await self._tell(cameras.ONLINE, "")

    async def offline(self, reason: str) -> None:
        self.state("offline", reason)
        await self._tell(cameras.OFFLINE, reason)

    async def end(self, reason: str) -> None:
        await self._tell(cameras.ENDED, reason)
        self.state("ended", reason)

    async def _tell(self, kind: str, reason: str) -> None:
        """Store an event, once for each change of state and reason, for as long as the lease allows to try."""
        if self._told == (kind, reason):
            return
        self._told = (kind, reason)
        log.info("camera %s: %s%s", self.record.id, kind.split(".")[2], f": {reason}" if reason else "")
        report = CameraReport(
            site=self._site.name(),
            camera=self.record.id,
            camera_name=self.record.name or self.record.id,
            reported_at=time.time(),
            reason=reason,
            revision=self.revision,
            run=self._site.run,
        )
        identity = str(uuid.uuid4())
        event = cloudevents.dump(cameras.event(kind, identity, report))
        subject = subjects.camera(report.site, report.camera)
        while self._lease.valid:
            try:
                await self._site.bus.store(subject, event, message_id=identity, headers=HEADERS, patience=2.0)
            except BusUnavailableError:
                continue
            except RefusedError as error:
                log.error("an event of camera %s was not stored: %s", self.record.id, error)  # noqa: TRY400
            return

    async def has_ended(self) -> bool:
        """Tell whether this file was played to its end before, in this run and as it is configured now."""
        while self._lease.valid:
            try:
                last = await self._site.bus.last(subjects.CAMERAS, subjects.camera(self._site.name(), self.record.id))
                event = cloudevents.load(last.data or b"") if last else None
                report = cloudevents.from_data(CameraReport, event.data) if event else None
            except BusUnavailableError:
                await asyncio.sleep(TRY_AGAIN)
                continue
            except DecodeError as error:
                log.warning("the last event of camera %s cannot be read: %s", self.record.id, error)
                return False
            ended = event is not None and event.type == cameras.ENDED
            return ended and report is not None and (report.revision, report.run) == (self.revision, self._site.run)
        return False
