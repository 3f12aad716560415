"""The cameras: those of the site file, and those that people add."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aegis.contracts import subjects
from aegis.contracts.messages import AddCamera, CameraRecord, ListAll, Remove
from aegis.registry import core
from aegis.registry.core import RequestError
from aegis.registry.vault import Vault
from aegis.runtime import site_file

MIN_FPS, MAX_FPS = 0.1, 30.0
TRANSPORTS = ("tcp", "udp")


class Cameras:
    """Every camera of the site."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def add(self, request: AddCamera) -> object:
        """Add one that a person names.

        Raises:
            RequestError: saying what is wrong with it.

        """
        try:
            subjects.token(request.camera, "camera")
            if request.edge:
                subjects.token(request.edge, "edge")
            url = site_file.check_camera_url(request.url, Path.cwd())
        except ValueError as error:
            raise RequestError(str(error)) from None
        if not MIN_FPS <= request.fps <= MAX_FPS:
            raise RequestError(f"fps: {MIN_FPS} to {MAX_FPS} is expected, not {request.fps:g}")
        if request.transport not in TRANSPORTS:
            raise RequestError(f"transport: one of {', '.join(TRANSPORTS)} is expected, not {request.transport!r}")
        if url.startswith("whip:") and not request.token:
            raise RequestError("a whip camera needs a token")
        if request.camera in self._known():
            raise RequestError(f"camera {request.camera!r} is there already; remove it first")
        record = core.place_camera(replace(request, url=url), self._known(), "cli")
        await self._vault.write("cameras", core.camera_key(record), record)
        return core.listed_camera(record)

    async def remove(self, request: Remove) -> object:
        """Remove one.

        Raises:
            RequestError: there is none of that name.

        """
        record = self._known().get(request.id)
        if record is None:
            raise RequestError(f"there is no camera {request.id!r}")
        await self._vault.delete("cameras", core.camera_key(record))
        return {"id": record.id}

    async def list_all(self, _: ListAll) -> object:
        return [core.listed_camera(record) for _, record in sorted(self._known().items())]

    async def apply(self, wanted: Sequence[AddCamera]) -> None:
        """Bring them to what the site file says; those that people added stay."""
        plan = core.plan_cameras(wanted, self._known())
        for record in plan.write:
            await self._vault.write("cameras", core.camera_key(record), record)
        for record in plan.remove:
            await self._vault.delete("cameras", core.camera_key(record))

    def _known(self) -> dict[str, CameraRecord]:
        return {record.id: record for record in self._vault.opened(CameraRecord, "cameras").values()}
