"""What can be seen of a system from outside: all that passes over the bus, as each of its servers has it.

Each server is watched through a connection of its own, so that one that dies or stands still hides nothing of what
the others see.
"""

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from nats.js.api import DeliverPolicy, Header
from tests.cluster.servers import NAMES, Servers

from aegis.cli import events
from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.messages import FacesDetected, FrameCaptured, LeaseRecord
from aegis.runtime import tasks
from aegis.runtime.buckets import Mirror
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.leases import BUCKET

Hop = Literal["frames", "faces", "vectors", "matched"]
HOPS: tuple[Hop, ...] = ("frames", "faces", "vectors", "matched")
LEASED = ("ingest", "detect", "match")


@dataclass(frozen=True, slots=True)
class Told:
    """An event of somebody's story that match told."""

    kind: str
    id: str
    sighting: Sighting
    at: float

    def delivered_at(self, arrived: Mapping[str, float]) -> float:
        """Give when it arrived, by the ids under which events were posted; infinity if it did not."""
        return min((at for name, at in arrived.items() if name.startswith(self.id)), default=math.inf)


class Passed(NamedTuple):
    """Something that came by."""

    at: float
    captured_at: float
    number: tuple[int, ...]


@dataclass(slots=True)
class Seen:
    """What one server passed on, in its order."""

    frames: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    """Of each camera; ``number`` is the lease of ingest and the frame's own."""
    faces: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    """``number`` is the lease of detect, that of ingest, the frame's number and where its part of the looks begins."""
    vectors: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    matched: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    """What match was through with."""


class Watch:
    """Make one with :func:`watching`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.seen = {name: Seen() for name in NAMES}
        self.owners: dict[str, str] = {}
        """Who holds each lease, by its key."""
        self.taken: list[tuple[float, str, str]] = []
        """When a lease changed hands, its key and its new owner, empty if it was given back."""
        self.told: list[Told] = []
        self.last: dict[Hop, dict[str, float]] = {hop: {} for hop in HOPS}
        self._partitions: dict[str, str] = {}

    def subscriptions(self, seen: Seen) -> Iterable[tuple[str, Callable[[Msg], None]]]:
        return (
            (subjects.frame_captured("*", "*"), lambda message: self._frame(seen, message)),
            (subjects.face_detected("*", "*"), lambda message: self._face(seen, message)),
            (subjects.face_embedded("*", "*"), lambda message: self._vector(seen, message)),
            (f"$JS.ACK.{subjects.VECTORS}.>", lambda message: self._matched(seen, message)),
        )

    def _frame(self, seen: Seen, message: Msg) -> None:
        *_, partition, camera = message.subject.split(".")
        frame = codec.decode(FrameCaptured, message.data)
        self._partitions[partition] = camera
        self._note("frames", camera)
        seen.frames[camera].append(Passed(time.time(), frame.captured_at, (frame.lease, frame.sequence)))

    def _face(self, seen: Seen, message: Msg) -> None:
        camera, *numbers = (message.headers or {})[Header.MSG_ID.value].split(".")
        faces = codec.decode(FacesDetected, message.data)
        self._note("faces", camera)
        seen.faces[camera].append(Passed(time.time(), faces.looks[0].seen_at, tuple(map(int, numbers))))

    def _vector(self, seen: Seen, message: Msg) -> None:
        camera = message.subject.split(".")[-1]
        self._note("vectors", camera)
        seen.vectors[camera].append(Passed(time.time(), 0.0, ()))

    def _matched(self, seen: Seen, message: Msg) -> None:
        parts = message.subject.split(".")
        camera = self._partitions.get(parts[3].removeprefix("match-"))
        if camera is not None:
            self._note("matched", camera)
            seen.matched[camera].append(Passed(time.time(), 0.0, ()))

    def _note(self, hop: Hop, camera: str) -> None:
        self.last[hop][camera] = time.time()

    async def follow_leases(self) -> None:
        """Read who holds what as it was stored: a renewal that came too late is on the bus as well, and refused."""
        mirror = Mirror(self.bus, BUCKET, "test-watch")

        async def changed() -> None:
            now = {key: codec.decode(LeaseRecord, entry.value).owner for key, entry in mirror.entries.items()}
            for key in self.owners.keys() | now.keys():
                if self.owners.get(key, "") != now.get(key, ""):
                    self.taken.append((time.time(), key, now.get(key, "")))
            self.owners = now

        await mirror.run(changed)

    def matcher(self, camera: str) -> str:
        """Give the replica of match that holds a camera's partition."""
        partition = next(number for number, name in self._partitions.items() if name == camera)
        return self.owners.get(f"match.{partition}", "")

    def held(self, replica: str) -> set[str]:
        """Give the keys of the leases that a replica holds, of any kind."""
        return {key for key, owner in self.owners.items() if owner == replica and not key.startswith("member.")}

    def spread(self, kind: str) -> dict[str, int]:
        """Give how many resources each replica of a kind holds."""
        counts: dict[str, int] = defaultdict(int)
        for key, owner in self.owners.items():
            if key.startswith(f"{kind}.") and owner:
                counts[owner] += 1
        return dict(counts)

    def flowing(self, cameras: Iterable[str], within: float) -> bool:
        """Tell whether something of every camera came through every hop of late."""
        since = time.time() - within
        return all(self.last[hop].get(camera, 0.0) > since for camera in cameras for hop in HOPS)

    def times(self, hop: Hop, camera: str) -> list[float]:
        """Give when something of a camera passed a hop, as any server saw it."""
        return sorted(entry.at for seen in self.seen.values() for entry in getattr(seen, hop)[camera])

    def raised(self) -> list[Told]:
        return [told for told in self.told if told.kind == alerts.RAISED]

    async def follow_alerts(self) -> None:
        """Read the stories as everybody reads them: what was stored, once."""
        async for event in events.read(self.bus, subjects.ALERTS, "test-watch", DeliverPolicy.ALL, to_end=False):
            if event.sighting is not None:
                identity = cloudevents.load(event.raw).id
                self.told.append(Told(event.type, identity, event.sighting, time.time()))


@contextlib.asynccontextmanager
async def watching(servers: Servers) -> AsyncIterator[Watch]:
    """Watch until the block is left."""
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.connect(servers.config("admin"), "test-watch"))
        watch = Watch(bus)
        for name, seen in watch.seen.items():
            one = await stack.enter_async_context(Bus.connect(servers.config("admin", name), f"test-watch-{name}"))
            for subject, handle in watch.subscriptions(seen):

                async def handler(message: Msg, handle: Callable[[Msg], None] = handle) -> None:
                    handle(message)

                await one.subscribe(subject, handler)
        following = [asyncio.create_task(work) for work in (watch.follow_alerts(), watch.follow_leases())]
        try:
            yield watch
        finally:
            await tasks.end(following)
