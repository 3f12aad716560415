"""Key-value buckets: single reads and writes, and a live copy that survives the bus being away."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header, RawStreamMsg

from aegis.runtime.bus import Bus, ConflictError, Msg
from aegis.runtime.consumers import consume

log = logging.getLogger(__name__)

OPERATION = "KV-Operation"
MARKER = "Nats-Marker-Reason"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the revision at which it was written."""

    value: bytes
    revision: int


class Bucket:
    """One bucket. Errors are those of :meth:`Bus.store`."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._prefix = f"$KV.{name}."
        self._stream = f"KV_{name}"

    async def get(self, key: str) -> Entry | None:
        message = await self._bus.last(self._stream, self._prefix + key)
        if message is None or _removed(message) or message.seq is None:
            return None
        return Entry(message.data or b"", message.seq)

    async def put(self, key: str, value: bytes, patience: float = 10.0) -> int:
        return await self._bus.store(self._prefix + key, value, patience=patience)

    async def create(self, key: str, value: bytes, patience: float = 10.0) -> int:
        """Write a key that must not exist; ConflictError if it does."""
        message = await self._bus.last(self._stream, self._prefix + key)
        last = message.seq if message is not None and message.seq and _removed(message) else 0
        return await self._swap(key, value, last, patience)

    async def update(self, key: str, value: bytes, last: int, patience: float = 10.0) -> int:
        """Write a key whose newest revision must be ``last``; ConflictError if it is not."""
        return await self._swap(key, value, last, patience)

    async def delete(self, key: str, last: int | None = None, patience: float = 10.0) -> int:
        """Remove a key and every older value of it."""
        headers = {OPERATION: "PURGE", "Nats-Rollup": "sub"}
        return await self._bus.store(self._prefix + key, b"", expected_last=last, headers=headers, patience=patience)

    async def _swap(self, key: str, value: bytes, last: int, patience: float) -> int:
        """Write if unchanged. A write whose confirmation was lost is refused when repeated, and is known by its id."""
        subject, identity = self._prefix + key, uuid.uuid4().hex
        try:
            return await self._bus.store(subject, value, message_id=identity, expected_last=last, patience=patience)
        except ConflictError:
            message = await self._bus.last(self._stream, subject)
            if message is None or message.seq is None or (message.headers or {}).get(Header.MSG_ID) != identity:
                raise
            return message.seq


class Mirror:
    """A live copy of a bucket: ``entries`` by key. Run it as a task; ``synced`` is set once it is complete."""

    def __init__(self, bus: Bus, name: str, reader: str, keys: Sequence[str] = (">",)) -> None:
        """Take the keys that are of interest as subjects, with wildcards."""
        self._bus = bus
        self._name = name
        self._reader = reader
        self._keys = keys
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        """The newest revision seen, of any key."""
        self.synced = asyncio.Event()
        self._moved = asyncio.Condition()

    async def reached(self, revision: int) -> None:
        """Wait until everything up to ``revision`` was seen."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.revision >= revision)

    async def run(self, changed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Follow the bucket for ever, calling ``changed`` after every change and after every full re-read."""
        config = ConsumerConfig(
            name=f"{self._reader}-{self._name}",
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            filter_subjects=[f"$KV.{self._name}.{key}" for key in self._keys],
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=30,
        )
        prefix = len(f"$KV.{self._name}.")
        fresh: dict[str, Entry] | None = {}
        async with consume(self._bus, f"KV_{self._name}", config, batch=64) as consumer:
            made = 0
            while True:
                messages = await consumer.next(wait=None if fresh is None else 1.0)
                if consumer.remade != made:
                    made, fresh = consumer.remade, {}
                    if consumer.backlog == 0:
                        await self._complete(fresh, changed)
                        fresh = None
                elif fresh is not None and not messages:
                    # What was counted has ended its time to live since, so the last of it never comes.
                    consumer.remake()
                target = self.entries if fresh is None else fresh
                for message in messages:
                    self._apply(target, message.subject[prefix:], message)
                if messages and fresh is not None:
                    if messages[-1].metadata.num_pending == 0:
                        await self._complete(fresh, changed)
                        fresh = None
                elif messages and changed is not None:
                    await changed()
                if messages:
                    async with self._moved:
                        self._moved.notify_all()

    def _apply(self, target: dict[str, Entry], key: str, message: Msg) -> None:
        revision = message.metadata.sequence.stream
        self.revision = max(self.revision, revision)
        if _removed(message):
            target.pop(key, None)
        else:
            target[key] = Entry(message.data, revision)

    async def _complete(self, fresh: dict[str, Entry], changed: Callable[[], Awaitable[None]] | None) -> None:
        self.entries = fresh
        self.synced.set()
        if changed is not None:
            await changed()


def _removed(message: Msg | RawStreamMsg) -> bool:
    headers = message.headers or {}
    return headers.get(OPERATION) in ("DEL", "PURGE") or MARKER in headers
