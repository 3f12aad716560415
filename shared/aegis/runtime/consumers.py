"""Pull consumers that outlive their server: made again when it lost them, never waiting on a dead request."""

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.runtime import clock, metrics
from aegis.runtime.bus import PULL_SECONDS, Bus

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.5
HEARTBEAT_SECONDS = 1.0
"""How often a consumer of another server says that it is there, though it has nothing to give."""
SILENT_SECONDS = 2.5
"""One of which nothing was heard for so long is gone, with the server that had it. Where there is but one server it
says so before, or is gone with the connection."""
GONE = ("404", "409", "503")


class Consumer:
    """Messages of a stream, pulled in small batches. Make one with :func:`consume`.

    At most ``batch`` messages wait here, so what this process cannot do stays on the server for the others.
    """

    def __init__(self, bus: Bus, stream: str, config: ConsumerConfig, batch: int) -> None:
        self._bus = bus
        self._stream = stream
        self._config = config
        self._batch = batch
        self._name = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        """None when the connection was lost, or is back."""
        self._generation = 0
        self._asked_until = 0.0
        self._heard = 0.0
        self._outstanding = 0
        self._queued = 0
        self._backlog_to = 0
        # A reader of events goes on behind the last one; a reader of the newest of each subject begins again.
        self._resumes = config.durable_name is None and config.deliver_policy in (DeliverPolicy.ALL, DeliverPolicy.NEW)
        self._read_to: int | None = None
        self.remade = 0
        """How often the consumer was made: after each, one that reads the newest of each subject begins again."""
        self.backlog = 0
        """How many messages waited for it when it was made."""

    async def next(self, wait: float | None = None, linger: float = 0.0) -> list[Msg]:
        """Give one to ``batch`` messages; empty after ``wait`` seconds without any.

        ``linger`` is how many seconds to wait for others once there is one, while they are fewer than a batch.
        An empty list also comes at once when the consumer had to be made anew (see ``remade``).
        """
        deadline = None if wait is None else time.monotonic() + wait
        while deadline is None or time.monotonic() < deadline:
            if not self._bus.connected:
                # One that was closed for good refuses everything at once: this loop would never wait.
                await asyncio.sleep(0.05)
                continue
            if self._generation != self._bus.generation or self._subscription is None:
                if await self._make():
                    return []
                continue
            await self._ask()
            ends = (self._asked_until, self._gone_at(), math.inf if deadline is None else deadline)
            message = await self._receive(max(0.01, min(ends) - time.monotonic()))
            if message is None:
                if self._arrived.empty() and time.monotonic() >= self._gone_at():
                    log.info("%s: the consumer is silent", self._stream)
                    self.remake()
                continue
            messages = [message]
            if linger and self._arrived.qsize() + 1 < self._batch:
                await asyncio.sleep(linger)
            while len(messages) < self._batch and (more := self._waiting()) is not None:
                messages.append(more)
            if self._resumes:
                self._read_to = messages[-1].metadata.sequence.stream
            return messages
        return []

    def _gone_at(self) -> float:
        """Give the time from which on it counts as gone, unless it is heard of."""
        return math.inf if self._bus.alone else self._heard + SILENT_SECONDS

    def remake(self) -> None:
        """Have it made anew at the next call."""
        self._generation = 0

    async def close(self) -> None:
        self._bus.interrupts.discard(self._interrupt)
        self._note_queue(0)
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._subscription.unsubscribe()

    async def _make(self) -> bool:
        generation = self._bus.generation
        try:
            await self.close()
            config = self._config
            if config.durable_name is None:
                config = replace(config, name=f"{config.name}-{self._bus.client.new_inbox()[-10:]}")
            else:
                config = replace(config, name=config.durable_name)
            if self._resumes and self._read_to is not None:
                config = replace(
                    config, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._read_to + 1
                )
            info = await self._bus.client.jetstream(timeout=2).add_consumer(self._stream, config)
            self._name = info.name
            self.backlog = info.num_pending or 0
            self._backlog_to = (info.delivered.consumer_seq if info.delivered else 0) + self.backlog
            if self._read_to is None and info.delivered is not None:
                self._read_to = info.delivered.stream_seq
            self._inbox = self._bus.client.new_inbox()
            self._arrived = asyncio.Queue()
            self._subscription = await self._bus.client.subscribe(self._inbox, cb=self._arrived.put)
            self._bus.interrupts.add(self._interrupt)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            # A stream in memory is declared again after its server was away.
            log.info("%s: no consumer yet: %s", self._stream, str(error) or type(error).__name__)
            self._subscription = None
            await self._bus.answers.missed()
            await asyncio.sleep(0.2)
            return False
        self._bus.answers.heard()
        self._generation = generation
        self._outstanding = 0
        self.remade += 1
        return True

    async def _ask(self) -> None:
        if self._outstanding > 0 and time.monotonic() < self._asked_until:
            return
        request = {"batch": self._batch, "expires": int(PULL_SECONDS * 1e9)}
        if not self._bus.alone:
            request["idle_heartbeat"] = int(HEARTBEAT_SECONDS * 1e9)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        self._outstanding = self._batch
        self._heard = time.monotonic()
        self._asked_until = self._heard + PULL_SECONDS + GRACE_SECONDS
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._bus.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    def _interrupt(self) -> None:
        self._arrived.put_nowait(None)

    async def _receive(self, wait: float) -> Msg | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                message = await self._arrived.get()
                return None if message is None else self._sort(message)
        return None

    def _waiting(self) -> Msg | None:
        with contextlib.suppress(asyncio.QueueEmpty):
            message = self._arrived.get_nowait()
            return None if message is None else self._sort(message)
        return None

    def _sort(self, message: Msg) -> Msg | None:
        """Take note of a status message; give any other."""
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._outstanding -= 1
            self._note(message)
            return message
        self._note_queue(0)
        if status != "100":
            self._outstanding = 0
        if status in GONE and status != "404":
            description = (message.headers or {}).get("Description", "")
            if status == "503" or "Deleted" in description or "Leadership" in description:
                log.info("%s: the consumer is gone (%s %s)", self._stream, status, description)
                self.remake()
        return None

    def _note(self, message: Msg) -> None:
        """Note what waits behind a message, and the bus's clock if it came as soon as it was stored."""
        about = message.metadata
        self._note_queue(about.num_pending)
        first = about.num_delivered == 1 and about.sequence.consumer > self._backlog_to
        if first and about.num_pending == 0:
            clock.note(about.timestamp)

    def _note_queue(self, waiting: int) -> None:
        if self._config.durable_name is not None:
            # Match has a consumer for each partition on one stream.
            metrics.QUEUE_WAITING.labels(self._stream).inc(waiting - self._queued)
            self._queued = waiting


@contextlib.asynccontextmanager
async def consume(bus: Bus, stream: str, config: ConsumerConfig, batch: int = 8) -> AsyncIterator[Consumer]:
    """Open a consumer; ``config`` needs a ``durable_name``, or a ``name`` as the beginning of an ephemeral one's."""
    consumer = Consumer(bus, stream, config, batch)
    try:
        yield consumer
    finally:
        await consumer.close()


async def read_all(bus: Bus, stream: str, subject: str, reader: str) -> AsyncGenerator[Msg, None]:
    """Give everything that a stream keeps of a subject, oldest first, up to the newest that was there."""
    config = ConsumerConfig(
        name=f"{reader}-all",
        filter_subject=subject,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=5,
    )
    async with consume(bus, stream, config, batch=64) as consumer:
        while True:
            messages = await consumer.next(wait=1.0)
            for message in messages:
                yield message
            if (messages and messages[-1].metadata.num_pending == 0) or (consumer.remade and not consumer.backlog):
                return
