"""What stands on the bus about each alert and each delivery, followed live, and the one way to write a delivery.

Every replica of notify follows both streams and so comes to the same conclusions; what one writes first, the others
find written. Nothing here has to survive a restart: it is all read again.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import codec, reviews, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import DeliveryRecord
from aegis.notify import core
from aegis.notify.core import Told
from aegis.runtime import metrics, tracing
from aegis.runtime.bus import BusUnavailableError, ConflictError, Msg
from aegis.runtime.consumers import consume, read_all
from aegis.runtime.service import Context

log = logging.getLogger(__name__)

T = TypeVar("T")

KEPT_SECONDS = 3600.0
"""How long a case stays in memory after it was raised; an older one is read again when something comes of it."""
BUS_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Kept:
    """A record and where it stands in the stream: the next one is written only over this."""

    record: DeliveryRecord
    sequence: int


@dataclass(slots=True)
class Case:
    """An alert: the events that raised it, how it stands, and what became of telling people, by subject."""

    alert: str
    subject: str = ""
    review: reviews.Review | None = None
    """How it stands; None while nothing was read that raised it."""
    raised: dict[str, tuple[int, Told]] = field(default_factory=dict)
    dismissed: tuple[int, Told] | None = None
    updates: dict[str, tuple[int, Told]] = field(default_factory=dict)
    """What else became of it, by the event's id."""
    last: int = 0
    """Sequence of the newest event of its story."""
    deliveries: dict[str, Kept] = field(default_factory=dict)

    @property
    def sighting(self) -> Sighting | None:
        """The newest that raised it."""
        return self.review.sighting if self.review else None

    def add(self, sequence: int, told: Told) -> None:
        """Read one more event of the story."""
        self.review = reviews.fold(self.review, told.event)
        if isinstance(told.data, Sighting):
            self.raised[told.event.id] = sequence, told
        elif told.event.type == reviews.DISMISSED:
            self.dismissed = sequence, told
        else:
            self.updates[told.event.id] = sequence, told

    def trace(self, event: str) -> str:
        """Give the trace in which an event of it is told: its own if it raised it, else that of what did last."""
        raised = self.raised.get(event) or next(reversed(self.raised.values()), None)
        return raised[1].trace if raised else ""

    def records(self, event: str) -> list[DeliveryRecord]:
        return [kept.record for kept in self.deliveries.values() if kept.record.event == event]

    @property
    def unfinished(self) -> int:
        return sum(not kept.record.state.final for kept in self.deliveries.values())


