"""Every alert that is kept, folded live from the stories on the bus, so that a review finds it at once."""

import asyncio
import logging
from collections.abc import Iterable

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import alerts, cloudevents, codec, reviews, subjects
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.reviews import Change, Review
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.consumers import consume
from aegis.runtime.topology import RETENTION

log = logging.getLogger(__name__)

HEADERS = {"content-type": cloudevents.CONTENT_TYPE}


class Alerts:
    """Run it as a task; ``synced`` is set once everything that was told before has been read."""

    def __init__(self, bus: Bus, reader: str) -> None:
        self._bus = bus
        self._reader = reader
        self._reviews: dict[str, Review] = {}
        self._by_reference: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._read_to = 0
        self._moved = asyncio.Condition()
        self.synced = asyncio.Event()

    def get(self, alert: str) -> Review | None:
        """Give an alert by its id."""
        return self._reviews.get(alert)

    def find(self, reference: str) -> Review | None:
        """Give an alert by its short form for people."""
        return self._reviews.get(self._by_reference.get(reference.upper(), ""))

    def all(self) -> Iterable[Review]:
        return self._reviews.values()

    async def add(self, change: Change) -> None:
        """Tell it on the alert's subject and read it from there; other errors are those of :meth:`Bus.store`.

        Raises:
            ConflictError: something else was told first; :meth:`read_on` and decide again.

        """
        event, subject = change.event(), _subject(change)
        sequence = await self._bus.store(
            subject,
            cloudevents.dump(event),
            message_id=event.id,
            expected_last=self._last.get(subject, 0),
            headers=HEADERS,
        )
        await self._reached(sequence)

    async def read_on(self, change: Change) -> None:
        """Wait until everything was read that stands on the subject on which a change was to be told."""
        newest = await self._bus.last(subjects.ALERTS, _subject(change))
        await self._reached((newest and newest.seq) or 0)

    async def _reached(self, sequence: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._read_to >= sequence)

    async def run(self) -> None:
        """Follow the stories for ever."""
        config = ConsumerConfig(
            name=self._reader,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=30,
        )
        async with consume(self._bus, subjects.ALERTS, config, batch=256) as consumer:
            while True:
                messages = await consumer.next(wait=1.0)
                for message in messages:
                    self._read(message)
                if messages:
                    async with self._moved:
                        self._moved.notify_all()
                behind = messages[-1].metadata.num_pending if messages else consumer.backlog or not consumer.remade
                if not behind:
                    self.synced.set()

    def _read(self, message: Msg) -> None:
        sequence = message.metadata.sequence.stream
        self._read_to = max(self._read_to, sequence)
        self._last[message.subject] = sequence
        try:
            self._note(cloudevents.load(message.data))
        except codec.DecodeError as error:
            log.error("event %d of %s cannot be read: %s", sequence, message.subject, error)  # noqa: TRY400

    def _note(self, event: CloudEvent) -> None:
        alert = str(event.data.get("alert", ""))
        review = reviews.fold(self._reviews.get(alert), event)
        if review is None:
            return
        self._reviews[alert] = review
        if event.type == alerts.RAISED:
            self._by_reference[review.sighting.reference] = alert
            self._forget(review.sighting.raised_at - RETENTION)

    def _forget(self, before: float) -> None:
        """Forget alerts that the stream does not keep any more."""
        while (first := next(iter(self._reviews.values()))).sighting.raised_at < before:
            del self._reviews[first.sighting.alert]
            self._by_reference.pop(first.sighting.reference, None)


def _subject(change: Change) -> str:
    told = change.update
    return subjects.alert(told.site, told.category, told.entry)
