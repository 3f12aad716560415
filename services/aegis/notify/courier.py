"""Hands deliveries over, one durable consumer a channel: pending, sending, sent, then delivered or failed.

What cannot be handed over goes back to the bus with a delay (a nak): the bus keeps its schedule on disk, so that it
outlives a killed notify and a killed bus. A delivery that a crash left in ``sending`` may have been handed over, so
the provider is asked before it is tried again; only where it has no way to tell can somebody be told twice.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import codec, subjects
from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.telling import Contact
from aegis.notify import core
from aegis.notify.channel import Channel, Receipt
from aegis.notify.hand_over import Compose, HandOver, say, where
from aegis.notify.ledger import Ledger
from aegis.runtime.bus import ConflictError, Msg
from aegis.runtime.consumers import consume
from aegis.runtime.service import Context, Start

log = logging.getLogger(__name__)

ACK_SECONDS = 10.0
"""A message whose process died is given to the next one after this long; one in hand is reported every third of it."""
MAX_UNACKED = 10_000
BATCH = 64
LEAVE_SECONDS = 1.0
"""Below the two seconds that the runner gives a service to leave."""
RECEIPT_SECONDS = 3.0
"""A receipt can come before the record of what it is for."""

NEWS_TO = {
    DeliveryState.SENT: (DeliveryState.SENDING,),
    DeliveryState.FAILED: (DeliveryState.SENDING, DeliveryState.SENT),
    DeliveryState.DELIVERED: (DeliveryState.SENDING, DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING),
}
"""States in which a receipt says something new."""


class Courier:
    """One channel: takes pending deliveries from the stream and sees each to its end."""

    def __init__(
        self,
        context: Context[Any],
        ledger: Ledger,
        channel: Channel,
        *,
        contacts: Mapping[tuple[str, str], Contact],
        compose: Compose,
    ) -> None:
        self._bus = context.bus
        self._ledger = ledger
        self._channel = channel
        self._contacts = contacts
        self._hand_over = HandOver(context, ledger, channel, contacts=contacts, compose=compose)
        self._in_hand: dict[int, Msg] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        return len(self._in_hand)

    def label(self, contact: Contact) -> str:
        return self._channel.label(contact)

    def problem(self, contact: Contact) -> str:
        """Say why a contact waits, as far as that is known."""
        return self._hand_over.problem(contact)

    def describe(self) -> dict[str, dict[str, object]]:
        """Say what ``aegis status`` shows of every contact of this channel."""
        waiting = Counter(
            kept.record.recipient
            for case in self._ledger.cases.values()
            for kept in case.deliveries.values()
            if not kept.record.state.final
        )
        mine = [contact for (channel, _), contact in self._contacts.items() if channel == self._channel.name]
        return {
            f"{contact.channel}-{contact.token}": {
                "to": self._channel.label(contact),
                "person": contact.person,
                "pending": waiting[contact.token],
                "last_error": self._hand_over.problem(contact),
            }
            for contact in mine
        }

    async def run(self, start: Start) -> None:
        """Take deliveries for ever; each is handled by a task of its own."""
        name = self._channel.name
        config = ConsumerConfig(
            durable_name=f"notify-{name}",
            filter_subject=subjects.delivery(name, "*", "*", "*"),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            max_ack_pending=MAX_UNACKED,
        )
        await self._ledger.synced()
        async with consume(self._bus, subjects.DELIVERIES, config, batch=BATCH) as consumer:
            while True:
                for message in await consumer.next():
                    sequence = message.metadata.sequence.stream
                    # The bus gives again what it was not told of in time, for example while it was away.
                    if sequence not in self._in_hand:
                        self._in_hand[sequence] = message
                        task = start(self._take(sequence, message))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)

    async def hold(self) -> None:
        """Keep what is in hand from being given to another process."""
        while True:
            await asyncio.sleep(ACK_SECONDS / 3)
            for message in list(self._in_hand.values()):
                await say(message.in_progress)

    async def leave(self) -> None:
        """Let what is being handed over come to its end, and give the rest back to the bus at once."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=LEAVE_SECONDS)
        rest = list(self._in_hand.values())
        for task in set(self._tasks):
            task.cancel()
        for message in rest:
            await say(message.nak)

    async def take_receipt(self, receipt: Receipt) -> None:
        """Write down what a provider says later.

        Raises:
            LookupError: nothing of that name was handed over of late.

        """
        deadline = time.monotonic() + RECEIPT_SECONDS
        while (found := self._ledger.find(self._channel.name, receipt.identity, receipt.provider_id)) is None:
            if time.monotonic() > deadline:
                raise LookupError("no such delivery")
            await asyncio.sleep(0.1)
        subject, kept = found
        while kept.record.state in NEWS_TO.get(receipt.state, ()):
            record = replace(
                kept.record,
                state=receipt.state,
                at=time.time(),
                detail=core.detail(receipt.detail),
                provider_id=kept.record.provider_id or receipt.provider_id,
            )
            try:
                await self._ledger.write(subject, kept, record)
            except ConflictError:
                kept = await self._ledger.newest(subject) or kept
            else:
                return

    async def _take(self, sequence: int, message: Msg) -> None:
        try:
            await self._hand_over.see_to(sequence, message)
        except codec.DecodeError as error:
            await self._hand_over.refuse(message, str(error))
        except ConflictError:
            # Somebody else has it, or took it back: what stands there then says what is left to do.
            await say(lambda: message.nak(delay=1.0))
        except Exception as error:  # noqa: BLE001 - one alert must not stop the others
            # What a library raises unforeseen is no reason to give an alert up; its text might hold a secret.
            log.error("a delivery could not be handled", extra=where(error))  # noqa: TRY400
            await say(lambda: message.nak(delay=core.FIRST_DELAY))
        finally:
            self._in_hand.pop(sequence, None)
