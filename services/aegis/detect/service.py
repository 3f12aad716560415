"""Detect: frames in, the looks of tracked faces out.

    frame.captured.<p>.<camera> ──► newest frame of each camera ──► YuNet ──► tracker ──► best shots
                                                                                             │
    look.requested.<p>.<camera> ◄──► the last ten seconds of looks, in memory     face.detected.<p>.<camera>

It leases partitions; a partition's cameras are tracked here and nowhere else. Nothing is processed unless the site
is armed.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aegis.contracts import codec, subjects
from aegis.contracts.cameras import from_key
from aegis.contracts.messages import FacesDetected, FrameCaptured, LookFound, LookRequested
from aegis.detect.core import CameraLooks, Seen, Slots
from aegis.detect.finder import Finder
from aegis.runtime import metrics, shared_frames, tracing
from aegis.runtime.buckets import Mirror
from aegis.runtime.bus import BusUnavailableError, Msg, RefusedError
from aegis.runtime.faces import DETECTOR, FRAME_WIDTH
from aegis.runtime.inference import PROVIDERS, announce
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.models import ModelError
from aegis.runtime.policy import Policy
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting
from aegis.vision.pictures import Coloured, Picture, Planar, read_picture

log = logging.getLogger(__name__)

STALE_SECONDS = 2.0
IDLE_SECONDS = 0.5
LOOKS_IN_A_MESSAGE = 16
STORE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings(ServiceSettings):
    """Settings of detect."""

    models_dir: Path = setting(doc="Folder with the model files; `aegis models pull` fills it.")
    provider: str = setting("auto", "What runs the models; `auto` takes the fastest one.", choices=PROVIDERS)
    detect_width: int = setting(
        FRAME_WIDTH,
        "Frames are searched at this width: more finds smaller faces and costs with its square.",
        least=160,
        most=1920,
    )
    frames_dir: str = setting("", shared_frames.ABOUT)
    edge: str = setting(
        "", "Name of the edge at which this replica stands: it takes that edge's cameras and no others."
    )


class Detect:
    """The running service."""

    def __init__(self, context: Context[DetectSettings], finder: Finder) -> None:
        bus, replica = context.bus, context.settings.replica
        self._context = context
        self._bus = bus
        self._finder = finder
        self._worker = ThreadPoolExecutor(1, "detect")
        self._slots: Slots[Msg] = Slots()
        self._arrived = asyncio.Event()
        self._partitions: dict[str, Lease] = {}
        self._cameras: dict[str, tuple[Lease, int, CameraLooks]] = {}
        self._working = False
        self._sending: dict[str, asyncio.Task[None]] = {}
        self.policy = Policy(bus, f"detect-{replica}", context.settings.run)
        self._edge = context.settings.edge
        self._frames = shared_frames.folder_of(context.settings.frames_dir)
        place = shared_frames.place_of(self._frames)
        self.leases = Leases(bus, "detect", replica, self._hold, pool=self._edge, place=place)
        self._records = Mirror(bus, "cameras", f"detect-{replica}")
        context.health.busy = lambda: (
            len(self._slots) + self._working + len(self._sending) + sum(c[2].live for c in self._cameras.values())
        )

    async def follow_cameras(self) -> None:
        """Share the partitions in which there are cameras; a camera's key begins with its partition."""

        async def changed() -> None:
            keys = map(from_key, self._records.entries)
            self.leases.want({partition for partition, camera, edge in keys if camera and edge == self._edge})

        await self._records.run(changed)

    async def _hold(self, lease: Lease) -> None:
        """Work on one partition until the lease is gone."""
        self._partitions[lease.resource] = lease
        frames = await self._bus.subscribe(subjects.frame_captured(lease.resource, "*"), self._frame)
        pictures = await self._bus.serve(subjects.look_requested(lease.resource, "*"), self._picture)
        try:
            await asyncio.Event().wait()
        finally:
            self._partitions.pop(lease.resource, None)
            for camera in [name for name, (held, _, _) in self._cameras.items() if held is lease]:
                del self._cameras[camera]
                self._slots.drop(camera)
            with contextlib.suppress(Exception):
                await frames.unsubscribe()
                await pictures.unsubscribe()

    async def _frame(self, message: Msg) -> None:
        *_, camera = message.subject.split(".")
        if self._slots.put(camera, message):
            metrics.FRAMES_DROPPED.labels(camera, "newer").inc()
        self._arrived.set()

    async def work(self) -> None:
        """Serve the cameras in turn, for ever."""
        async with asyncio.TaskGroup() as sends:
            await self._work(sends)

    async def _work(self, sends: asyncio.TaskGroup) -> None:
        tended = time.monotonic()
        while True:
            message = self._slots.take()
            if message is not None:
                self._working = True
                with tracing.continued("detect.frame", message):
                    await self._process(message, sends)
                self._working = False
                if time.monotonic() - tended > IDLE_SECONDS:
                    # One camera's frames must not keep another's last faces in memory; one this old may still come.
                    self._idle(time.time() - STALE_SECONDS)
                    tended = time.monotonic()
                continue
            self._arrived.clear()
            lingering = any(looks.lingers for _, _, looks in self._cameras.values())
            try:
                async with asyncio.timeout(IDLE_SECONDS if lingering else None):
                    await self._arrived.wait()
            except TimeoutError:
                self._idle(time.time())

    async def _process(self, message: Msg, sends: asyncio.TaskGroup) -> None:
        frame = await self._context.read(FrameCaptured, message)
        partition, camera = message.subject.split(".")[-2:]
        lease = self._partitions.get(partition)
        if frame is None or lease is None:
            return
        tracing.note(camera=camera)
        if reason := self._refusal(frame, camera, lease):
            tracing.note(refused=reason)
            metrics.FRAMES_DROPPED.labels(camera, reason).inc()
            return
        looks = self._looks_of(frame, lease)
        loop = asyncio.get_running_loop()
        with tracing.step("detect.find"):
            seen = await loop.run_in_executor(self._worker, self._see, frame, looks)
        if seen is None and frame.shared is not None:
            metrics.FRAMES_DROPPED.labels(camera, "overwritten").inc()
            return
        if seen is None:
            await self._context.dead_letter(message, "its picture cannot be decoded")
            return
        metrics.FRAMES_PROCESSED.labels(camera).inc()
        metrics.FRAME_AGE.observe(time.time() - frame.captured_at)
        metrics.TRACKS.set(sum(c[2].live for c in self._cameras.values()))
        if seen.looks:
            tracing.note(looks=len(seen.looks))
            await self._in_turn(camera)
            if lease.valid and self.policy.processing:
                task = sends.create_task(self._send(partition, frame, lease, seen))
                self._sending[camera] = task
                task.add_done_callback(lambda done: self._sent(camera, done))

    async def _in_turn(self, camera: str) -> None:
        """Wait until a camera's looks before are stored: they keep their order, and no other camera waits for them.

        A bus that is slow, or whose stream has no leader, thus takes frame rate from nobody but whom it must.
        """
        if sending := self._sending.get(camera):
            await asyncio.wait({sending})

    def _sent(self, camera: str, task: asyncio.Task[None]) -> None:
        if self._sending.get(camera) is task:
            del self._sending[camera]

    def _refusal(self, frame: FrameCaptured, camera: str, lease: Lease) -> str:
        if not self.policy.processing:
            self._cameras.clear()
            return "disarmed"
        if not lease.valid or frame.camera != camera:
            return "lease"
        if time.time() - frame.captured_at > STALE_SECONDS:
            return "old"
        known = self._cameras.get(camera)
        return "superseded" if known and frame.lease < known[1] else ""

    def _looks_of(self, frame: FrameCaptured, lease: Lease) -> CameraLooks:
        known = self._cameras.get(frame.camera)
        looks = known[2] if known and known[0] is lease else CameraLooks()
        self._cameras[frame.camera] = (lease, frame.lease, looks)
        return looks

    def _see(self, frame: FrameCaptured, looks: CameraLooks) -> Seen | None:
        picture = self._picture_of(frame)
        if picture is None:
            return None
        faces = self._finder.find(picture, functools.partial(looks.part, frame.captured_at))
        metrics.FACES.labels(frame.camera).inc(len(faces))
        return looks.see(frame, picture, faces)

    def _picture_of(self, frame: FrameCaptured) -> Picture | None:
        if frame.shared is not None:
            planes = shared_frames.read(self._frames, frame.shared) if self._frames else None
            return None if planes is None else Planar(planes)
        image = read_picture(frame.jpeg)
        return None if image is None else Coloured(image)

    async def _send(self, partition: str, frame: FrameCaptured, lease: Lease, seen: Seen) -> None:
        metrics.LOOKS.labels("sent").inc(len(seen.looks))
        for flaw, count in seen.flaws.items():
            metrics.LOOKS.labels(flaw).inc(count)
        subject = subjects.face_detected(partition, frame.camera)
        for start in range(0, len(seen.looks), LOOKS_IN_A_MESSAGE):
            message = FacesDetected(
                camera=frame.camera,
                lease=lease.epoch,
                detector=DETECTOR,
                looks=seen.looks[start : start + LOOKS_IN_A_MESSAGE],
            )
            identity = f"{frame.camera}.{lease.epoch}.{frame.lease}.{frame.sequence}.{start}"
            try:
                await self._bus.store(subject, codec.encode(message), message_id=identity, patience=STORE_SECONDS)
            except (BusUnavailableError, RefusedError) as error:
                # The best look of a live track comes again in two seconds.
                log.warning("looks lost: %s", error)

    async def _picture(self, message: Msg) -> bytes | None:
        asked = await self._context.read(LookRequested, message)
        if asked is None:
            return None
        known = self._cameras.get(asked.camera)
        kept = known[2].kept(asked.track, asked.look) if known and known[0].epoch == asked.lease else None
        if kept is None:
            return codec.encode(LookFound(problem="its picture is forgotten"))
        loop = asyncio.get_running_loop()
        with tracing.continued("detect.picture", message, camera=asked.camera):
            found = await loop.run_in_executor(self._worker, self._finder.picture, kept)
        return codec.encode(found)

    def _idle(self, until: float) -> None:
        """End the tracks of cameras that sent nothing of late, all of whose frames up to ``until`` have come."""
        for _, _, looks in self._cameras.values():
            looks.idle(until)
            looks.forget(time.time())
        metrics.TRACKS.set(sum(c[2].live for c in self._cameras.values()))


@contextlib.asynccontextmanager
async def build(context: Context[DetectSettings]) -> AsyncIterator[None]:
    settings = context.settings
    try:
        finder = await asyncio.to_thread(Finder, settings.models_dir, settings.provider, settings.detect_width)
    except ModelError as error:
        raise StartError(str(error)) from None
    context.health.detail |= announce(finder.model)
    service = Detect(context, finder)
    async with background() as start:
        start(service.policy.run())
        start(service.follow_cameras())
        start(service.leases.run())
        start(service.work())
        await service.policy.synced.wait()
        yield


SERVICE = Service("detect", DetectSettings, build)
