"""One service as a process of its own on a real bus, and what a test says in the place of its neighbours."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import nats.js.errors
from tests.bus import Server, until

from aegis.contracts import codec, subjects
from aegis.contracts.messages import CameraRecord, Category, DeadLetter, SiteRecord, SiteState
from aegis.runtime import policy, sealing, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError

SITE = SiteRecord(
    id="north", name="North School", kind="demo", state=SiteState.ARMED, categories={"barred": Category(threshold=0.5)}
)


class Process:
    """A service, with the server that it is connected to."""

    def __init__(self, service: str, directory: Path, server: Server, environ: Mapping[str, str]) -> None:
        self.service = service
        self.directory = directory
        self.server = server
        self.environ = dict(environ)
        self.sealer = sealing.load_or_create(directory / "site.key")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "service.log").read_text()

    def start(self, **environ: str) -> None:
        """Run it with its own key; ``environ`` adds to its settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
        files = self.server.files
        settings = {
            "AEGIS_BUS_URL": files.url,
            "AEGIS_BUS_CA": str(files.ca),
            "AEGIS_KEY_FILE": str(files.key(self.service)),
            "AEGIS_SITE_KEY_FILE": str(self.directory / "site.key"),
        }
        with (self.directory / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"aegis.{self.service}"],
                env={**inherited, **settings, **self.environ, **environ},
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """End it in order and give what it exits with."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(6)
        finally:
            self._process.kill()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(20)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class World:
    """A service that runs, seen from an admin's connection."""

    def __init__(self, process: Process, bus: Bus) -> None:
        self.process = process
        self.bus = bus
        self._pid: int | None = None

    async def ready(self) -> None:
        """Wait until it answers; from then on it must be this very process that does."""

        async def answers() -> bool:
            assert self.process.running, self.process.log[-3000:]
            return bool((await self.status()).get("ready"))

        await until(answers, "ready", 25)
        self._pid = (await self.status())["pid"]

    async def status(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(await self.bus.request(subjects.STATUS, b"", patience=0.5))
        except BusUnavailableError:
            return {}
        return answer

    async def unharmed(self) -> None:
        """Fail unless the process that was ready still is, without having been started again."""
        assert self.process.running, self.process.log[-3000:]
        status = await self.status()
        assert (status["ready"], status["pid"]) == (True, self._pid)

    async def metric(self, sample: str) -> float:
        return float((await self.status())["metrics"].get(sample, 0))

    async def site(self, record: SiteRecord = SITE) -> None:
        await Bucket(self.bus, policy.BUCKET).put(policy.SITE, codec.encode(record))

    async def camera(self, identity: str, partition: int = 7) -> None:
        record = CameraRecord(id=identity, partition=partition, url="rtsp://somewhere", name=identity.title())
        await self.seal("cameras", f"{partition}.{identity}", record)

    async def seal(self, bucket: str, key: str, record: object) -> None:
        await Bucket(self.bus, bucket).put(key, self.process.sealer.seal(bucket, key, codec.encode(record)))

    async def newest(self, stream: str, subject: str) -> bytes | None:
        """Read the newest message of a subject, also from a queue, from which nothing is taken by it."""
        try:
            message = await self.bus.client.jetstream().get_msg(stream, subject=subject)
        except nats.js.errors.NotFoundError:
            return None
        return message.data or b""

    async def dead_letters(self) -> list[DeadLetter]:
        info = await self.bus.client.jetstream().stream_info(subjects.DEAD)
        letters = []
        for sequence in range(max(1, info.state.first_seq), info.state.last_seq + 1):
            message = await self.bus.client.jetstream().get_msg(subjects.DEAD, sequence)
            letters.append(codec.decode(DeadLetter, message.data or b""))
        return letters

    async def dead_letter(self, subject: str, count: int = 1) -> str:
        """Wait for so many dead letters about a subject and give the newest one's problem."""
        found: list[DeadLetter] = []

        async def come() -> bool:
            found[:] = [letter for letter in await self.dead_letters() if letter.subject == subject]
            return len(found) >= count

        await until(come, f"{count} dead letters about {subject}", 8)
        assert len(found) == count
        assert found[-1].service == self.process.service
        return found[-1].problem

    async def written(self) -> dict[str, int]:
        """Give how much was ever written to each stream, besides the leases."""
        names = [stream.name for stream in topology.STREAMS if stream.name and stream.name != "KV_leases"]
        infos = [await self.bus.client.jetstream().stream_info(name) for name in names]
        return {name: info.state.last_seq for name, info in zip(names, infos, strict=True)}


W = TypeVar("W", bound=World)

MALFORMED = {
    "no msgpack": (b"\xc1", "not msgpack"),
    "empty": (b"", "not msgpack"),
    "not a map": (b"\x93\x01\x02\x03", "a map is expected"),
    "a newer version": (b"\x81\xa1v\x02", ".v: this reader knows version 1"),
    "a field missing": (b"\x81\xa1v\x01", "is missing"),
    "large": (b"x" * 900_000, "not msgpack"),
}
"""Bodies that no service can read, and what it must say of each."""


@contextlib.contextmanager
def serving(service: str, directory: Path, **environ: str) -> Iterator[Process]:
    """Run a bus with every stream declared, and the service on it."""
    server = Server(directory)
    server.start()
    process = Process(service, directory, server, environ)

    async def declare() -> None:
        async with server.connect() as bus:
            await topology.declare(bus)

    try:
        asyncio.run(declare())
        process.start()
        yield process
        assert process.stop() == 0, process.log[-3000:]
    finally:
        if process.running:
            process.stop()
        server.kill()


@contextlib.asynccontextmanager
async def joined(process: Process, kind: type[W]) -> AsyncIterator[W]:
    """Connect to a running service."""
    async with process.server.connect() as bus:
        world = kind(process, bus)
        await world.ready()
        yield world
