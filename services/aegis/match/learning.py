"""Learning how well people who are not on the list match it: counts of scores for each entry, and nothing else.

What replicas have counted is added up in the bucket ``impostors``, from which the registry derives thresholds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from aegis.contracts import codec
from aegis.contracts.messages import ImpostorRecord
from aegis.match.comparison import Comparison
from aegis.match.core import EndedTrack
from aegis.runtime import sealing
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError, ConflictError, RefusedError
from aegis.vision.impostors import BINS, ImpostorHistogram, histogram_steps

log = logging.getLogger(__name__)

BUCKET = "impostors"
FLUSH_SECONDS = 60.0
SHARE = 0.1
"""Of the time, at most, that handing over may take: each entry is a key of its own, and a list can be long."""
VISIT_SECONDS = 60.0
"""For so long after a track was taken for somebody, others may show the same person, and are not counted for it."""
LISTS = 4
"""Counted for at a time, since a list that changes is another one."""
Scale = tuple[str, str]
"""Template version and cohort: scores of another scale cannot be counted together."""


@dataclass(slots=True, eq=False)
class _Counted:
    """Counts for the entries of one list; one addition counts a track for all of them."""

    scale: Scale
    since: float
    entries: tuple[str, ...]
    counts: NDArray[np.uint32]
    """(entries, BINS)"""


@dataclass(slots=True)
class _Pending:
    since: float
    histogram: ImpostorHistogram

    def merge(self, other: "_Pending") -> None:
        self.since = min(self.since, other.since)
        self.histogram.merge(other.histogram)


def _of_each_entry(counted: _Counted) -> Iterator[tuple[tuple[str, Scale], _Pending]]:
    for place in np.flatnonzero(counted.counts.any(axis=1)):
        histogram = ImpostorHistogram()
        histogram.counts += counted.counts[place]
        yield (counted.entries[place], counted.scale), _Pending(counted.since, histogram)


class Learning:
    """What this process has counted since it last handed it over."""

    def __init__(
        self, bus: Bus, sealer: sealing.Sealer, comparison: Comparison, clock: Callable[[], float] = time.time
    ) -> None:
        self._bucket = Bucket(bus, BUCKET)
        self._sealer = sealer
        self._comparison = comparison
        self._clock = clock
        self._counted: list[_Counted] = []
        self._pending: dict[tuple[str, Scale], _Pending] = {}
        self._taken: dict[str, float] = {}

    def add(self, ended: Iterable[EndedTrack]) -> None:
        """Count the best score of each track with each entry that neither it nor one shortly before was taken for."""
        now = self._clock()
        self._taken = {name: at for name, at in self._taken.items() if now - at < VISIT_SECONDS}
        for track in ended:
            if self._comparison.canaries(track.matched):
                continue  # the same picture hundreds of times a day is no traffic
            self._taken.update(dict.fromkeys(track.matched, now))
            counted = self._counts(track, now)
            steps = histogram_steps(track.best)
            places = np.arange(len(track.entries))
            if self._taken:
                places = places[[name not in self._taken for name in track.entries]]
            counted.counts[places, steps[places]] += 1

    def _counts(self, track: EndedTrack, now: float) -> _Counted:
        """Give where a track is counted: tracks of one list share it."""
        scale = track.embedder, self._comparison.cohort_of(track.embedder)
        for counted in self._counted:
            if counted.scale == scale and counted.entries == track.entries:
                return counted
        if len(self._counted) == LISTS:
            for key, pending in _of_each_entry(self._counted.pop(0)):
                self._keep(key, pending)
        counted = _Counted(scale, now, track.entries, np.zeros((len(track.entries), BINS), np.uint32))
        self._counted.append(counted)
        return counted

    async def run(self) -> None:
        """Hand over what was counted, for ever."""
        pause = FLUSH_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            await self.flush()
            pause = max(FLUSH_SECONDS, (time.monotonic() - began) * (1 / SHARE - 1))

    async def flush(self) -> None:
        """Add what was counted to what is kept; what cannot be stored now is kept for the next time."""
        handing, self._pending = self._pending, {}
        lists, self._counted = self._counted, []
        for (entry, scale), pending in chain(handing.items(), *map(_of_each_entry, lists)):
            try:
                await self._merge(entry, scale, pending)
            except (BusUnavailableError, RefusedError) as error:
                log.warning("what was learnt is not stored yet: %s", error)
                self._keep((entry, scale), pending)

    def _keep(self, key: tuple[str, Scale], pending: _Pending) -> None:
        if key in self._pending:
            self._pending[key].merge(pending)
        else:
            self._pending[key] = pending

    async def _merge(self, entry: str, scale: Scale, pending: _Pending) -> None:
        embedder, cohort = scale
        while entry in self._comparison.watchlist.entries and cohort == self._comparison.cohort_of(embedder):
            kept = await self._bucket.get(entry)
            since, histogram = pending.since, ImpostorHistogram()
            known = self._open(entry, kept.value) if kept else None
            if known and (known.embedder, known.cohort) == scale:
                since, histogram = min(since, known.since), ImpostorHistogram.from_bytes(known.histogram)
            histogram.merge(pending.histogram)
            record = ImpostorRecord(embedder=embedder, cohort=cohort, since=since, histogram=bytes(histogram))
            sealed = self._sealer.seal(BUCKET, entry, codec.encode(record))
            try:
                if kept:
                    await self._bucket.update(entry, sealed, kept.revision)
                else:
                    await self._bucket.create(entry, sealed)
            except ConflictError:
                continue  # another replica was first
            return

    def _open(self, entry: str, sealed: bytes) -> ImpostorRecord | None:
        try:
            record = codec.decode(ImpostorRecord, self._sealer.open(BUCKET, entry, sealed))
            ImpostorHistogram.from_bytes(record.histogram)
        except (sealing.SealError, ValueError) as error:
            log.error("what was learnt of %s cannot be read and is begun anew: %s", entry, error)  # noqa: TRY400
            return None
        return record
