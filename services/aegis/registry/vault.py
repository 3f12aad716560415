"""What the registry keeps: records sealed into buckets, and a live copy of those that it answers from."""

import logging
from typing import TypeVar

from aegis.contracts import codec
from aegis.contracts.messages import SiteRecord
from aegis.runtime import sealing
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import Bus
from aegis.runtime.policy import SITE

log = logging.getLogger(__name__)

M = TypeVar("M")
MIRRORED = ("watchlist", "cameras", "policy", "cohort", "impostors", "users", "votes")
BUCKETS = (*MIRRORED, "photos", "evidence")


class Vault:
    """The buckets, by name. Errors of writing are those of :meth:`Bus.store`."""

    def __init__(self, bus: Bus, sealer: sealing.Sealer, reader: str) -> None:
        self._sealer = sealer
        self._buckets = {name: Bucket(bus, name) for name in BUCKETS}
        self.mirrors = {name: Mirror(bus, name, reader) for name in MIRRORED}

    def opened(self, kind: type[M], bucket: str) -> dict[str, M]:
        """Give every record of a bucket that can be read, by key; the others are logged."""
        found = {}
        for key in list(self.mirrors[bucket].entries):
            try:
                found[key] = self.unsealed(kind, bucket, key)
            except (sealing.SealError, codec.DecodeError) as error:
                log.error("%s %s cannot be read: %s", bucket, key, error)  # noqa: TRY400
        return found

    def site(self) -> SiteRecord | None:
        """Give the site's record, if it can be read."""
        entry = self.mirrors["policy"].entries.get(SITE)
        try:
            return codec.decode(SiteRecord, entry.value) if entry else None
        except codec.DecodeError as error:
            log.error("the site's policy cannot be read: %s", error)  # noqa: TRY400
            return None

    async def write_site(self, site: SiteRecord) -> None:
        """Keep the site's record, unless it is the same."""
        if site != self.site():
            await self.store("policy", SITE, codec.encode(site))

    def unsealed(self, kind: type[M], bucket: str, key: str) -> M:
        """Give a record of the live copy; KeyError if it is not there.

        Raises:
            SealError: it cannot be opened.
            DecodeError: it is no such record.

        """
        return codec.decode(kind, self._sealer.open(bucket, key, self.mirrors[bucket].entries[key].value))

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

    async def create(self, bucket: str, key: str, record: object) -> None:
        """Seal and keep a record of which there is none yet; ConflictError if there is."""
        sealed = self._sealer.seal(bucket, key, codec.encode(record))
        await self._caught_up(bucket, await self._buckets[bucket].create(key, sealed))

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
