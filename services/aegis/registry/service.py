"""The registry: requests in, watchlist, cameras and policy out. Nobody else writes them.

    registry.<operation> ──► one leader ──► buckets watchlist, photos, cameras (sealed) and policy
    site.yaml ───────────────────┘

Operations: camera-add, camera-remove, camera-list, watchlist-add, watchlist-remove, watchlist-list, pictures-show,
state-set.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    AddCamera,
    AddEntry,
    CameraRecord,
    EntryRecord,
    ListAll,
    Remove,
    Reply,
    SetState,
    ShowPictures,
    SiteRecord,
    Template,
)
from aegis.registry import core
from aegis.registry.enrolment import Enroller
from aegis.registry.vault import Vault
from aegis.runtime import sealing, site_file
from aegis.runtime.bus import BusUnavailableError, Msg, PayloadTooLargeError, RefusedError
from aegis.runtime.inference import PROVIDERS
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.models import ModelError
from aegis.runtime.policy import SITE
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting

log = logging.getLogger(__name__)

M = TypeVar("M")
LEADER = "leader"
MIN_FPS, MAX_FPS = 0.1, 30.0
TRANSPORTS = ("tcp", "udp")


class RequestError(ValueError):
    """A request that cannot be done; its text is the answer."""


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
        self._enroller = enroller
        self._worker = ThreadPoolExecutor(1, "enrol")
        self._one_at_a_time = asyncio.Lock()
        self.vault = Vault(bus, sealer, reader)
        self.leases = Leases(bus, "registry", context.settings.replica, self._lead)
        self.leases.want([LEADER])

    async def _lead(self, lease: Lease) -> None:
        """Apply the site file, then answer requests until the lease is gone."""
        await self._apply_site_file()
        await self._enrol_again()
        operations: dict[str, Callable[[Msg], Awaitable[object]]] = {
            "camera-add": self._operation(AddCamera, self._add_camera),
            "camera-remove": self._operation(Remove, self._remove_camera),
            "camera-list": self._operation(ListAll, self._list_cameras),
            "watchlist-add": self._operation(AddEntry, self._add_entry),
            "watchlist-remove": self._operation(Remove, self._remove_entry),
            "watchlist-list": self._operation(ListAll, self._list_entries),
            "pictures-show": self._operation(ShowPictures, self._show_pictures),
            "state-set": self._operation(SetState, self._set_state),
        }
        served = []
        for name, operation in operations.items():
            served.append(await self._bus.serve(subjects.registry(name), self._answer(operation, lease)))
        self._context.health.detail["leading"] = True
        log.info("leading")
        try:
            await asyncio.Event().wait()
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
        self, operation: Callable[[Msg], Awaitable[object]], lease: Lease
    ) -> Callable[[Msg], Awaitable[bytes | None]]:
        async def answer(message: Msg) -> bytes | None:
            if not lease.valid:
                return None
            try:
                async with self._one_at_a_time:
                    body = await operation(message)
            except (
                RequestError,
                core.EnrolmentError,
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

    # Cameras

    def _cameras(self) -> dict[str, CameraRecord]:
        return {record.id: record for record in self.vault.opened(CameraRecord, "cameras").values()}

    async def _add_camera(self, request: AddCamera) -> object:
        try:
            subjects.token(request.camera, "camera")
            url = site_file.check_camera_url(request.url, Path.cwd())
        except ValueError as error:
            raise RequestError(str(error)) from None
        if not MIN_FPS <= request.fps <= MAX_FPS:
            raise RequestError(f"fps: {MIN_FPS} to {MAX_FPS} is expected, not {request.fps:g}")
        if request.transport not in TRANSPORTS:
            raise RequestError(f"transport: one of {', '.join(TRANSPORTS)} is expected, not {request.transport!r}")
        if url.startswith("whip:") and not request.token:
            raise RequestError("a whip camera needs a token")
        if request.camera in self._cameras():
            raise RequestError(f"camera {request.camera!r} is there already; remove it first")
        record = core.place_camera(replace(request, url=url), self._cameras(), "cli")
        await self.vault.write("cameras", core.camera_key(record), record)
        return core.listed_camera(record)

    async def _remove_camera(self, request: Remove) -> object:
        record = self._cameras().get(request.id)
        if record is None:
            raise RequestError(f"there is no camera {request.id!r}")
        await self.vault.delete("cameras", core.camera_key(record))
        return {"id": record.id}

    async def _list_cameras(self, _: ListAll) -> object:
        return [core.listed_camera(record) for _, record in sorted(self._cameras().items())]

    # Watchlist

    def _entries(self) -> dict[str, EntryRecord]:
        return self.vault.opened(EntryRecord, "watchlist")

    async def _add_entry(self, request: AddEntry) -> object:
        site = self._site()
        if not request.name.strip():
            raise RequestError("a name is needed")
        if site is None or request.category not in site.categories:
            known = ", ".join(site.categories) if site else "none yet"
            raise RequestError(f"there is no category {request.category!r}; known are {known}")
        if not request.photos:
            raise RequestError("at least one photo is needed")
        identity = secrets.token_hex(6)
        enrolled = [
            await self._enrol(data, f"photo {number}", f"{identity}.{number}")
            for number, data in enumerate(request.photos, 1)
        ]
        # Only now: of a request that is refused no photo is kept.
        for template, photo, _ in enrolled:
            await self.vault.put("photos", template.photo, photo)
        entry = EntryRecord(
            id=identity,
            name=request.name.strip(),
            category=request.category,
            embedder=self._enroller.card.template_version,
            added_at=time.time(),
            templates=tuple(template for template, _, _ in enrolled),
        )
        await self.vault.write("watchlist", identity, entry)
        return {**core.listed_entry(entry), "warnings": [warning for _, _, warning in enrolled if warning]}

    async def _enrol(self, data: bytes, photo: str, key: str) -> tuple[Template, bytes, str]:
        loop = asyncio.get_running_loop()
        enrolled = await loop.run_in_executor(self._worker, self._enroller.enrol, data, photo)
        template = Template(vector=enrolled.vector.astype("<f4").tobytes(), photo=key)
        return template, enrolled.photo_jpeg, enrolled.warning

    async def _enrol_again(self) -> None:
        """Make new templates from the kept photos where they are another embedder's."""
        version = self._enroller.card.template_version
        for entry in [entry for entry in self._entries().values() if entry.embedder != version]:
            templates = []
            for old in entry.templates:
                try:
                    photo = await self.vault.fetch("photos", old.photo)
                    if photo is None:
                        continue
                    template, _, _ = await self._enrol(photo, f"{entry.name}, {old.photo}", old.photo)
                    templates.append(template)
                except (core.EnrolmentError, sealing.SealError) as error:
                    log.error("a kept photo cannot be enrolled again: %s", error)  # noqa: TRY400
            if templates:
                await self.vault.write(
                    "watchlist", entry.id, replace(entry, embedder=version, templates=tuple(templates))
                )

    async def _remove_entry(self, request: Remove) -> object:
        entry = self._entries().get(request.id)
        if entry is None:
            raise RequestError(f"there is no entry {request.id!r} on the watchlist")
        await self.vault.delete("watchlist", entry.id)
        for template in entry.templates:
            await self.vault.delete("photos", template.photo)
        return {"id": entry.id}

    async def _list_entries(self, _: ListAll) -> object:
        return [
            core.listed_entry(entry) for entry in sorted(self._entries().values(), key=lambda entry: entry.added_at)
        ]

    async def _show_pictures(self, request: ShowPictures) -> object:
        """Open the pictures that a person needs to judge an alert; what is gone is left out."""
        entry = self._entries().get(request.entry)
        wanted = {"probe.png": ("evidence", request.chip), "frame.jpg": ("evidence", request.frame)}
        if entry is not None:
            wanted["enrolled.jpg"] = ("photos", entry.templates[0].photo)
        found = {}
        for name, (bucket, key) in wanted.items():
            if picture := await self.vault.fetch(bucket, key):
                found[name] = base64.b64encode(picture).decode()
        if not found:
            raise RequestError("its pictures are not kept any more")
        return found

    # Policy

    def _site(self) -> SiteRecord | None:
        entry = self.vault.mirrors["policy"].entries.get(SITE)
        try:
            return codec.decode(SiteRecord, entry.value) if entry else None
        except codec.DecodeError as error:
            log.error("the site's policy cannot be read: %s", error)  # noqa: TRY400
            return None

    async def _set_state(self, request: SetState) -> object:
        site = self._site()
        if site is None:
            raise RequestError("the site is not known yet")
        await self.vault.store("policy", SITE, codec.encode(replace(site, state=request.state)))
        log.warning("the site is now %s", request.state.value)
        return {"state": request.state.value}

    async def _apply_site_file(self) -> None:
        """Bring policy and cameras to what the site file says."""
        try:
            wanted = site_file.read(self._context.settings.site_file, os.environ)
            site, cameras = wanted.site(), wanted.cameras()
        except site_file.SiteFileError as error:
            raise StartError(str(error)) from None
        merged = core.merge_site(replace(site, run=self._context.settings.run), self._site())
        plan = core.plan_cameras(cameras, self._cameras())
        for record in plan.write:
            await self.vault.write("cameras", core.camera_key(record), record)
        for record in plan.remove:
            await self.vault.delete("cameras", core.camera_key(record))
        # Last, since from then on this run's cameras are watched.
        if merged != self._site():
            await self.vault.store("policy", SITE, codec.encode(merged))
        for entry in self._entries().values():
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
        start(service.leases.run())
        yield


SERVICE = Service("registry", RegistrySettings, build)
