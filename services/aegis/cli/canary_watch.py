"""What the system tells while the canary is shown."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.cli import events
from aegis.contracts import alerts, codec, subjects
from aegis.contracts.alerts import SIGHTING_INTERVAL, Sighting
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import consume

INACTIVE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A sighting that was told."""

    sighting: Sighting
    at: float
    """When it was heard of here (monotonic)."""
    anew: bool
    """Whether an alert was raised, and not one continued."""


class Watch:
    """Sightings by the canary's camera. A site in shadow tells them, too."""

    streams = (subjects.ALERTS, subjects.SHADOW)

    def __init__(self, bus: Bus, camera: str) -> None:
        self._bus = bus
        self._camera = camera
        self._told: asyncio.Queue[Told] = asyncio.Queue()
        self._following = {stream: asyncio.Event() for stream in self.streams}
        self._elsewhere: Told | None = None

    async def following(self) -> None:
        """Wait until everything that is told from now on will be heard."""
        for event in self._following.values():
            await event.wait()

    async def follow(self, stream: str) -> None:
        """Listen, for ever."""
        config = ConsumerConfig(
            name="canary",
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=INACTIVE_SECONDS,
        )
        async with consume(self._bus, stream, config, batch=64) as consumer:
            while True:
                for message in await consumer.next(wait=1.0):
                    with contextlib.suppress(codec.DecodeError):
                        self._hear(events.parse(message.data))
                if consumer.remade:
                    self._following[stream].set()

    def _hear(self, event: events.Event) -> None:
        if event.sighting is None:
            return
        anew = event.type in (alerts.RAISED, alerts.WOULD_RAISE)
        told = Told(sighting=event.sighting, at=time.monotonic(), anew=anew)
        if event.camera == self._camera:
            self._told.put_nowait(told)
        elif event.sighting.canary:
            self._elsewhere = told

    def begin(self) -> None:
        """Forget what was told before."""
        while not self._told.empty():
            self._told.get_nowait()
        if self._elsewhere and time.monotonic() - self._elsewhere.at > SIGHTING_INTERVAL:
            self._elsewhere = None

    async def next(self, patience: float) -> Told | None:
        """Wait for the next sighting by this camera."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return await self._told.get()
        return None

    @property
    def elsewhere(self) -> str:
        """Say at which other camera the person was, for whose sake this one may have been silent; empty if at none."""
        seen = self._elsewhere.sighting if self._elsewhere else None
        return f"the person is at the camera {seen.camera} at this time, which is told instead" if seen else ""
