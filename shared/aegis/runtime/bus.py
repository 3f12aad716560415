"""The bus as the services use it: a wrapper of nats-py that answers what was seen to go wrong with it.

=====================================================================  ==========================================
what nats-py does                                                      what is done here
=====================================================================  ==========================================
its size check forgets headers, and the server then closes for good    :meth:`Bus._headers`; ``closed`` ends
                                                                       the process
it buffers 2 MB while disconnected and sends it later                  frames are dropped, durable messages wait
                                                                       and carry an id that makes a repeat harmless
a fetch that is pending when the server dies waits for its time-out    pulls last :data:`PULL_SECONDS`
its key-value watcher recovers late or never                           :mod:`aegis.runtime.buckets` re-reads
draining waits 30 s for a pull subscription                            pulls are unsubscribed first, with a limit
callbacks run one at a time                                            :meth:`Bus.serve` answers concurrently
its flush lets the ping overtake what still waits to be sent           :meth:`Bus.flush` sends that first
it stays with a server that is cut off from the rest of its cluster    :class:`Answers` goes to another
=====================================================================  ==========================================
"""

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header, RawStreamMsg

from aegis.runtime import tracing
from aegis.runtime.bus_connection import Answers, BusConfig, connect_patiently

__all__ = ["Bus", "BusConfig", "BusUnavailableError", "ConflictError", "Msg", "PayloadTooLargeError", "RefusedError"]

log = logging.getLogger(__name__)

PULL_SECONDS = 30.0
"""How long one pull request waits on the server."""
CLOSE_SECONDS = 1.5
SUBSCRIBE_SECONDS = 1.0
WRONG_LAST_SEQUENCE = (10071, 10164)
IN_PROCESS = 10158
"""Another's message of the same id is being agreed on in the cluster; soon it is known what became of it."""
CONCURRENT_REPLIES = 16


class PayloadTooLargeError(ValueError):
    """A message that the server would answer by closing the connection."""

    def __init__(self, subject: str, size: int, limit: int) -> None:
        self.subject, self.size, self.limit = subject, size, limit
        super().__init__(f"{size} bytes for {subject} are above the bus's limit of {limit}")


class ConflictError(RuntimeError):
    """Somebody else wrote this subject or key since it was read."""


class BusUnavailableError(RuntimeError):
    """The bus did not confirm in time."""


class RefusedError(RuntimeError):
    """The bus confirmed that it will not do this, for example for lack of space."""


