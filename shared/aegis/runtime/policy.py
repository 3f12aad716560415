"""The site's policy as every service follows it: whether faces are processed at all, and the categories."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aegis.contracts import codec
from aegis.contracts.messages import SiteRecord, SiteState
from aegis.runtime import metrics
from aegis.runtime.buckets import Mirror
from aegis.runtime.bus import Bus

log = logging.getLogger(__name__)

BUCKET = "policy"
SITE = "site"


class Policy:
    """A live copy of the site's record. Until one was read, nothing is processed.

    ``run`` names the running system: a record that an earlier one left behind does not count, since the site file may
    say otherwise today; the registry writes it anew. Empty takes any.
    """

    def __init__(self, bus: Bus, reader: str, run: str, changed: Callable[[], Awaitable[None]] | None = None) -> None:
        self._run = run
        self._mirror = Mirror(bus, BUCKET, reader)
        self._changed = changed
        self.site: SiteRecord | None = None
        self.known = asyncio.Event()

    @property
    def synced(self) -> asyncio.Event:
        """Set once the bucket was read, whatever was in it."""
        return self._mirror.synced

    @property
    def processing(self) -> bool:
        """Whether faces are processed: armed, or in shadow."""
        return self.site is not None and self.site.state.processing

    @property
    def armed(self) -> bool:
        return self.site is not None and self.site.state is SiteState.ARMED

    async def run(self) -> None:
        """Follow the policy for ever."""
        await self._mirror.run(self._read)

    async def _read(self) -> None:
        entry = self._mirror.entries.get(SITE)
        try:
            site = codec.decode(SiteRecord, entry.value) if entry else None
            self.site = site if site and self._run in ("", site.run) else None
        except codec.DecodeError as error:
            log.error("the site's policy cannot be read, so nothing is processed: %s", error)  # noqa: TRY400
            self.site = None
        for state in SiteState:
            metrics.SITE_STATE.labels(state.value).set(self.site is not None and self.site.state is state)
        metrics.SITE_STATE_SINCE.set(self.site.state_since if self.site else 0)
        if self.site is not None:
            self.known.set()
        if self._changed is not None:
            await self._changed()