class Ledger:
    """All cases that may still change. ``changed`` is called with an alert's id whenever something of it was read."""

    def __init__(self, context: Context[Any], changed: Callable[[str], None]) -> None:
        self._bus = context.bus
        self._changed = changed
        self._reader = f"notify-{context.settings.replica}"
        self.cases: dict[str, Case] = {}
        self._by_identity: dict[str, tuple[str, str]] = {}
        self._by_provider: dict[tuple[str, str], tuple[str, str]] = {}
        self._read = {subjects.ALERTS: asyncio.Event(), subjects.DELIVERIES: asyncio.Event()}

    async def synced(self) -> None:
        """Wait until all that stood on the bus at the start was read."""
        for read in self._read.values():
            await read.wait()

    @property
    def complete(self) -> bool:
        return all(read.is_set() for read in self._read.values()) and self._bus.connected

    async def follow_alerts(self) -> None:
        """Read the stories, for ever."""
        await self._follow(subjects.ALERTS, subjects.alert("*", "*", "*"), self._note_event)

    async def follow_deliveries(self) -> None:
        """Read the records, for ever."""
        await self._follow(subjects.DELIVERIES, subjects.delivery("*", "*", "*", "*"), self._note_record)

    async def _follow(self, stream: str, subject: str, note: Callable[[Msg], Awaitable[None]]) -> None:
        since = await self._left_off()
        config = ConsumerConfig(
            name=f"{self._reader}-{stream.lower()}",
            filter_subject=subject,
            deliver_policy=DeliverPolicy.ALL if since is None else DeliverPolicy.BY_START_TIME,
            opt_start_time=since,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=30,
        )
        async with consume(self._bus, stream, config, batch=256) as consumer:
            while True:
                messages = await consumer.next(wait=1.0)
                for message in messages:
                    await note(message)
                if messages[-1].metadata.num_pending == 0 if messages else consumer.remade and not consumer.backlog:
                    self._read[stream].set()

    async def _left_off(self) -> dt.datetime | None:
        """Give the time from which on to read: an hour before the last record; None for all that is kept."""
        config = ConsumerConfig(
            name=f"{self._reader}-last",
            filter_subject=subjects.delivery("*", "*", "*", "*"),
            deliver_policy=DeliverPolicy.LAST,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=5,
        )
        async with consume(self._bus, subjects.DELIVERIES, config, batch=1) as consumer:
            while True:
                if messages := await consumer.next(wait=1.0):
                    return messages[-1].metadata.timestamp - dt.timedelta(seconds=KEPT_SECONDS)
                if consumer.remade and not consumer.backlog:
                    return None

    async def _note_event(self, message: Msg) -> None:
        try:
            told = _read(message)
        except codec.DecodeError as error:
            # It is put aside as a dead letter by who reads each event once.
            log.warning("event %d of alerts is passed over: %s", message.metadata.sequence.stream, error)
            return
        if told is not None:
            self.note(message.subject, message.metadata.sequence.stream, told)

    def note(self, subject: str, sequence: int, told: Told) -> None:
        """Take note of an event that stands on the bus."""
        case = self.cases.setdefault(told.data.alert, Case(told.data.alert))
        if sequence <= case.last:
            return
        case.subject, case.last = subject, sequence
        case.add(sequence, told)
        self._changed(case.alert)

    async def _note_record(self, message: Msg) -> None:
        try:
            record = codec.decode(DeliveryRecord, message.data)
        except codec.DecodeError as error:
            log.warning("record %d of deliveries is passed over: %s", message.metadata.sequence.stream, error)
            return
        self.note_record(message.subject, Kept(record, message.metadata.sequence.stream))

    def note_record(self, subject: str, kept: Kept) -> Kept:
        """Take note of a record that stands on the bus; give the newest one that is known."""
        record = kept.record
        case = self.cases.setdefault(record.alert, Case(record.alert))
        known = case.deliveries.get(subject)
        if known is not None and kept.sequence <= known.sequence:
            return known
        case.deliveries[subject] = kept
        self._by_identity[core.repeat_id(record.event, record.recipient)] = (record.alert, subject)
        if record.provider_id:
            self._by_provider[record.channel, record.provider_id] = (record.alert, subject)
        self._changed(record.alert)
        return kept

    def find(self, channel: str, identity: str, provider_id: str) -> tuple[str, Kept] | None:
        """Give a delivery, and its subject, by the name that its provider gives back."""
        place = self._by_identity.get(identity) or self._by_provider.get((channel, provider_id))
        if place is None or place[0] not in self.cases:
            return None
        return place[1], self.cases[place[0]].deliveries[place[1]]

    async def newest(self, subject: str) -> Kept | None:
        """Read how a delivery stands on the bus, however long that takes."""
        message = await patiently(lambda: self._bus.last(subjects.DELIVERIES, subject))
        if message is None or message.seq is None:
            return None
        kept = Kept(codec.decode(DeliveryRecord, message.data or b""), message.seq)
        self.note_record(subject, kept)
        return kept

    async def write(self, subject: str, before: Kept | None, record: DeliveryRecord) -> Kept:
        """Write how a delivery stands, over ``before``; None for its first record.

        Raises:
            ConflictError: it stands otherwise by now.

        """
        last = before.sequence if before else 0
        identity = f"{core.repeat_id(record.event, record.recipient)}-{last}-{record.state.value}"
        payload = codec.encode(record)
        try:
            sequence = await patiently(
                lambda: self._bus.store(subject, payload, message_id=identity, expected_last=last)
            )
        except ConflictError:
            # The same may stand there already: a confirmation that was lost, or another replica's.
            now = await self.newest(subject)
            if now is not None and before is not None and replace(now.record, at=record.at) == record:
                return now
            raise
        kept = Kept(record, sequence)
        metrics.DELIVERIES.labels(record.channel, record.state.value).inc()
        self.note_record(subject, kept)
        return kept

    async def load(self, alert: str, subject: str) -> Case:
        """Give a case with all that is kept of it, also when it is older than what was followed."""
        case = self.cases.setdefault(alert, Case(alert))
        if case.sighting is None:
            case.subject = subject
            async for message in read_all(self._bus, subjects.ALERTS, subject, self._reader):
                with contextlib.suppress(codec.DecodeError):
                    told = _read(message)
                    if told is not None and told.data.alert == alert:
                        case.add(message.metadata.sequence.stream, told)
            async for message in read_all(
                self._bus, subjects.DELIVERIES, subjects.delivery("*", alert, "*", "*"), self._reader
            ):
                await self._note_record(message)
        return case

    async def history(self, alert: str) -> list[DeliveryRecord]:
        """Give every record of an alert's deliveries, oldest first."""
        found = []
        async for message in read_all(
            self._bus, subjects.DELIVERIES, subjects.delivery("*", alert, "*", "*"), self._reader
        ):
            with contextlib.suppress(codec.DecodeError):
                found.append(codec.decode(DeliveryRecord, message.data))
        return found

    def forget(self, now: float) -> None:
        """Let go of cases that are over and old."""
        for alert, case in list(self.cases.items()):
            newest = max((kept.record.at for kept in case.deliveries.values()), default=0.0)
            seen = case.sighting
            if case.unfinished or max(newest, seen.raised_at if seen else 0.0) > now - KEPT_SECONDS:
                continue
            del self.cases[alert]
        alive = self.cases.keys()
        self._by_identity = {key: place for key, place in self._by_identity.items() if place[0] in alive}
        self._by_provider = {key: place for key, place in self._by_provider.items() if place[0] in alive}

    @property
    def unfinished(self) -> int:
        return sum(case.unfinished for case in self.cases.values())

    def waiting(self, channel: str) -> float:
        """Give for how many seconds the oldest delivery of a channel has been due that was not handed over."""
        records = (kept.record for case in self.cases.values() for kept in case.deliveries.values())
        due = [
            record.asked_at or record.at for record in records if record.channel == channel and not record.state.final
        ]
        return max(0.0, time.time() - min(due)) if due else 0.0


def _read(message: Msg) -> Told | None:
    told = core.read(message.data)
    return told and replace(told, trace=tracing.origin(message))


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Ask the bus until it answers: what was handed over must be recorded, however long the bus is away."""
    while True:
        try:
            return await call()
        except BusUnavailableError:
            await asyncio.sleep(BUS_RETRY_SECONDS)
