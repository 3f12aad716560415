"""Alerts in other forms: each event of a story as a message of CAP 1.2, each sighting as an event of ONVIF Profile M.

    alert.<site>.<category>.<entry> ──► durable consumer ``formats`` ──► cap.<site>.<category>.<entry>
                                                                     ──► onvif.<site>.…&<camera>.<category>

A message follows from the events before it, so what is told again after a crash is the same and is stored once.
"""

import contextlib
import logging
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import cap, cloudevents, codec, onvif, subjects
from aegis.contracts.cap import History
from aegis.notify.hand_over import say
from aegis.notify.ledger import patiently
from aegis.runtime.bus import Msg, RefusedError
from aegis.runtime.consumers import consume, read_all
from aegis.runtime.service import Context

log = logging.getLogger(__name__)

DURABLE = "formats"
ACK_SECONDS = 10.0
"""What a process did not finish before it died is given out again after this long."""
REMEMBERED = 1000
"""Histories that are kept in memory; others are read from the bus."""


class Formats:
    """Follows the stories of alerts and publishes both forms; ``names`` lets them name the person.

    One event at a time and in order, since a message of CAP refers to those before it.
    """

    def __init__(self, context: Context[Any], *, names: bool) -> None:
        self._context = context
        self._bus = context.bus
        self._names = names
        self._histories: OrderedDict[str, History] = OrderedDict()
        self.busy = 0
        """1 while an event is in hand."""

    async def run(self) -> None:
        """Publish for ever."""
        config = ConsumerConfig(
            durable_name=DURABLE,
            filter_subject=subjects.alert("*", "*", "*"),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            max_ack_pending=1,
        )
        async with consume(self._bus, subjects.ALERTS, config, batch=1) as consumer:
            while True:
                for message in await consumer.next():
                    self.busy = 1
                    await self._take(message)
                    self.busy = 0

    async def _take(self, message: Msg) -> None:
        try:
            await self._publish(message)
        except codec.DecodeError as error:
            await self._refuse(message, str(error))
        except RefusedError as error:
            await self._refuse(message, f"the bus refuses another form of it: {error}")
        except Exception as error:
            log.exception("an event could not be put into another form")
            await self._refuse(message, f"not handled because of a mistake in this program: {type(error).__name__}")
        else:
            await say(message.ack)

    async def _refuse(self, message: Msg, problem: str) -> None:
        await self._context.dead_letter(message, f"{DURABLE}: {problem}")
        await say(message.term)

    async def _publish(self, message: Msg) -> None:
        event = cloudevents.load(message.data)
        sequence = message.metadata.sequence.stream
        history = self._histories.get(message.subject) or await self._read(message.subject, sequence)
        if history.sequence >= sequence:
            return  # It was published, and only the answer to the bus was lost.
        seen = onvif.sighting(event)
        try:
            history, alert = cap.tell(history, sequence, event, names=self._names)
        except ArithmeticError:
            raise codec.DecodeError("CloudEvent", "holds a time that is none of our calendar") from None
        if alert is not None:
            _, _, _, *parts = message.subject.split(".")
            await self._store(subjects.cap(*parts), alert, event.id, cap.CONTENT_TYPE)
        # ONVIF's form has no time of expiry, so what is history by now is not told in it.
        if seen is not None and time.time() < seen.expires_at:
            subject = subjects.onvif(seen.site, seen.camera, onvif.rule(seen))
            await self._store(subject, onvif.face(event, seen, names=self._names), event.id, onvif.CONTENT_TYPE)
        self._histories[message.subject] = history
        self._histories.move_to_end(message.subject)
        while len(self._histories) > REMEMBERED:
            self._histories.popitem(last=False)

    async def _store(self, subject: str, payload: bytes, identity: str, content_type: str) -> None:
        headers = {"content-type": content_type}
        await patiently(lambda: self._bus.store(subject, payload, message_id=identity, headers=headers))

    async def _read(self, subject: str, before: int) -> History:
        """Read what the subject's events in front of a sequence say, as after a restart."""
        history = History()
        async with contextlib.aclosing(read_all(self._bus, subjects.ALERTS, subject, DURABLE)) as kept:
            async for message in kept:
                sequence = message.metadata.sequence.stream
                if sequence >= before:
                    break
                history = self._add(history, sequence, message)
        return history

    def _add(self, history: History, sequence: int, message: Msg) -> History:
        try:
            return cap.tell(history, sequence, cloudevents.load(message.data), names=self._names)[0]
        except (codec.DecodeError, ArithmeticError):
            # It was put aside when its turn came.
            return replace(history, sequence=sequence)
