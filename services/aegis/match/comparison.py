"""What faces are compared with, of one piece: the watchlist's gallery, its cohort and the thresholds for both.

Watchlist, cohort and policy come from three buckets. The policy names the cohort for which its thresholds were derived,
so until that one has come, too, the cohort and the thresholds of before stay.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from aegis.contracts import codec
from aegis.contracts.messages import Category, CohortPart, CohortRecord, EntryRecord, SiteRecord
from aegis.match.core import LEARNT_ENTRIES, Watchlist
from aegis.runtime import metrics, sealing
from aegis.runtime.buckets import Entry, Mirror
from aegis.runtime.bus import Bus
from aegis.runtime.policy import Policy
from aegis.runtime.service import Health
from aegis.vision.normalisation import Cohort

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scale:
    """What a score means: the cohort that normalises it (none: a plain cosine), and the categories' thresholds."""

    name: str = ""
    embedder: str = ""
    cohort: Cohort | None = None
    categories: Mapping[str, Category]


class Comparison:
    """The newest of it: run :meth:`run`, :meth:`follow_watchlist` and :meth:`follow_cohort`."""

    def __init__(self, bus: Bus, sealer: sealing.Sealer, policy: Policy, reader: str, health: Health) -> None:
        self._health = health
        self._sealer = sealer
        self._policy = policy
        self._stale = asyncio.Event()
        self._scale = _Scale(categories={})
        self._entries = Mirror(bus, "watchlist", reader)
        self._cohorts = Mirror(bus, "cohort", reader)
        self.watchlist = Watchlist({}, 0, {})
        self.current = asyncio.Event()
        """Set once it was made for the first time."""

    @property
    def categories(self) -> Mapping[str, Category]:
        return self._scale.categories

    def cohort_of(self, embedder: str) -> str:
        """Give the id of the cohort that normalises scores of a template version; empty for plain cosines."""
        return self._scale.name if embedder == self._scale.embedder else ""

    def canaries(self, names: Iterable[str]) -> bool:
        """Tell whether one of these entries is the canary's."""
        found = (self.watchlist.entries.get(name) for name in names)
        listed = (self.categories.get(entry.category) for entry in found if entry)
        return any(category.canary for category in listed if category)

    async def follow_watchlist(self) -> None:
        await self._entries.run(self.change)

    async def follow_cohort(self) -> None:
        await self._cohorts.run(self.change)

    async def change(self) -> None:
        """Take note that something it is made of has changed, as the policy when it did."""
        self._stale.set()

    async def run(self) -> None:
        """Keep it current for ever, once the mirrors are complete."""
        for synced in (self._entries.synced, self._cohorts.synced, self._policy.synced):
            await synced.wait()
        self._stale.set()
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self._make()
            self.current.set()

    async def _make(self) -> None:
        scale = await self._newest_scale()
        kept, version = dict(self._entries.entries), self._entries.revision
        # A long list takes a while, in which others' faces must not wait.
        watchlist = await asyncio.to_thread(self._watchlist, kept, version, scale)
        for key, problem in watchlist.unusable.items():
            log.error("the templates of watchlist entry %s cannot be matched: %s", key, problem)
        listed = watchlist.usable()
        usable = listed.total()
        if usable > LEARNT_ENTRIES:
            log.warning("%d people are listed, more than %d, so nothing is learnt of strangers", usable, LEARNT_ENTRIES)
        # An empty list must show beside a canary, who is always on it.
        metrics.GALLERY.set(
            usable - sum(listed[name] for name, category in scale.categories.items() if category.canary)
        )
        size = len(scale.cohort) if scale.cohort else 0
        self._health.detail |= {"entries": usable, "watchlist_version": version, "cohort_size": size}
        # Without a wait between them, so that no face meets one of them without the other.
        self.watchlist, self._scale = watchlist, scale

    def _watchlist(self, kept: Mapping[str, Entry], version: int, scale: _Scale) -> Watchlist:
        """Open and build it. Blocking."""
        entries = {}
        for key, entry in kept.items():
            try:
                entries[key] = codec.decode(EntryRecord, self._sealer.open("watchlist", key, entry.value))
            except (sealing.SealError, codec.DecodeError) as error:
                log.error("watchlist entry %s cannot be read and is not matched: %s", key, error)  # noqa: TRY400
        return Watchlist(entries, version, {scale.embedder: scale.cohort} if scale.cohort else {})

    async def _newest_scale(self) -> _Scale:
        site, known = self._policy.site, self._scale
        if site is None:
            return known
        if site.cohort == known.name:
            if not site.cohort and not known.categories:
                log.warning("the site has no cohort, so scores are plain cosines; build one with: aegis cohort build")
            return replace(known, categories=site.categories)
        if not site.cohort:
            log.warning("the cohort was removed: scores are plain cosines")
            return _Scale(categories=site.categories)
        return await self._opened(site)

    async def _opened(self, site: SiteRecord) -> _Scale:
        """Open the cohort that a site names; one that cannot be read is done without."""
        plain = _Scale(categories=site.categories)
        try:
            embedder, cohort = await asyncio.to_thread(self._open, site.cohort, dict(self._cohorts.entries))
        except KeyError:
            if self._scale.categories:
                log.info("the cohort %s is not all here yet", site.cohort)
                return self._scale
            log.error("the cohort %s is gone, so scores are plain cosines", site.cohort)  # noqa: TRY400
            return plain
        except (sealing.SealError, codec.DecodeError, ValueError) as error:
            log.error("the cohort cannot be read, so scores are plain cosines: %s", error)  # noqa: TRY400
            return plain
        log.info("scores are normalised by a cohort of %d people", len(cohort))
        return replace(plain, name=site.cohort, embedder=embedder, cohort=cohort)

    def _open(self, name: str, kept: Mapping[str, Entry]) -> tuple[str, Cohort]:
        """Give a cohort's template version and the cohort. Blocking; KeyError where a part is missing."""
        record = codec.decode(CohortRecord, self._sealer.open("cohort", name, kept[name].value))
        keys = [f"{name}.{number}" for number in range(record.parts)]
        parts = [codec.decode(CohortPart, self._sealer.open("cohort", key, kept[key].value)) for key in keys]
        vectors = np.frombuffer(b"".join(part.vectors for part in parts), "<f4")
        return record.embedder, Cohort.build(vectors.reshape(record.size, -1))
