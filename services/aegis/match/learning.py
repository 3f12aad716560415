"""Learning how well people who are not on the list match it: counts of scores for each entry, and nothing else.

What replicas have counted is added up in the bucket ``impostors``, from which the registry derives thresholds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aegis.contracts import codec
from aegis.contracts.messages import ImpostorRecord
from aegis.match.comparison import Comparison
from aegis.match.core import EndedTrack
from aegis.runtime import sealing
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError, ConflictError, RefusedError
from aegis.vision.calibration import ImpostorHistogram

log = logging.getLogger(__name__)

BUCKET = "impostors"
FLUSH_SECONDS = 60.0
Scale = tuple[str, str]
"""Template version and cohort: scores of another scale cannot be counted together."""


@dataclass(slots=True)
class _Pending:
    since: float
    histogram: ImpostorHistogram = field(default_factory=ImpostorHistogram)


class Learning:
    """What this process has counted since it last handed it over."""

    def __init__(
        self, bus: Bus, sealer: sealing.Sealer, comparison: Comparison, clock: Callable[[], float] = time.time
    ) -> None:
        self._bucket = Bucket(bus, BUCKET)
        self._sealer = sealer
        self._comparison = comparison
        self._clock = clock
        self._pending: dict[tuple[str, Scale], _Pending] = {}

    def add(self, ended: Iterable[EndedTrack]) -> None:
        """Count the best score of each track with each entry that it was not taken for."""
        for track in ended:
            scale = track.embedder, self._comparison.cohort_of(track.embedder)
            for place, entry in enumerate(track.entries):
                if entry not in track.matched:
                    pending = self._pending.setdefault((entry, scale), _Pending(self._clock()))
                    pending.histogram.add(track.best[place : place + 1])

    async def run(self) -> None:
        """Hand over what was counted, for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Add what was counted to what is kept; what cannot be stored now is kept for the next time."""
        handing, self._pending = self._pending, {}
        for (entry, scale), pending in handing.items():
            try:
                await self._merge(entry, scale, pending)
            except (BusUnavailableError, RefusedError) as error:
                log.warning("what was learnt is not stored yet: %s", error)
                self._keep((entry, scale), pending)

    def _keep(self, key: tuple[str, Scale], pending: _Pending) -> None:
        later = self._pending.setdefault(key, _Pending(pending.since))
        later.since = min(later.since, pending.since)
        later.histogram.merge(pending.histogram)

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
