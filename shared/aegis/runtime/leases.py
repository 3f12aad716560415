"""Leases: what has state belongs to exactly one process at a time, spread evenly over the live replicas.

A lease is a key with a time to live, taken with create and renewed with update-at-revision. A holder that could not
confirm a renewal in time stops by itself before the key can expire, by its own monotonic clock, so a process that was
paused and wakes up does not go on. What it says carries the revision at which it took the lease (its epoch).
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from aegis.contracts import codec
from aegis.contracts.messages import LeaseRecord
from aegis.runtime import metrics, tasks
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import Bus, BusUnavailableError, ConflictError, RefusedError

log = logging.getLogger(__name__)

BUCKET = "leases"
TIME_TO_LIVE = 8.0
RENEW_EVERY = 2.0
RENEW_ALONE = 3.0
"""Where there is one server, which is back in a second or two; another leader of a cluster's stream takes five."""
STOP_AFTER = 7.0
"""A holder stops this long after it sent the last renewal that was confirmed."""
LOOK_EVERY = 0.5
"""While something is to be taken or given back. Otherwise this looks when it is told of a change, or a key expires."""
MEMBER = "member"


@dataclass(slots=True)
class Lease:
    """A resource that this process holds, for as long as ``valid``."""

    resource: str
    epoch: int
    revision: int
    confirmed: float
    """Monotonic time at which the last confirmed write was sent."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def valid(self) -> bool:
        """Whether one may still act on it; ask before each thing that others can see."""
        return not self.lost.is_set() and time.monotonic() - self.confirmed < STOP_AFTER


def fair_share(resources: int, held: Mapping[str, int], replica: str) -> int:
    """Give how many resources ``replica`` may hold; ``held`` says how many each live replica holds now.

    Shares differ by one at most, and who holds most keeps the larger ones, so that no more moves than must.
    """
    each, over = divmod(resources, len(held))
    ranked = sorted(held, key=lambda name: (-held[name], name))
    return each + (ranked.index(replica) < over)


class Leases:
    """The leases of one kind, for example ``detect``, as this replica takes part in them.

    ``wanted`` names the resources to be shared; it may change at any time. ``hold`` runs for each lease that is held
    and is cancelled when it is lost or given back. ``others`` are the kinds whose holders are of interest besides.
    ``place`` is told with each lease, see :meth:`place`.
    Replicas of one ``pool`` share among themselves: all that take part with the same name want the same resources.
    """

    def __init__(
        self,
        bus: Bus,
        kind: str,
        replica: str,
        hold: Callable[[Lease], Awaitable[None]],
        *,
        others: Sequence[str] = (),
        pool: str = "",
        place: str = "",
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, BUCKET)
        # Every renewal is seen by whoever follows its key, so nobody follows more than must be.
        keys = [f"{MEMBER}.{kind}.>", *(f"{name}.>" for name in (kind, *others))]
        self._mirror = Mirror(bus, BUCKET, f"{kind}-{replica}", keys)
        self._kind = kind
        self._replica = replica
        self._record = codec.encode(LeaseRecord(owner=replica, place=place))
        self._members = ".".join([MEMBER, kind, *([pool] if pool else []), ""])
        self._hold = hold
        self._seen: dict[str, tuple[int, float]] = {}
        self._owners: dict[str, tuple[bytes, LeaseRecord]] = {}
        self._wake = asyncio.Event()
        self._holding: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.wanted: Collection[str] = ()
        self.held: dict[str, Lease] = {}
        self.moves = 0
        metrics.LEASES.labels(kind).set_function(lambda: len(self.held))
        metrics.LEASES_WANTED.labels(kind, pool).set_function(lambda: len(self.wanted))
        metrics.LEASES_FREE.labels(kind, pool).set_function(self._free)

    def want(self, resources: Collection[str]) -> None:
        """Change what is to be shared, at once."""
        if set(resources) != set(self.wanted):
            self.wanted = tuple(sorted(resources))
            self._wake.set()

    def holder(self, kind: str, resource: str) -> str | None:
        """Give the replica that holds a resource of any kind, as far as this process has heard."""
        return self._live().get(f"{kind}.{resource}")

    def place(self, kind: str, resource: str) -> str:
        """Give the place that the holder of a resource of any kind told of; nothing where there is none."""
        key = f"{kind}.{resource}"
        known = self._owners.get(key)
        return known[1].place if known and self._seen[key][1] > time.monotonic() - TIME_TO_LIVE else ""

    def _free(self) -> int:
        live = self._live()
        return sum(self._owner(live, name) is None for name in self.wanted if name not in self.held)

    def _moved(self) -> None:
        self.moves += 1
        metrics.LEASE_MOVES.labels(self._kind).inc()

    async def take(self, resource: str) -> Lease | None:
        """Take one resource outside the even spread; None if another replica holds it."""
        try:
            return await self._create(resource)
        except ConflictError:
            return None

    async def run(self) -> None:
        """Take part until cancelled, then give everything back. An error in ``hold`` ends this with it."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            following = group.create_task(self._mirror.run(self._changed))
            watching = group.create_task(self._watch())
            try:
                await self._keep()
            finally:
                await tasks.end([following, watching])
                await asyncio.gather(*(self.release(lease) for lease in list(self.held.values())))
                with contextlib.suppress(BusUnavailableError, ConflictError, RefusedError):
                    await self._bucket.delete(self._member_key(), patience=0.5)

    async def release(self, lease: Lease) -> None:
        """Give one resource back, so that another replica can have it at once."""
        await self._stop(lease)
        with contextlib.suppress(BusUnavailableError, ConflictError, RefusedError):
            await self._bucket.delete(self._key(lease.resource), last=lease.revision, patience=0.5)

    async def _changed(self) -> None:
        now = time.monotonic()
        entries = self._mirror.entries
        for key, entry in entries.items():
            if self._seen.get(key, (0, 0.0))[0] != entry.revision:
                self._seen[key] = (entry.revision, now)
            known = self._owners.get(key)
            if known is None or known[0] != entry.value:
                self._owners[key] = (entry.value, codec.decode(LeaseRecord, entry.value))
                self._wake.set()
        for key in [key for key in self._seen if key not in entries]:
            del self._seen[key], self._owners[key]
            self._wake.set()

    def _live(self) -> dict[str, str]:
        """Owners by keys that are not expired: nobody is told when a key expires, so each one's age is counted here."""
        since = time.monotonic() - TIME_TO_LIVE
        return {key: record.owner for key, (_, record) in self._owners.items() if self._seen[key][1] > since}

    async def _keep(self) -> None:
        await self._mirror.synced.wait()
        renewed = -math.inf
        while True:
            every = RENEW_ALONE if self._bus.alone else RENEW_EVERY
            if time.monotonic() - renewed >= every:
                renewed = time.monotonic()
                await asyncio.gather(self._join(), *(self._renew(lease) for lease in list(self.held.values())))
            balanced = await self._balance()
            self._wake.clear()
            nothing_before = min(renewed + every, self._expires()) if balanced else time.monotonic() + LOOK_EVERY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, nothing_before - time.monotonic())):
                    await self._wake.wait()
                    await asyncio.sleep(0.05)

    def _expires(self) -> float:
        """Give when the next of the keys that are alive expires, unless it is renewed."""
        ends = (seen + TIME_TO_LIVE for _, seen in self._seen.values())
        return min((end for end in ends if end > time.monotonic()), default=math.inf)

    async def _join(self) -> None:
        with contextlib.suppress(BusUnavailableError, ConflictError, RefusedError):
            await self._bucket.put(self._member_key(), self._record, patience=1.0)

    async def _watch(self) -> None:
        """Stop what was not confirmed in time, however long the rest waits for the bus."""
        while True:
            for lease in [lease for lease in self.held.values() if not lease.valid]:
                await self._lose(lease, "its renewal was not confirmed in time")
            confirmed = min((lease.confirmed for lease in self.held.values()), default=time.monotonic())
            await asyncio.sleep(max(0.01, confirmed + STOP_AFTER - time.monotonic()))

    async def _renew(self, lease: Lease) -> None:
        sent = time.monotonic()
        patience = max(0.1, STOP_AFTER - (sent - lease.confirmed))
        try:
            lease.revision = await self._bucket.update(
                self._key(lease.resource), self._record, lease.revision, patience
            )
            lease.confirmed = sent
        except ConflictError:
            await self._lose(lease, "another process has it")
        except (BusUnavailableError, RefusedError) as error:
            log.info("%s %s not renewed: %s", self._kind, lease.resource, error)

    async def _balance(self) -> bool:
        """Take and give back what this replica's share asks for; tell whether there was nothing to do."""
        live = self._live()
        members = {owner for key, owner in live.items() if key == self._members + owner} | {self._replica}
        mine = [lease for name, lease in self.held.items() if name in self.wanted]
        held = Counter(self._owner(live, name) for name in self.wanted)
        share = fair_share(
            len(self.wanted), {name: held[name] for name in members} | {self._replica: len(mine)}, self._replica
        )
        for lease in [lease for name, lease in self.held.items() if name not in self.wanted and name in self._holding]:
            await self.release(lease)
        for lease in mine[share:]:
            log.info("%s %s given back for an even spread", self._kind, lease.resource)
            self._moved()
            await self.release(lease)
        # A key in this replica's own name that it does not hold is its predecessor's, who died: it is taken over.
        free = [
            name for name in self.wanted if name not in self.held and self._owner(live, name) in (None, self._replica)
        ]
        for name in free[: max(0, share - len(mine))]:
            try:
                self._start(await self._create(name))
            except (ConflictError, RefusedError) as error:
                log.debug("%s %s not taken: %s", self._kind, name, error)
            except BusUnavailableError:
                break
        return not free and len(mine) <= share

    def _owner(self, live: dict[str, str], resource: str) -> str | None:
        return live.get(self._key(resource))

    async def _create(self, resource: str) -> Lease:
        sent = time.monotonic()
        key = self._key(resource)
        mine = self._mirror.entries.get(key)
        if mine is not None and self._owner(self._live(), resource) == self._replica:
            revision = await self._bucket.update(key, self._record, mine.revision, patience=2.0)
        else:
            revision = await self._bucket.create(key, self._record, patience=2.0)
        lease = Lease(resource=resource, epoch=revision, revision=revision, confirmed=sent)
        self.held[resource] = lease
        self._moved()
        log.info("%s %s taken at %d", self._kind, resource, revision)
        return lease

    def _start(self, lease: Lease) -> None:
        async def held() -> None:
            await self._hold(lease)

        assert self._group is not None  # noqa: S101 - run() has made it
        self._holding[lease.resource] = self._group.create_task(held())

    async def _lose(self, lease: Lease, why: str) -> None:
        if lease.lost.is_set():
            return
        log.warning("%s %s lost: %s", self._kind, lease.resource, why)
        self._moved()
        await self._stop(lease)

    async def _stop(self, lease: Lease) -> None:
        lease.lost.set()
        self.held.pop(lease.resource, None)
        if task := self._holding.pop(lease.resource, None):
            await tasks.end([task])

    def _key(self, resource: str) -> str:
        return f"{self._kind}.{resource}"

    def _member_key(self) -> str:
        return self._members + self._replica
