"""Keeps the policy's cohort and thresholds what watchlist, cohort, site file and experience say."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aegis.contracts import codec
from aegis.contracts.messages import Category, EntryRecord, ImpostorRecord, SiteRecord
from aegis.registry import calibration, core
from aegis.registry.calibration import Learnt
from aegis.registry.cohort import Cohorts
from aegis.registry.vault import Vault
from aegis.runtime.site_categories import Calibration
from aegis.vision.embedding import normalise
from aegis.vision.impostors import ImpostorHistogram
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

log = logging.getLogger(__name__)

LEARNT = "impostors"


class Thresholds:
    """``embedder`` is the template version in use, of ``dimension`` numbers."""

    def __init__(self, vault: Vault, cohorts: Cohorts, embedder: str, dimension: int) -> None:
        self._vault = vault
        self._cohorts = cohorts
        self._embedder = embedder
        self._dimension = dimension
        self._cohort: tuple[str, Cohort] | None = None
        self.settings = Calibration()
        """What the site file says."""

    async def settle(
        self, entries: Mapping[str, EntryRecord], *, cohort: str | None = None, before: bool = False
    ) -> int:
        """Bring the policy to these entries and this cohort (None: the one in use); give how many it lost by that.

        ``before`` the newest entry is matched no threshold becomes lower.
        """
        site = self._vault.site()
        if site is None:
            return 0
        wanted = site.cohort if cohort is None else cohort
        identity, taken_out = await self._cohorts.cleared(wanted, self.listed(entries))
        categories = await self._derive(site, entries, identity)
        if before:
            categories = calibration.stricter(site.categories, categories)
        _tell(site, categories)
        await self._vault.write_site(replace(site, cohort=identity, categories=categories))
        await self._cohorts.only(identity)
        await self._forget(entries)
        return taken_out

    def listed(self, entries: Mapping[str, EntryRecord]) -> NDArray[np.float32]:
        """Give the templates (T, D) of everybody who is listed with the embedder in use."""
        templates = list(self._templates(entries).values())
        return np.concatenate(templates) if templates else np.empty((0, self._dimension), np.float32)

    async def describe(self, entries: Mapping[str, EntryRecord]) -> dict[str, object]:
        """Say what thresholds there are, and what they rest on."""
        site = self._vault.site()
        if site is None:
            return {}
        learnt = self._learnt(site.cohort)
        visits, seconds, weekly = calibration.traffic(learnt, time.time())
        found = await self._galleries(entries, site.cohort)
        record = self._cohorts.record(site.cohort)
        return {
            "scores": "normalised" if await self._opened(site.cohort) else "plain",
            "cohort": core.listed_cohort(record) if record else None,
            "visits_per_week": {"assumed": self.settings.visits_per_week, "learnt": weekly},
            "learnt": {"visits": visits, "seconds": seconds},
            "worst_group": self.settings.worst_group,
            "categories": {
                name: {**codec.to_plain(category), "entries": len(found.get(name, ()))}
                for name, category in site.categories.items()
            },
        }

    async def resembling_many(self, entries: Mapping[str, EntryRecord]) -> set[str]:
        """Give the entries that resemble many people of the cohort."""
        site = self._vault.site()
        cohort = await self._opened(site.cohort) if site else None
        if cohort is None:
            return set()
        return await asyncio.to_thread(calibration.resembling_many, self._templates(entries), cohort)

    def _templates(self, entries: Mapping[str, EntryRecord]) -> dict[str, NDArray[np.float32]]:
        """Give the templates (n, D) of every entry that can be matched."""
        found = {}
        for name, entry in entries.items():
            vectors = b"".join(template.vector for template in entry.templates)
            if entry.embedder != self._embedder or not vectors or len(vectors) % (4 * self._dimension):
                continue
            try:
                found[name] = normalise(np.frombuffer(vectors, "<f4").reshape(-1, self._dimension))
            except ValueError:  # match says which
                continue
        return found

    async def _opened(self, identity: str) -> Cohort | None:
        if self._cohort is None or self._cohort[0] != identity:
            templates = await self._cohorts.templates(identity)
            if templates is None:
                return None
            self._cohort = identity, await asyncio.to_thread(Cohort.build, templates)
        return self._cohort[1]

    async def _galleries(self, entries: Mapping[str, EntryRecord], identity: str) -> dict[str, Gallery]:
        cohort = await self._opened(identity)
        return await asyncio.to_thread(calibration.galleries, entries, self._templates(entries), cohort)

    async def _derive(self, site: SiteRecord, entries: Mapping[str, EntryRecord], identity: str) -> dict[str, Category]:
        cohort = await self._opened(identity)
        found = await self._galleries(entries, identity)
        learnt = self._learnt(identity)
        known = {
            category: calibration.of_category([learnt[name].histogram for name in gallery.entries])
            for category, gallery in found.items()
            if len(gallery) and all(name in learnt for name in gallery.entries)
        }
        _, _, weekly = calibration.traffic(learnt, time.time())
        settings = replace(self.settings, visits_per_week=max(self.settings.visits_per_week, weekly or 0))
        return await asyncio.to_thread(calibration.calibrate, site.categories, found, cohort, known, settings)

    def _learnt(self, cohort: str) -> dict[str, Learnt]:
        """Give what was learnt of each entry by scores of this cohort and embedder."""
        found = {}
        for key, record in self._vault.opened(ImpostorRecord, LEARNT).items():
            if (record.cohort, record.embedder) != (cohort, self._embedder):
                continue
            try:
                found[key] = Learnt(histogram=ImpostorHistogram.from_bytes(record.histogram), since=record.since)
            except ValueError as error:
                log.error("what was learnt of %s cannot be read: %s", key, error)  # noqa: TRY400
        return found

    async def _forget(self, entries: Mapping[str, EntryRecord]) -> None:
        """Remove what was learnt of people who are not listed any more."""
        for key in [key for key in self._vault.mirrors[LEARNT].entries if key not in entries]:
            await self._vault.delete(LEARNT, key)


def _tell(site: SiteRecord, categories: Mapping[str, Category]) -> None:
    """Log what changes for people: a threshold, or why there is none as it was accepted."""
    for name, category in categories.items():
        old = site.categories.get(name)
        if old is None or category.threshold != old.threshold:
            log.warning("category %s: the threshold is %.3f now", name, category.threshold)
        if category.problem and (old is None or category.problem != old.problem):
            log.error("category %s: %s", name, category.problem)
