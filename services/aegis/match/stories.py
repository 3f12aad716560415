"""Telling the story of an alert on its subject, so that two writers never open the same visit."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import Sighting, Story
from aegis.contracts.messages import Severity
from aegis.runtime import tracing
from aegis.runtime.bus import Bus, ConflictError
from aegis.runtime.consumers import consume

log = logging.getLogger(__name__)

HEADERS = {"content-type": cloudevents.CONTENT_TYPE}
STORE_SECONDS = 30.0
REMEMBERED = 10_000

Verdict = Literal["raise", "raise again", "sight", "silent"]
Compose = Callable[[Story, Verdict], Sighting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told, if anything was."""

    verdict: Verdict
    sighting: Sighting | None = None


class Stories:
    """The newest state of each subject, as far as this process knows it.

    Those of a site in ``shadow`` are told in the same way, but in another stream and as events that alert nobody.
    """

    def __init__(self, bus: Bus, reader: str, *, shadow: bool = False) -> None:
        self._bus = bus
        self._reader = reader
        self._stream = subjects.SHADOW if shadow else subjects.ALERTS
        self._raised = alerts.WOULD_RAISE if shadow else alerts.RAISED
        self._sighted = alerts.WOULD_SIGHT if shadow else alerts.SIGHTED
        self._known: OrderedDict[str, Story] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def tell(self, subject: str, seen_at: float, severity: Severity, compose: Compose) -> Told:
        """Publish what a sighting adds to the story; errors are those of :meth:`Bus.store`."""
        async with self._locks.setdefault(subject, asyncio.Lock()):
            while True:
                story = self._known.get(subject) or await self._read(subject)
                verdict = alerts.decide(story, seen_at, severity)
                if verdict == "silent":
                    self._remember(subject, alerts.note_seen(story, seen_at))
                    return Told(verdict=verdict)
                sighting = compose(story, verdict)
                kind = self._sighted if verdict == "sight" else self._raised
                event = alerts.event(kind, secrets.token_hex(12), sighting)
                if kind == alerts.RAISED:
                    tracing.keep()
                try:
                    sequence = await self._bus.store(
                        subject,
                        cloudevents.dump(event),
                        message_id=event.id,
                        expected_last=story.sequence,
                        headers=HEADERS,
                        patience=STORE_SECONDS,
                    )
                except ConflictError:
                    log.info("somebody else told of the same person; reading on")
                    self._remember(subject, await self._read(subject, since=story))
                    continue
                self._remember(subject, alerts.fold(story, sequence, event))
                return Told(verdict=verdict, sighting=sighting)

    async def _read(self, subject: str, since: Story | None = None) -> Story:
        """Fold every event of the subject; what this process itself has seen since stays in it."""
        story = Story()
        newest = await self._bus.last(self._stream, subject)
        if newest is None:
            return story
        config = ConsumerConfig(
            name=self._reader,
            filter_subject=subject,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=5,
        )
        async with consume(self._bus, self._stream, config, batch=64) as consumer:
            while story.sequence < (newest.seq or 0):
                for message in await consumer.next():
                    sequence = message.metadata.sequence.stream
                    try:
                        story = alerts.fold(story, sequence, cloudevents.load(message.data))
                    except codec.DecodeError as error:
                        log.error("event %d of %s cannot be read: %s", sequence, subject, error)  # noqa: TRY400
                        story = replace(story, sequence=sequence)
        if since is not None and since.alert == story.alert:
            story = alerts.note_seen(story, since.last_seen_at)
        return story

    def _remember(self, subject: str, story: Story) -> None:
        self._known[subject] = story
        self._known.move_to_end(subject)
        while len(self._known) > REMEMBERED:
            forgotten, _ = self._known.popitem(last=False)
            self._locks.pop(forgotten, None)
