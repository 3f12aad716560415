"""The people of the watchlist: photos in, entries and their sealed photos out."""

import asyncio
import base64
import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aegis.contracts.messages import AddEntry, EntryRecord, ShowPictures, Template
from aegis.registry.core import RequestError
from aegis.registry.enrolment import Enroller
from aegis.registry.vault import Vault
from aegis.runtime import sealing
from aegis.runtime.enrolment import EnrolmentError

log = logging.getLogger(__name__)


class People:
    """Everybody on the list."""

    def __init__(self, vault: Vault, enroller: Enroller) -> None:
        self._vault = vault
        self._enroller = enroller
        self._worker = ThreadPoolExecutor(1, "enrol")

    def entries(self) -> dict[str, EntryRecord]:
        return self._vault.opened(EntryRecord, "watchlist")

    async def enrol(self, request: AddEntry) -> tuple[EntryRecord, list[str]]:
        """Make a person's entry, which is not yet on the list, keep the photos, and give notes about them.

        Raises:
            RequestError, EnrolmentError: saying what is missing, or wrong with which photo.

        """
        if not request.name.strip():
            raise RequestError("a name is needed")
        if not request.photos:
            raise RequestError("at least one photo is needed")
        identity = secrets.token_hex(6)
        enrolled = [
            await self._enrol(data, f"photo {number}", f"{identity}.{number}")
            for number, data in enumerate(request.photos, 1)
        ]
        # Only now: of a request that is refused no photo is kept.
        for template, photo, _ in enrolled:
            await self._vault.put("photos", template.photo, photo)
        entry = EntryRecord(
            id=identity,
            name=request.name.strip(),
            category=request.category,
            embedder=self._enroller.card.template_version,
            added_at=time.time(),
            templates=tuple(template for template, _, _ in enrolled),
        )
        return entry, [warning for _, _, warning in enrolled if warning]

    async def list_entry(self, entry: EntryRecord) -> None:
        """Put an entry on the list: from now on it is matched."""
        await self._vault.write("watchlist", entry.id, entry)

    async def enrol_again(self) -> None:
        """Make new templates from the kept photos where they are another embedder's."""
        version = self._enroller.card.template_version
        for entry in [entry for entry in self.entries().values() if entry.embedder != version]:
            templates = []
            for old in entry.templates:
                try:
                    photo = await self._vault.fetch("photos", old.photo)
                    if photo is None:
                        continue
                    template, _, _ = await self._enrol(photo, f"{entry.name}, {old.photo}", old.photo)
                    templates.append(template)
                except (EnrolmentError, sealing.SealError) as error:
                    log.error("a kept photo cannot be enrolled again: %s", error)  # noqa: TRY400
            if templates:
                await self.list_entry(replace(entry, embedder=version, templates=tuple(templates)))

    async def remove(self, identity: str) -> None:
        """Take somebody off the list, with their photos.

        Raises:
            RequestError: there is no such entry.

        """
        entry = self.entries().get(identity)
        if entry is None:
            raise RequestError(f"there is no entry {identity!r} on the watchlist")
        await self._vault.delete("watchlist", entry.id)
        for template in entry.templates:
            await self._vault.delete("photos", template.photo)

    async def show_pictures(self, request: ShowPictures) -> object:
        """Open the pictures that a person needs to judge an alert; what is gone is left out."""
        entry = self.entries().get(request.entry)
        wanted = {"probe.png": ("evidence", request.chip), "frame.jpg": ("evidence", request.frame)}
        if entry is not None:
            wanted["enrolled.jpg"] = ("photos", entry.templates[0].photo)
        found = {}
        for name, (bucket, key) in wanted.items():
            if picture := await self._vault.fetch(bucket, key):
                found[name] = base64.b64encode(picture).decode()
        if not found:
            raise RequestError("its pictures are not kept any more")
        return found

    async def _enrol(self, data: bytes, photo: str, key: str) -> tuple[Template, bytes, str]:
        loop = asyncio.get_running_loop()
        enrolled = await loop.run_in_executor(self._worker, self._enroller.enrol, data, photo)
        template = Template(vector=enrolled.vector.astype("<f4").tobytes(), photo=key)
        return template, enrolled.photo_jpeg, enrolled.warning
