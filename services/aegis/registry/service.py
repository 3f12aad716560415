"""The registry: requests in, watchlist, cameras and policy out. Nobody else writes them.

    registry.<operation> ──► one leader ──► buckets watchlist, photos, cameras, cohort (sealed) and policy
    site.yaml ───────────────────┘     └──► what people say of alerts: buckets users, votes (sealed), aegis.v1.alert.>

Operations: camera-add, camera-remove, camera-list, watchlist-add, watchlist-remove, watchlist-list, pictures-show,
cohort-part, cohort-use, cohort-show, cohort-remove, calibrate, state-set, user-add, user-remove, user-list,
alert-review, alert-show.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    AddCamera,
    AddEntry,
    CohortPart,
    ListAll,
    Remove,
    Reply,
    SetState,
    ShowPictures,
    UseCohort,
)
from aegis.contracts.people import AddUser, ShowAlert, SignedReview
from aegis.registry import core
from aegis.registry.alerts import Alerts
from aegis.registry.cameras import Cameras
from aegis.registry.cohort import Cohorts
from aegis.registry.core import RequestError
from aegis.registry.enrolment import Enroller
from aegis.registry.people import People
from aegis.registry.reviews import Reviews
from aegis.registry.thresholds import Thresholds
from aegis.registry.users import Users
from aegis.registry.vault import Vault
from aegis.runtime import sealing, site_file
from aegis.runtime.bus import BusUnavailableError, Msg, PayloadTooLargeError, RefusedError
from aegis.runtime.enrolment import EnrolmentError
from aegis.runtime.inference import PROVIDERS
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.models import ModelError
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting

log = logging.getLogger(__name__)

M = TypeVar("M")
LEADER = "leader"
LEARN_SECONDS = 600.0
"""How often thresholds take over what match has learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(ServiceSettings):
    """Settings of the registry."""

    site_key_file: Path = setting(doc="The site's key, which seals watchlist, photos and cameras.")
    site_file: Path = setting(doc="The site file (`site.yaml`).")
    models_dir: Path = setting(doc="Folder with the model files; `aegis models pull` fills it.")
    model_cards_dir: Path | None = setting(None, "Folder with the site's own model cards.")
    embedder: str = setting("sface-2021dec", "Id of the embedder's model card; embed must use the same.")
    provider: str = setting("auto", "What runs the models; `auto` takes the fastest one.", choices=PROVIDERS)


