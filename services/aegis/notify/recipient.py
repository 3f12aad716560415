"""One recipient of alerts: its own durable consumer, so that nobody waits for anybody else.

What cannot be handed over goes back to the bus with a delay (a nak): the bus keeps its schedule and counts its
attempts on disk, so both outlive a killed notify and a killed bus. Waiting in this process would lose them.
"""

import asyncio
import contextlib
import logging
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aegis.contracts import codec, subjects
from aegis.contracts.messages import DeliveryRecord
from aegis.notify import core
from aegis.notify.core import Alert, NeverError, TryAgainError
from aegis.runtime import metrics
from aegis.runtime.bus import BusUnavailableError, Msg, RefusedError
from aegis.runtime.consumers import consume
from aegis.runtime.service import Context, Start
from aegis.runtime.topology import DAY

log = logging.getLogger(__name__)

T = TypeVar("T")

ACK_SECONDS = 10.0
"""A message whose process died is given to the next one after this long; one in hand is reported every third of it."""
MAX_UNACKED = 1000
AT_ONCE = 16
"""Hand-overs to one recipient at the same time."""
BATCH = 16
LOOK_SECONDS = 0.5
LEAVE_SECONDS = 1.0
"""Below the two seconds that the runner gives a service to leave."""
BUS_RETRY_SECONDS = 0.2


class Channel(Protocol):
    """A way to tell one recipient; ``label`` names it to people without giving its address away."""

    @property
    def name(self) -> str: ...

    token: str
    label: str

    async def tell(self, alert: Alert) -> None:
        """Hand an alert over, or raise TryAgainError or NeverError."""