class Bus:
    """A connection that comes back by itself. Make one with :meth:`connect`."""

    def __init__(self, client: Client, config: BusConfig) -> None:
        self.client = client
        self.config = config
        self.closed = asyncio.Event()
        """Set when the client gave up for good: the process must end, and be started anew."""
        self.generation = 1
        """Counts connections, so that what lives on the server can be made again after each."""
        self.interrupts: set[Callable[[], None]] = set()
        """Called when the connection is lost and when it is back, so that nobody waits for what cannot come."""
        self._reconnected: list[Callable[[], Awaitable[None]]] = []
        self.answers = Answers(client)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, config: BusConfig, name: str) -> AsyncIterator["Bus"]:
        """Connect, waiting for as long as the bus is away, and close on the way out."""
        client = Client()
        bus = cls(client, config)

        async def reconnected() -> None:
            bus.generation += 1
            bus.answers.heard()
            bus._interrupt()
            log.info("bus reconnected")
            for hook in bus._reconnected:
                await bus._call(hook)

        async def disconnected() -> None:
            bus._interrupt()
            log.warning("bus disconnected")

        async def closed() -> None:
            bus.closed.set()

        told = ""

        async def failed(error: Exception) -> None:
            nonlocal told
            problem = str(error) or type(error).__name__
            # While the bus is away every attempt fails, five a second.
            repeated = problem == told and not client.is_connected
            log.log(logging.DEBUG if repeated else logging.WARNING, "bus error: %s", problem)
            told = problem

        callbacks = {"reconnected_cb": reconnected, "disconnected_cb": disconnected, "closed_cb": closed}
        await connect_patiently(client, config, name, {**callbacks, "error_cb": failed})
        try:
            yield bus
        finally:
            # A server that is paused answers neither, and must not keep the second from being tried.
            for leave in (bus.flush, client.close) if client.is_connected else (client.close,):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(leave(), CLOSE_SECONDS / 2)

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    @property
    def alone(self) -> bool:
        """Whether all streams live in the very server that one is connected to: one without a cluster or a link."""
        about = self.client._server_info  # noqa: SLF001 - there is no public way
        return bool(about.get("jetstream")) and "cluster" not in about

    @property
    def max_payload(self) -> int:
        """What a message may weigh on the server that one is connected to, headers included, in bytes."""
        return self.client.max_payload

    def on_reconnect(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Call ``hook`` after every reconnection, again and again while it fails for reasons of the bus."""
        self._reconnected.append(hook)

    def _interrupt(self) -> None:
        for interrupt in list(self.interrupts):
            interrupt()

    async def _call(self, hook: Callable[[], Awaitable[None]]) -> None:
        while self.client.is_connected:
            try:
                await hook()
            except (nats.errors.Error, BusUnavailableError, RefusedError, OSError) as error:
                # Out of here it would make nats-py connect a second time.
                log.warning("after reconnecting: %s", str(error) or type(error).__name__)
                await asyncio.sleep(0.2)
            else:
                return

    async def flush(self) -> None:
        """Wait until the server has seen all that was sent and subscribed."""
        await self.client._flush_pending(force_flush=True)  # noqa: SLF001 - there is no public way
        await self.client.flush()

    async def publish(self, subject: str, payload: bytes) -> bool:
        """Send what is worthless when late. While the bus is away it is dropped and False is returned."""
        if not self.client.is_connected:
            return False
        await self.client.publish(subject, payload, headers=self._headers(subject, payload, {}))
        return True

    async def store(
        self,
        subject: str,
        payload: bytes,
        *,
        message_id: str | None = None,
        expected_last: int | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 10.0,
    ) -> int:
        """Have a stream keep a message and give its sequence; ``expected_last`` is the last one of its subject.

        A lost confirmation is asked for again, up to ``patience`` seconds; ``message_id`` makes the repeat harmless.

        Raises:
            ConflictError: the subject's last sequence is another.
            BusUnavailableError: nobody confirmed in time; it may or may not have been stored.
            RefusedError: the bus will not store it.
            PayloadTooLargeError: it can never be sent.

        """
        sent = dict(headers or {})
        if message_id is not None:
            sent[Header.MSG_ID.value] = message_id
        if expected_last is not None:
            sent[Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(expected_last)
        traced = self._headers(subject, payload, sent)
        deadline = time.monotonic() + patience
        problem = "not connected"
        while (left := deadline - time.monotonic()) > 0:
            if self.client.is_connected:
                try:
                    reply = await self.client.request(subject, payload, timeout=min(2.0, left), headers=traced)
                    sequence = _sequence(subject, reply.data)
                except (nats.errors.Error, ssl.SSLError, OSError, TimeoutError, _TryAgainError) as error:
                    problem = str(error) or type(error).__name__
                    await self.answers.missed()
                except (ConflictError, RefusedError):
                    self.answers.heard()
                    raise
                else:
                    self.answers.heard()
                    return sequence
            await asyncio.sleep(min(0.1, max(0.0, left)))
        raise BusUnavailableError(f"{subject} was not stored within {patience:g} s: {problem}")

    async def request(self, subject: str, payload: bytes, patience: float = 5.0) -> bytes:
        """Ask a service and give its answer.

        Raises:
            BusUnavailableError: nobody answered in time.
            PayloadTooLargeError: it can never be sent.

        """
        headers = self._headers(subject, payload, {})
        deadline = time.monotonic() + patience
        problem = "not connected"
        while (left := deadline - time.monotonic()) > 0:
            if self.client.is_connected:
                try:
                    return (await self.client.request(subject, payload, timeout=left, headers=headers)).data
                except nats.errors.NoRespondersError:
                    problem = "no service listens there"
                except (nats.errors.Error, OSError, TimeoutError) as error:
                    problem = str(error) or type(error).__name__
            await asyncio.sleep(min(0.1, max(0.0, left)))
        raise BusUnavailableError(f"{subject} was not answered within {patience:g} s: {problem}")

    async def subscribe(self, subject: str, handler: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Hand every message to ``handler``, one at a time; it must not wait for anything slow."""
        subscription = await self.client.subscribe(subject, cb=handler)
        # Who is told that this listens may ask at once.
        with contextlib.suppress(nats.errors.Error, OSError):
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.flush()
        return subscription

    async def serve(self, subject: str, answer: Callable[[Msg], Awaitable[bytes | None]]) -> Subscription:
        """Answer requests concurrently; None is no answer."""
        room = asyncio.Semaphore(CONCURRENT_REPLIES)
        running: set[asyncio.Task[None]] = set()

        async def one(message: Msg) -> None:
            async with room:
                reply = await answer(message)
            if reply is not None and message.reply:
                await self.publish(message.reply, reply)

        async def handle(message: Msg) -> None:
            task = asyncio.create_task(one(message))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(_report)

        return await self.subscribe(subject, handle)

    async def last(self, stream: str, subject: str) -> RawStreamMsg | None:
        """Read the newest message that a stream keeps of a subject."""
        try:
            message = await self.client.jetstream(timeout=2).get_msg(stream, subject=subject, direct=True)
        except nats.js.errors.NotFoundError:
            message = None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self.answers.missed()
            raise BusUnavailableError(f"{subject} could not be read: {str(error) or type(error).__name__}") from None
        self.answers.heard()
        return message

    def _headers(self, subject: str, payload: bytes, headers: dict[str, str]) -> dict[str, str] | None:
        """Give the headers to send, with the trace's where it fits; PayloadTooLargeError where the rest does not."""
        traced = headers | tracing.header()
        if _size(payload, traced) <= self.max_payload:
            return traced or None
        if (size := _size(payload, headers)) > self.max_payload:
            raise PayloadTooLargeError(subject, size, self.max_payload)
        return headers or None


def _size(payload: bytes, headers: Mapping[str, str]) -> int:
    size = len(payload)
    if headers:
        size += len(b"NATS/1.0\r\n\r\n") + sum(len(f"{k}: {v}\r\n".encode()) for k, v in headers.items())
    return size


class _TryAgainError(Exception):
    pass


def _sequence(subject: str, reply: bytes) -> int:
    answer = json.loads(reply)
    error = answer.get("error")
    if not error:
        return int(answer["seq"])
    if error.get("err_code") in WRONG_LAST_SEQUENCE:
        raise ConflictError(f"{subject}: {error.get('description')}")
    if error.get("code") == 503 or error.get("err_code") == IN_PROCESS:  # noqa: PLR2004 - the API's own "not now"
        raise _TryAgainError(error.get("description"))
    raise RefusedError(f"{subject}: {error.get('description')}")


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a request could not be answered: %s: %s", type(error).__name__, error)