class Registry:
    """The running service. Only the leader answers."""

    def __init__(self, context: Context[RegistrySettings], sealer: sealing.Sealer, enroller: Enroller) -> None:
        bus, reader = context.bus, f"registry-{context.settings.replica}"
        self._context = context
        self._bus = bus
        self._one_at_a_time = asyncio.Lock()
        self.vault = Vault(bus, sealer, reader)
        embedder = enroller.card.template_version, enroller.card.dimension
        self._cameras = Cameras(self.vault)
        self._people = People(self.vault, enroller)
        self._cohorts = Cohorts(self.vault, *embedder)
        self._thresholds = Thresholds(self.vault, self._cohorts, *embedder)
        self._users = Users(self.vault)
        self.alerts = Alerts(bus, f"{reader}-alerts")
        self._reviews = Reviews(self.vault, self._users, self.alerts)
        self.leases = Leases(bus, "registry", context.settings.replica, self._lead)
        self.leases.want([LEADER])

    async def _lead(self, lease: Lease) -> None:
        """Apply the site file, then answer requests until the lease is gone."""
        await self._apply_site_file()
        await self._people.enrol_again()
        await self._thresholds.settle(self._people.entries())
        operations: dict[str, Callable[[Msg], Awaitable[object]]] = {
            "camera-add": self._operation(AddCamera, self._cameras.add),
            "camera-remove": self._operation(Remove, self._cameras.remove),
            "camera-list": self._operation(ListAll, self._cameras.list_all),
            "watchlist-add": self._operation(AddEntry, self._add_entry),
            "watchlist-remove": self._operation(Remove, self._remove_entry),
            "watchlist-list": self._operation(ListAll, self._list_entries),
            "pictures-show": self._operation(ShowPictures, self._people.show_pictures),
            "cohort-part": self._operation(CohortPart, self._cohorts.take),
            "cohort-use": self._operation(UseCohort, self._use_cohort),
            "cohort-show": self._operation(ListAll, self._show_cohort),
            "cohort-remove": self._operation(ListAll, self._remove_cohort),
            "calibrate": self._operation(ListAll, self._calibrate),
            "state-set": self._operation(SetState, self._set_state),
            "user-add": self._operation(AddUser, self._users.add),
            "user-remove": self._operation(Remove, self._users.remove),
            "user-list": self._operation(ListAll, self._users.list_all),
        }
        # Who looks into an alert must not wait until a cohort was built; these keep their own order.
        urgent: dict[str, Callable[[Msg], Awaitable[object]]] = {
            "alert-review": self._operation(SignedReview, self._reviews.take),
            "alert-show": self._operation(ShowAlert, self._reviews.show),
        }
        served = []
        for name, operation in (operations | urgent).items():
            room = contextlib.nullcontext() if name in urgent else self._one_at_a_time
            served.append(await self._bus.serve(subjects.registry(name), self._answer(operation, lease, room)))
        self._context.health.detail["leading"] = True
        log.info("leading")
        try:
            while True:
                await self._reviews.finish()
                await asyncio.sleep(LEARN_SECONDS)
                await self._learn()
        finally:
            self._context.health.detail["leading"] = False
            for subscription in served:
                with contextlib.suppress(Exception):
                    await subscription.unsubscribe()

    def _operation(
        self, kind: type[M], perform: Callable[[M], Awaitable[object]]
    ) -> Callable[[Msg], Awaitable[object]]:
        async def run(message: Msg) -> object:
            request = await self._context.read(kind, message)
            if request is None:
                raise RequestError(f"the request is malformed; {kind.__name__} is expected")
            return await perform(request)

        return run

    def _answer(
        self,
        operation: Callable[[Msg], Awaitable[object]],
        lease: Lease,
        room: contextlib.AbstractAsyncContextManager[None],
    ) -> Callable[[Msg], Awaitable[bytes | None]]:
        async def answer(message: Msg) -> bytes | None:
            if not lease.valid:
                return None
            try:
                async with room:
                    body = await operation(message)
            except (
                RequestError,
                EnrolmentError,
                BusUnavailableError,
                RefusedError,
                PayloadTooLargeError,
            ) as error:
                return codec.encode(Reply(problem=str(error)))
            except Exception:  # whoever asks must not wait for an answer that never comes
                log.exception("a request on %s failed", message.subject)
                return codec.encode(Reply(problem="the registry made a mistake; its log says which"))
            return codec.encode(Reply(body=json.dumps(body)))

        return answer

    # Watchlist

    async def _add_entry(self, request: AddEntry) -> object:
        site = self.vault.site()
        if site is None or request.category not in site.categories:
            known = ", ".join(site.categories) if site else "none yet"
            raise RequestError(f"there is no category {request.category!r}; known are {known}")
        entry, warnings = await self._people.enrol(request)
        before = self._people.entries()
        if others := core.namesakes(entry, before.values()):
            warnings.append(
                f"there is another entry of that name: {', '.join(others)}; an entry gets no further photos: if it is "
                "the same person, remove it, so that one entry has all photos"
            )
        entries = {**before, entry.id: entry}
        taken_out = await self._thresholds.settle(entries, before=True)
        await self._people.list_entry(entry)
        await self._thresholds.settle(entries)
        if taken_out:
            were = "was" if taken_out == 1 else "were"
            warnings.append(
                f"{taken_out} of the cohort's faces resembled this person's too much and {were} taken out of it"
            )
        return {**core.listed_entry(entry), "warnings": warnings}

    async def _remove_entry(self, request: Remove) -> object:
        await self._people.remove(request.id)
        await self._thresholds.settle(self._people.entries())
        return {"id": request.id}

    async def _list_entries(self, _: ListAll) -> object:
        entries = self._people.entries()
        many = await self._thresholds.resembling_many(entries)
        ordered = sorted(entries.values(), key=lambda entry: entry.added_at)
        return [{**core.listed_entry(entry), "resembles_many": entry.id in many} for entry in ordered]

    # Cohort

    async def _use_cohort(self, request: UseCohort) -> object:
        entries = self._people.entries()
        record, chosen = await self._cohorts.keep(request, self._thresholds.listed(entries), time.time())
        await self._thresholds.settle(entries, cohort=record.id)
        log.warning("scores are normalised by a cohort of %d people", record.size)
        return {**core.listed_cohort(record), "listed": chosen.listed, "twice": chosen.twice}

    async def _show_cohort(self, _: ListAll) -> object:
        site = self.vault.site()
        record = self._cohorts.record(site.cohort) if site else None
        return core.listed_cohort(record) if record else {}

    async def _remove_cohort(self, _: ListAll) -> object:
        site = self.vault.site()
        if site is None or not site.cohort:
            raise RequestError("there is no cohort")
        await self._thresholds.settle(self._people.entries(), cohort="")
        log.warning("the cohort was removed: scores are plain cosines")
        return {}

    # Thresholds

    async def _calibrate(self, _: ListAll) -> object:
        entries = self._people.entries()
        await self._thresholds.settle(entries)
        return await self._reviews.dismissed(await self._thresholds.describe(entries), time.time())

    async def _learn(self) -> None:
        try:
            async with self._one_at_a_time:
                await self._thresholds.settle(self._people.entries())
        except (BusUnavailableError, RefusedError) as error:
            log.warning("thresholds stay as they are for now: %s", error)

    # Policy

    async def _set_state(self, request: SetState) -> object:
        site = self.vault.site()
        if site is None:
            raise RequestError("the site is not known yet")
        await self.vault.write_site(core.in_state(site, request.state, time.time()))
        log.warning("the site is now %s", request.state.value)
        return {"state": request.state.value}

    async def _apply_site_file(self) -> None:
        """Bring policy and cameras to what the site file says."""
        try:
            wanted = site_file.read(self._context.settings.site_file, os.environ)
            site, cameras = wanted.site(), wanted.cameras()
            self._thresholds.settings = wanted.calibration()
            self._reviews.telling, self._reviews.zone = wanted.telling(), wanted.notify().zone
        except site_file.SiteFileError as error:
            raise StartError(str(error)) from None
        merged = core.merge_site(replace(site, run=self._context.settings.run), self.vault.site(), time.time())
        await self._cameras.apply(cameras)
        # Last, since from then on this run's cameras are watched.
        await self.vault.write_site(merged)
        for entry in self._people.entries().values():
            if entry.category not in merged.categories:
                log.warning("%s is listed as %s, a category that is gone: not matched", entry.id, entry.category)


@contextlib.asynccontextmanager
async def build(context: Context[RegistrySettings]) -> AsyncIterator[None]:
    settings = context.settings
    sealer = sealing.load(settings.site_key_file)
    try:
        enroller = await asyncio.to_thread(
            Enroller, settings.models_dir, settings.model_cards_dir, settings.embedder, settings.provider
        )
    except ModelError as error:
        raise StartError(str(error)) from None
    context.health.detail |= enroller.describe()
    service = Registry(context, sealer, enroller)
    async with background() as start:
        for mirror in service.vault.mirrors.values():
            start(mirror.run())
        for mirror in service.vault.mirrors.values():
            await mirror.synced.wait()
        service.vault.check_key()
        start(service.alerts.run())
        start(service.leases.run())
        yield


SERVICE = Service("registry", RegistrySettings, build)
