"""People who walk by a camera, as embed stands for it, and what is told of them."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from tests.bus import until
from tests.integration.match.world import World

from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.messages import EmbeddedLook, EntryRecord, FacesEmbedded, Template
from aegis.runtime.buckets import Bucket

VERSION = "model.1"
SUBJECT = subjects.face_embedded(7, "gate")
NUMBERS = itertools.count(1)


class Person:
    """Somebody whose face is a direction in space."""

    def __init__(self, world: World) -> None:
        self._world = world
        number = next(NUMBERS)
        self.id = f"person{number}"
        self.track = number
        vector = np.random.default_rng(number).normal(size=128)
        self.vector = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()

    async def enrol(self, **changes: Any) -> None:
        record = EntryRecord(
            id=self.id,
            name=self.id.title(),
            category="barred",
            embedder=VERSION,
            added_at=time.time(),
            templates=(Template(vector=self.vector, photo=f"{self.id}.1"),),
        )
        await self._world.seal("watchlist", self.id, replace(record, **changes))

    async def remove(self) -> None:
        await Bucket(self._world.bus, "watchlist").delete(self.id)

    def seen(
        self, *, camera: str = "gate", lease: int = 1, ago: float = 0.0, look: int = 1, **changes: Any
    ) -> FacesEmbedded:
        at = time.time() - ago
        seen = EmbeddedLook(
            track=self.track,
            look=look,
            captured_at=at,
            first_captured_at=at,
            seen_at=at,
            quality=0.8,
            vector=self.vector,
        )
        looks = (replace(seen, **changes),)
        return FacesEmbedded(camera=camera, lease=lease, detector="d", embedder=VERSION, looks=looks)

    async def walk_by(self, **how: Any) -> None:
        faces = self.seen(**how)
        await self._world.bus.store(subjects.face_embedded(7, faces.camera), codec.encode(faces))

    async def told(self, stream: str = subjects.ALERTS) -> list[tuple[str, Sighting]]:
        """Give type and sighting of every event about this person in a stream."""
        jetstream = self._world.bus.client.jetstream()
        info = await jetstream.stream_info(stream)
        subject = subjects.alert if stream == subjects.ALERTS else subjects.shadow
        found = []
        for sequence in range(max(1, info.state.first_seq), info.state.last_seq + 1):
            message = await jetstream.get_msg(stream, sequence)
            if message.subject == subject("north", "barred", self.id):
                event = cloudevents.load(message.data or b"")
                found.append((event.type, cloudevents.from_data(Sighting, event.data)))
        return found

    async def alerted(self, kind: str = alerts.RAISED) -> Sighting:
        stream = subjects.ALERTS if kind == alerts.RAISED else subjects.SHADOW
        found: list[Sighting] = []

        async def raised() -> bool:
            found[:] = [seen for told, seen in await self.told(stream) if told == kind]
            return bool(found)

        await until(raised, f"an alert about {self.id}", 8)
        assert len(found) == 1
        return found[0]


Somebody = Callable[[], Person]


async def entries(world: World, count: int, patience: float = 5) -> None:
    async def known() -> bool:
        return bool((await world.status())["detail"].get("entries") == count)

    await until(known, f"{count} entries", patience)


async def control(world: World, somebody: Somebody) -> None:
    """Have one more person enrolled and alerted, after which all that came before was handled."""
    person = somebody()
    await person.enrol()
    await person_known(world, person)
    await person.walk_by()
    await person.alerted()


async def person_known(world: World, person: Person) -> None:
    entry = await Bucket(world.bus, "watchlist").get(person.id)
    assert entry is not None

    async def known() -> bool:
        return int((await world.status())["detail"].get("watchlist_version", 0)) >= entry.revision

    await until(known, f"{person.id} is in the gallery", 5)
