"""Putting a backup back, and comparing what then is there with what the backup says was there."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from aegis.cli.backup import streams
from aegis.cli.backup.sealed_file import records
from aegis.cli.backup.streams import Content, StreamError
from aegis.cli.backup.taking import MANIFEST, PIECE, SITE_FILE, STREAM
from aegis.cli.errors import CommandError
from aegis.cli.processes import Child
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.progress import Progress
from aegis.runtime.sealing import Sealer

START_SECONDS = 15.0
STOP_SECONDS = 5.0


class Backup:
    """A backup file that was read through once: it is whole, and opens with this site key."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        """Read the file.

        Raises:
            CommandError: it cannot be used.

        """
        self._path = path
        self._sealer = sealer
        self.pieces = 0
        """How many bytes the streams are in the file."""
        self.site_file: bytes | None = None
        last = b""
        for last in records(path, sealer):
            self.pieces += len(last) - 1 if last.startswith(PIECE) else 0
            if last.startswith(SITE_FILE):
                self.site_file = last[1:]
        self.manifest: dict[str, Any] = json.loads(last[1:])
        """See :meth:`aegis.cli.backup.taking.Taking.run`."""

    @property
    def contents(self) -> dict[str, Content]:
        return {name: Content(**figures) for name, figures in self.manifest["streams"].items()}

    async def put(self, bus: Bus, label: str, progress: Progress) -> None:
        """Make every stream of the backup on a bus that has none of them, and compare each with what it was.

        Raises:
            StreamError: the bus does not take one, or it is not what it was.

        """
        reading = records(self._path, self._sealer)
        record = next(reading)
        done = 0

        def pieces() -> Iterator[bytes]:
            nonlocal record, done
            for record in reading:
                if not record.startswith(PIECE):
                    return
                done += len(record) - 1
                progress(label, done, self.pieces)
                yield record[1:]

        while record.startswith(STREAM):
            described = json.loads(record[1:])
            await streams.restore(bus, described["name"], described, pieces())
        while not record.startswith(MANIFEST):
            record = next(reading)
        for stream, expected in self.contents.items():
            if problem := await _difference(bus, stream, expected):
                raise StreamError(f"{stream} is not as it was when the backup was taken: {problem}")


async def _difference(bus: Bus, stream: str, expected: Content) -> str:
    """Say in what a restored stream is not what it was, or nothing.

    The oldest messages may have expired since then.
    """
    try:
        info = await streams.info(bus, stream)
        found = await streams.content(bus, stream, expected.last, await streams.places(bus, stream))
    except StreamError as error:
        return str(error)
    if info is None or info["state"]["last_seq"] < expected.last:
        return f"it ends at {info['state']['last_seq'] if info else 0} and not at {expected.last}"
    if lost := sorted(name for name, floor in expected.consumers.items() if found.consumers.get(name, -1) < floor):
        return f"the place of {', '.join(lost)} in it is lost"
    gone = expected.messages - found.messages
    if gone and not (info["config"]["max_age"] and found.first > expected.first):
        return f"{gone} messages miss"
    partial = {str(found.first // streams.BLOCK)} if gone else set()
    if any(expected.digests.get(block) != digest for block, digest in found.digests.items() if block not in partial):
        return "the messages are not the same"
    return ""


@contextlib.asynccontextmanager
async def own_bus(directory: Path) -> AsyncIterator[Bus]:
    """Run a bus below a directory for as long as it takes, and connect to it as ``admin``.

    Raises:
        CommandError: it does not start.

    """
    server = bus_server.prepare(directory)
    log = directory / "nats-server.out"
    child = Child("nats-server", server.command(), dict(os.environ), log, lambda _: None)
    supervising = asyncio.create_task(child.run())
    config = BusConfig(url=server.url, ca=server.ca, key=server.key("admin"), inbox=topology.inbox("admin"))
    try:
        async with asyncio.timeout(START_SECONDS) as patience, Bus.connect(config, "backup") as bus:
            patience.reschedule(None)
            yield bus
    except TimeoutError:
        raise CommandError(f"the bus does not answer; see {log}") from None
    finally:
        supervising.cancel()
        await child.stop(STOP_SECONDS)


async def verify(backup: Backup, progress: Progress) -> None:
    """Restore a backup into a bus of its own that is thrown away, and compare.

    Raises:
        CommandError: it is not what it says it is, or there is no room for it.

    """
    with tempfile.TemporaryDirectory(prefix="aegis-verify-") as folder:
        needed, free = 2 * backup.pieces + bus_server.LEAST_ROOM, bus_server.room(Path(folder))
        if free < needed:
            wanted = f"{needed // 2**20} MiB are needed and {free // 2**20} are free; name another folder in TMPDIR"
            raise CommandError(f"there is no room in {folder} to verify the backup: {wanted}")
        async with own_bus(Path(folder)) as bus:
            try:
                await backup.put(bus, "verifying the backup", progress)
            except StreamError as error:
                raise CommandError(f"the backup cannot be restored: {error}") from None
