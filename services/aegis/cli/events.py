"""Alerts and camera events as they happen, in words or as CloudEvents."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import alerts, cameras, cloudevents, codec, reviews, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.cameras import CameraReport
from aegis.contracts.reviews import AlertState, Update
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import consume

INACTIVE_SECONDS = 30
ALERT_WORDS = {
    alerts.RAISED: "ALERT",
    alerts.SIGHTED: "still in view",
    alerts.WOULD_RAISE: "would have alerted",
    alerts.WOULD_SIGHT: "still in view, in shadow",
}
WORDS = {cameras.ONLINE: "online", cameras.OFFLINE: "offline", cameras.ENDED: "played to its end"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event: its JSON as it stands on the bus, and what was read from it."""

    raw: bytes
    type: str
    camera: str
    reason: str = ""
    sighting: Sighting | None = None
    update: Update | None = None
    report: CameraReport | None = None

    def line(self) -> str:
        """Say it in one line for people."""
        if self.sighting is not None:
            return _alert_line(self.type, self.sighting)
        if (told := self.update) is not None:
            words = update_words(self.type, told.state, told.by, told.reason, told.step, told=told.told)
            return f"{clock(told.updated_at)} {'DRILL ' * told.drill}{told.reference} {words}"
        stamp = clock(self.report.reported_at) if self.report else ""
        if self.type == cameras.ENDED and self.reason:
            return f"{stamp} camera {self.camera} {self.reason}"
        reason = f": {self.reason}" if self.reason else ""
        return f"{stamp} camera {self.camera} {WORDS.get(self.type, self.type)}{reason}"


def clock(seconds: float) -> str:
    """Give the local time of day, after its date where that is not today's."""
    try:
        then = time.localtime(seconds)
        today = then[:3] == time.localtime()[:3]
        return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)
    except (OverflowError, ValueError, OSError):  # no time at all; the rest of the line still counts
        return "--:--:--"


def mark(seen: Sighting) -> str:
    """Give the word that stands before all that is said of an alert that is none; empty for others."""
    return "CANARY " if seen.canary else "DRILL " if seen.drill else ""


def _alert_line(kind: str, seen: Sighting) -> str:
    word = ALERT_WORDS[kind]
    who = f"{seen.person} ({seen.category}, {seen.severity.value})"
    sure = f"score {seen.score:.2f} of {seen.threshold:.2f} needed, {seen.looks} look{'s' if seen.looks > 1 else ''}"
    return f"{clock(seen.captured_at)} {mark(seen)}{word} {seen.reference}: {who} at {seen.camera_name}, {sure}"


def update_words(kind: str, state: AlertState, by: str, reason: str, step: int, *, told: int | None = None) -> str:
    """Say what people and clocks did to an alert."""
    match kind:
        case reviews.ESCALATED:
            return f"went on to step {step}: nobody has acknowledged it"
        case reviews.CONFIRMED:
            return f"confirmed by {by}{', the second person' * (state is AlertState.CONFIRMED_TWICE)}"
        case reviews.DISMISSED:
            return f"dismissed by {by}: {reason}"
        case reviews.CORRECTED:
            whom = "those who had been told of it were told that it was dismissed"
            return f"corrected: {'nobody had been told of it' if told == 0 else whom}"
        case reviews.EXPIRED:
            return "expired: nobody may act on it any more"
    return f"acknowledged by {by}"


def parse(data: bytes) -> Event:
    """Read an event.

    Raises:
        DecodeError: naming the field.

    """
    event = cloudevents.load(data)
    if event.type in ALERT_WORDS:
        sighting = cloudevents.from_data(Sighting, event.data)
        return Event(raw=data, type=event.type, camera=sighting.camera, sighting=sighting)
    if event.type in reviews.EVENT_TYPES:
        update = cloudevents.from_data(Update, event.data)
        return Event(raw=data, type=event.type, camera="", update=update)
    report = cloudevents.from_data(CameraReport, event.data)
    return Event(raw=data, type=event.type, camera=report.camera, reason=report.reason, report=report)


def _readable(data: bytes) -> Event | None:
    try:
        return parse(data)
    except codec.DecodeError:
        return None


async def read(bus: Bus, stream: str, reader: str, policy: DeliverPolicy, *, to_end: bool) -> AsyncIterator[Event]:
    """Give the events of a stream; with ``to_end`` stop at the newest that was there at the beginning."""
    config = ConsumerConfig(
        name=reader,
        deliver_policy=policy,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=INACTIVE_SECONDS,
    )
    async with consume(bus, stream, config, batch=64) as consumer:
        while True:
            messages = await consumer.next(wait=1.0)
            if to_end and consumer.remade and not messages and not consumer.backlog:
                return
            for message in messages:
                # One that cannot be read may still be the newest, so it is passed over but not forgotten.
                if event := _readable(message.data):
                    yield event
                if to_end and message.metadata.num_pending == 0:
                    return


async def in_shadow(bus: Bus, reference: str) -> bool:
    """Say whether a reference is that of something that a site in shadow would have alerted."""
    kept = read(bus, subjects.SHADOW, "cli", DeliverPolicy.ALL, to_end=True)
    return any([event.sighting is not None and event.sighting.reference == reference async for event in kept])


async def follow(
    bus: Bus, reader: str, streams: Sequence[str] = (subjects.ALERTS, subjects.CAMERAS)
) -> AsyncIterator[Event]:
    """Give events as they happen, for ever."""
    queue: asyncio.Queue[Event] = asyncio.Queue()

    async def one(stream: str) -> None:
        async for event in read(bus, stream, f"{reader}-{stream.lower()}", DeliverPolicy.NEW, to_end=False):
            await queue.put(event)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(stream)) for stream in streams]
        try:
            while True:
                yield await queue.get()
        finally:
            for task in tasks:
                task.cancel()