class Recipient:
    """Takes every alert from the stream and sees to it that it is told, refused for good, or expired."""

    def __init__(self, context: Context[Any], channel: Channel) -> None:
        self._context = context
        self._bus = context.bus
        self._channel = channel
        self._room = asyncio.Semaphore(AT_ONCE)
        self._in_hand: dict[int, Msg] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._owed = 1
        """What the bus holds for this recipient, at the last look; not none before the first."""
        self._taken = 0
        """Counts messages taken, so that a look from before one does not say that nothing is owed after it."""
        self._last_error = ""
        self.name = f"{channel.name}-{channel.token}"
        self.durable = f"notify-{self.name}"
        self.detail: dict[str, object] = {"to": channel.label}
        """What ``aegis status`` says of this recipient, kept up to date."""
        self._describe()

    @property
    def busy(self) -> int:
        return max(self._owed, len(self._in_hand))

    def _describe(self, error: str | None = None) -> None:
        self._last_error = self._last_error if error is None else error
        self.detail |= {"pending": self.busy, "last_error": self._last_error}

    async def run(self, start: Start) -> None:
        """Take alerts for ever; each is handled by a task of its own."""
        config = ConsumerConfig(
            durable_name=self.durable,
            filter_subject=subjects.alert("*", "*", "*"),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            max_ack_pending=MAX_UNACKED,
            # A recipient that left the site file; one that comes back finds what it was told in its delivery records.
            inactive_threshold=DAY,
        )
        async with consume(self._bus, subjects.ALERTS, config, batch=BATCH) as consumer:
            while True:
                for message in await consumer.next():
                    sequence = message.metadata.sequence.stream
                    # The bus gives again what it was not told of in time, for example while it was away.
                    if sequence not in self._in_hand:
                        self._in_hand[sequence] = message
                        self._taken += 1
                        self._owed = max(self._owed, 1)
                        task = start(self._take(sequence, message))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)

    async def watch(self) -> None:
        """Keep what is in hand from being given to another process, and look how much the bus still holds."""
        reported = time.monotonic()
        while True:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                taken = self._taken
                info = await self._bus.client.jetstream(timeout=1).consumer_info(subjects.ALERTS, self.durable)
                owed = (info.num_pending or 0) + (info.num_ack_pending or 0)
                self._owed = owed if taken == self._taken else max(self._owed, owed)
            self._describe()
            if time.monotonic() - reported > ACK_SECONDS / 3:
                reported = time.monotonic()
                for message in list(self._in_hand.values()):
                    await _say(message.in_progress)
            await asyncio.sleep(LOOK_SECONDS)

    async def leave(self) -> None:
        """Let what is being handed over come to its end, and give the rest back to the bus at once."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=LEAVE_SECONDS)
        rest = list(self._in_hand.values())
        for task in set(self._tasks):
            task.cancel()
        for message in rest:
            await _say(message.nak)

    async def _take(self, sequence: int, message: Msg) -> None:
        try:
            await self._handle(message)
        except Exception as error:  # noqa: BLE001 - one alert must not stop the others
            log.error("an alert could not be handled", extra=_where(error))  # noqa: TRY400 - it might tell a secret
            await self._refuse(message, f"not handled because of a mistake in this program: {type(error).__name__}")
        finally:
            self._in_hand.pop(sequence, None)

    async def _handle(self, message: Msg) -> None:
        try:
            alert = core.read(message.data)
        except codec.DecodeError as error:
            await self._refuse(message, str(error))
            return
        if alert is None:
            await _say(message.ack)
            return
        subject = subjects.delivery(self._channel.name, alert.event.id, self._channel.token)
        if await _patiently(lambda: self._bus.last(subjects.DELIVERIES, subject)) is not None:
            await _say(message.ack)
            return
        async with self._room:
            await self._tell(message, subject, alert)

    async def _tell(self, message: Msg, subject: str, alert: Alert) -> None:
        attempt = message.metadata.num_delivered or 1
        expires_at = alert.sighting.expires_at
        if time.time() >= expires_at:
            if attempt > 1:
                await self._fail(message, subject, alert, "it expired before it could be handed over")
            else:
                await self._record(message, subject, alert, "expired")
                await _say(message.ack)
            return
        try:
            await self._try(alert)
        except NeverError as error:
            await self._fail(message, subject, alert, str(error))
        except TryAgainError as error:
            self._note(error)
            jitter = random.random()  # noqa: S311 - spreads load, hides nothing
            delay = core.next_attempt(
                now=time.time(), expires_at=expires_at, attempt=attempt, jitter=jitter, after=error.after
            )
            if delay is None:
                await self._fail(message, subject, alert, f"no time was left for another attempt: {error}")
                return
            metrics.DELIVERIES.labels(self._channel.name, "retried").inc()
            log.warning("%s: attempt %d failed, the next in %.1f s: %s", self.name, attempt, delay, error)
            await _say(lambda: message.nak(delay=delay))
        else:
            metrics.DELIVERY_LATENCY.labels(self._channel.name).observe(
                max(0.0, time.time() - alert.sighting.raised_at)
            )
            self._describe(error="")
            await self._record(message, subject, alert, "sent")
            await _say(message.ack)

    async def _try(self, alert: Alert) -> None:
        try:
            await self._channel.tell(alert)
        except (TryAgainError, NeverError):
            raise
        except Exception as error:  # noqa: BLE001 - one alert must not stop the others
            # What a library raises unforeseen is no reason to give an alert up; its text might hold a secret.
            log.error("%s: unforeseen %s", self.name, type(error).__name__, extra=_where(error))  # noqa: TRY400
            raise TryAgainError(f"unforeseen {type(error).__name__}") from None

    def _note(self, error: TryAgainError) -> None:
        if error.setup and str(error) != self._last_error:
            log.error("%s (%s) CANNOT BE TOLD until the settings are mended: %s", self.name, self._channel.label, error)
        self._describe(str(error))

    async def _fail(self, message: Msg, subject: str, alert: Alert, problem: str) -> None:
        self._describe(problem)
        await self._record(message, subject, alert, "failed", problem)
        await self._refuse(message, problem)

    async def _refuse(self, message: Msg, problem: str) -> None:
        await self._context.dead_letter(message, f"{self.name}: {problem}")
        await _say(message.term)

    async def _record(self, message: Msg, subject: str, alert: Alert, state: str, problem: str = "") -> None:
        metrics.DELIVERIES.labels(self._channel.name, state).inc()
        record = DeliveryRecord(
            alert=alert.sighting.alert,
            channel=self._channel.name,
            recipient=self._channel.token,
            state=state,
            at=time.time(),
            detail=problem,
            attempts=message.metadata.num_delivered or 1,
        )
        identity = core.repeat_id(alert.event.id, f"{self.name}-{state}")
        try:
            await _patiently(lambda: self._bus.store(subject, codec.encode(record), message_id=identity))
        except RefusedError as error:
            log.error("%s: what became of an alert (%s) is not recorded: %s", self.name, state, error)  # noqa: TRY400


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Ask the bus until it answers: what was handed over must be recorded, however long the bus is away."""
    while True:
        try:
            return await call()
        except BusUnavailableError:
            await asyncio.sleep(BUS_RETRY_SECONDS)


async def _say(answer: Callable[[], Awaitable[None]]) -> None:
    """Answer the bus about a message. An answer that is lost is harmless: the message comes again and is recognised."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await answer()


def _where(error: Exception) -> dict[str, str]:
    return {"kind": type(error).__name__, "trace": "".join(traceback.format_tb(error.__traceback__))}
