"""The service as its own process on a real bus, with everything that it says written down."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.bus import Server, until

from aegis.contracts import cloudevents, codec, subjects
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.messages import CameraRecord, Category, FrameCaptured, SiteRecord, SiteState
from aegis.runtime import policy, sealing, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.leases import Lease, Leases

PARTITION = 7


class System:
    """A bus, the ingest process and a reader of all that it publishes."""

    def __init__(self, directory: Path, server: Server, bus: Bus) -> None:
        self._directory = directory
        self._server = server
        self.bus = bus
        self._key = directory / "site.key"
        self._sealer = sealing.load_or_create(self._key)
        self.log = directory / "ingest.log"
        self.frames: dict[str, list[FrameCaptured]] = defaultdict(list)
        self.events: dict[str, list[CloudEvent]] = defaultdict(list)
        self.headers: list[dict[str, str]] = []

    async def listen(self) -> None:
        async def frame(message: Msg) -> None:
            captured = codec.decode(FrameCaptured, message.data)
            assert message.subject == subjects.frame_captured(PARTITION, captured.camera)
            self.frames[captured.camera].append(captured)

        async def event(message: Msg) -> None:
            told = cloudevents.load(message.data)
            assert message.subject == subjects.camera("school", told.subject)
            self.headers.append(dict(message.headers or {}))
            self.events[told.subject].append(told)

        await self.bus.subscribe(subjects.frame_captured("*", "*"), frame)
        await self.bus.subscribe(subjects.camera("*", "*"), event)

    async def site(self, state: SiteState = SiteState.ARMED, run: str = "") -> None:
        categories = {"barred": Category()}
        record = SiteRecord(id="school", name="School", kind="demo", state=state, run=run, categories=categories)
        await Bucket(self.bus, policy.BUCKET).put(policy.SITE, codec.encode(record))

    async def camera(self, identity: str, url: str, **more: Any) -> int:
        record = CameraRecord(id=identity, partition=PARTITION, url=url, **more)
        key = f"{PARTITION}.{identity}"
        return await Bucket(self.bus, "cameras").put(key, self._sealer.seal("cameras", key, codec.encode(record)))

    async def remove(self, name: str) -> None:
        await Bucket(self.bus, "cameras").delete(f"{PARTITION}.{name}")

    @contextlib.asynccontextmanager
    async def ingest(self, replica: str = "0", **settings: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Run the service; it must leave in time and in order."""
        process = self.start(replica, **settings)
        try:
            yield process
            process.terminate()
            began = time.monotonic()
            await asyncio.to_thread(process.wait, 6)
            assert process.returncode == 0, self.log.read_text()[-3000:]
            assert time.monotonic() - began < 4
        finally:
            process.kill()
            process.wait()

    def start(self, replica: str = "0", **settings: str) -> subprocess.Popen[bytes]:
        files = self._server.files
        environ = {key: value for key, value in os.environ.items() if not key.startswith("AEGIS_")}
        environ |= {
            "AEGIS_BUS_URL": files.url,
            "AEGIS_BUS_CA": str(files.ca),
            "AEGIS_KEY_FILE": str(files.key("ingest")),
            "AEGIS_SITE_KEY_FILE": str(self._key),
            "AEGIS_REPLICA": replica,
            "AEGIS_LOG_LEVEL": "debug",
            "AEGIS_WHIP_PORT": "0",
            **{f"AEGIS_{name.upper()}": value for name, value in settings.items()},
        }
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "aegis.ingest"], env=environ, stderr=log, stdout=log)

    async def status(self) -> dict[str, Any]:
        return dict(json.loads(await self.bus.request(subjects.STATUS, b"", patience=15)))

    async def state(self, camera: str) -> str:
        cameras = (await self.status())["detail"].get("cameras", {})
        return str(cameras.get(camera, {}).get("state", ""))

    async def told(self, camera: str, kind: str, reason: str = "", patience: float = 15.0) -> CloudEvent:
        """Wait for the camera's newest event to be of a kind, with words in its reason."""

        def now() -> bool:
            events = self.events[camera]
            return bool(events) and kind in events[-1].type and reason in str(events[-1].data.get("reason", ""))

        try:
            await until(now, f"camera {camera} tells {kind} {reason!r}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; it told {self.events[camera]}; {self.log.read_text()[-3000:]}") from None
        return self.events[camera][-1]

    async def delivers(self, camera: str, frames: int = 3) -> None:
        """Wait for more frames than there are."""
        enough = len(self.frames[camera]) + frames
        try:
            await until(lambda: len(self.frames[camera]) >= enough, f"{frames} frames of {camera}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.events[camera]}; {self.log.read_text()[-3000:]}") from None

    @contextlib.asynccontextmanager
    async def readers(self, place: str = "") -> AsyncIterator[None]:
        """Hold the cameras' partition as detect and match would, of which detect tells of its ``place``."""

        async def hold(_: Lease) -> None:
            await asyncio.Event().wait()

        running = []
        for kind in ("detect", "match"):
            leases = Leases(self.bus, kind, "t", hold, place=place)
            leases.want([str(PARTITION)])
            running.append(asyncio.create_task(leases.run()))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@pytest_asyncio.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    server = Server(tmp_path)
    server.start()
    try:
        async with server.connect() as bus:
            await topology.declare(bus)
            system = System(tmp_path, server, bus)
            await system.listen()
            yield system
    finally:
        server.kill()


@pytest.fixture
def clip(test_data: Path) -> Path:
    """1.57 s of 640x480 at 30 frames a second."""
    return test_data / "clips" / "eat.mkv"
