"""What the registry keeps: records sealed into buckets, and a live copy of those that it answers from."""

import logging
from typing import TypeVar

from aegis.contracts import codec
from aegis.runtime import sealing
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import Bus

log = logging.getLogger(__name__)

M = TypeVar("M")


class Vault:
    """The buckets, by name. Errors of writing are those of :meth:`Bus.store`."""

    def __init__(self, bus: Bus, sealer: sealing.Sealer, reader: str) -> None:
        self._sealer = sealer
        self._buckets = {name: Bucket(bus, name) for name in ("watchlist", "photos", "cameras", "policy", "evidence")}
        self.mirrors = {name: Mirror(bus, name, reader) for name in ("watchlist", "cameras", "policy")}

    def opened(self, kind: type[M], bucket: str) -> dict[str, M]:
        """Give every record of a bucket that can be read, by key; the others are logged."""
        found = {}
        for key, entry in self.mirrors[bucket].entries.items():
            try:
                found[key] = codec.decode(kind, self._sealer.open(bucket, key, entry.value))
            except (sealing.SealError, codec.DecodeError) as error:
                log.error("%s %s cannot be read: %s", bucket, key, error)  # noqa: TRY400
        return found

    def check_key(self) -> None:
        """Check that this is the key with which the site was sealed: nothing may be added under another one.

        Raises:
            SealError: naming what it does not open, when it opens nothing of what is there.

        """
        problem: sealing.SealError | None = None
        for bucket in ("watchlist", "cameras"):
            for key, entry in self.mirrors[bucket].entries.items():
                try:
                    self._sealer.open(bucket, key, entry.value)
                except sealing.SealError as error:
                    problem = problem or error
                else:
                    return
        if problem is not None:
            raise problem

    async def fetch(self, bucket: str, key: str) -> bytes | None:
        """Open one blob; None if it is not there.

        Raises:
            SealError: it cannot be opened.

        """
        kept = await self._buckets[bucket].get(key)
        return self._sealer.open(bucket, key, kept.value) if kept else None

    async def write(self, bucket: str, key: str, record: object) -> None:
        """Seal and keep a record."""
        await self.put(bucket, key, codec.encode(record))

    async def put(self, bucket: str, key: str, plain: bytes) -> None:
        """Seal and keep a blob."""
        await self.store(bucket, key, self._sealer.seal(bucket, key, plain))

    async def store(self, bucket: str, key: str, value: bytes) -> None:
        """Keep a value as it is."""
        await self._caught_up(bucket, await self._buckets[bucket].put(key, value))

    async def delete(self, bucket: str, key: str) -> None:
        """Remove a value."""
        await self._caught_up(bucket, await self._buckets[bucket].delete(key))

    async def _caught_up(self, bucket: str, revision: int) -> None:
        """Wait until what was written can be read here, so that the next request sees it."""
        if mirror := self.mirrors.get(bucket):
            await mirror.reached(revision)
