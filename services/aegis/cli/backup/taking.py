"""Taking a backup while the system runs, so that what is in it belongs together.

What refers to something is taken before what it refers to, which is written first and is so in the backup, too:
alerts before deliveries, votes and pictures. What the registry alone writes (:data:`TOGETHER`) must stand still from
the first of these streams to the last one; else they are taken again. Each stream is then read message by message, and
taken again where something of it was replaced meanwhile, so that a restored copy can be compared with what was read.
"""

import asyncio
import importlib.metadata
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aegis.cli.backup import streams
from aegis.cli.backup.sealed_file import Writer
from aegis.cli.backup.streams import Content, StreamError
from aegis.cli.errors import CommandError
from aegis.contracts import codec
from aegis.contracts.messages import SiteRecord
from aegis.runtime import policy
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus
from aegis.runtime.progress import Progress

STREAM, PIECE, SITE_FILE, MANIFEST = b"S", b"D", b"F", b"M"
"""What a record begins with: a stream's configuration and state, a piece of it, the site file, and at the end what is
in the backup."""
TOGETHER = tuple(f"KV_{name}" for name in ("users", "policy", "cameras", "watchlist", "photos", "cohort", "votes"))
"""Buckets that only the registry writes and that refer to each other."""
AFTER = ("KV_impostors", "KV_evidence")
"""What match adds to while the others are taken, for entries and alerts that are there already."""
BEFORE = tuple(name for name in streams.KEPT if name not in (*TOGETHER, *AFTER))
TRIES = 5
PAUSE_SECONDS = 0.3


class MovedError(RuntimeError):
    """Something was written while it was taken."""


class Taking:
    """One backup as it is taken."""

    def __init__(self, bus: Bus, writer: Writer, progress: Progress) -> None:
        self._bus = bus
        self._writer = writer
        self._progress = progress
        self._contents: dict[str, Content] = {}
        self._sizes: dict[str, int] = {}

    async def run(self, site_file: bytes | None) -> dict[str, Any]:
        """Write all streams, the site file if there is one, and give the manifest, which is the last record.

        Raises:
            CommandError: the bus does not give something, or the registry writes all the time.
            OSError: there is no room for it.

        """
        began = time.time()
        for stream in streams.KEPT:
            found = await streams.info(self._bus, stream)
            if found is None:
                raise CommandError(f"there is no stream {stream}; is this the bus of a system that was started?")
            self._sizes[stream] = found["state"]["bytes"]
        for stream in BEFORE:
            await self._patiently(stream, lambda stream=stream: self._take(stream))  # type: ignore[misc]
        await self._patiently("the registry's buckets", self._take_together)
        for stream in AFTER:
            await self._patiently(stream, lambda stream=stream: self._take(stream))  # type: ignore[misc]
        if site_file is not None:
            self._writer.add(SITE_FILE + site_file)
        manifest = await self._manifest(began, with_site_file=site_file is not None)
        total = sum(self._sizes.values())
        self._progress("taking the backup", total, total)
        self._writer.add(MANIFEST + json.dumps(manifest).encode(), last=True)
        return manifest

    async def _manifest(self, began: float, *, with_site_file: bool) -> dict[str, Any]:
        entry = await Bucket(self._bus, policy.BUCKET).get(policy.SITE)
        site = codec.decode(SiteRecord, entry.value) if entry else None
        return {
            "began": began,
            "ended": time.time(),
            "version": importlib.metadata.version("aegis-watch"),
            "server": str(self._bus.client.connected_server_version),
            "site": {"id": site.id, "name": site.name, "state": site.state.value} if site else None,
            "site_file": with_site_file,
            "streams": {name: asdict(content) for name, content in self._contents.items()},
        }

    async def _patiently(self, what: str, take: Callable[[], Awaitable[None]]) -> None:
        """Take something, and again where it moved meanwhile."""
        mark = self._writer.mark()
        problem = ""
        for _ in range(TRIES):
            try:
                return await take()
            except (MovedError, StreamError) as error:
                problem = str(error)
                self._writer.rewind(mark)
                await asyncio.sleep(PAUSE_SECONDS)
        raise CommandError(f"{what} could not be taken in {TRIES} tries: {problem}")

    async def _take_together(self) -> None:
        before = await self._last_sequences()
        for stream in TOGETHER:
            await self._take(stream)
        after = await self._last_sequences()
        if changed := [stream for stream in TOGETHER if before[stream] != after[stream]]:
            raise MovedError(f"{', '.join(changed)} changed meanwhile")

    async def _last_sequences(self) -> dict[str, int]:
        found = {stream: await streams.info(self._bus, stream) for stream in TOGETHER}
        return {stream: info["state"]["last_seq"] if info else 0 for stream, info in found.items()}

    async def _take(self, stream: str) -> None:
        done = sum(self._sizes[name] for name in self._contents if name != stream)
        total = sum(self._sizes.values())

        async def begin(described: dict[str, Any]) -> None:
            await self._add(STREAM + json.dumps({"name": stream, **described}).encode())

        async def add(piece: bytes) -> None:
            nonlocal done
            await self._add(PIECE + piece)
            # What is compressed on its way is less, and a disk's layout more, than what the bus counts.
            done = min(done + len(piece), total - 1)
            self._progress("taking the backup", done, total)

        # Before, since a consumer goes on meanwhile: the copy of it is here or further.
        places = await streams.places(self._bus, stream)
        state = await streams.snapshot(self._bus, stream, begin, add)
        content = await streams.content(self._bus, stream, state["last_seq"], places)
        if content.messages != state["messages"]:
            missing = state["messages"] - content.messages
            raise MovedError(f"{missing} messages of {stream} were replaced or expired meanwhile")
        self._contents[stream] = content

    async def _add(self, record: bytes) -> None:
        await asyncio.to_thread(self._writer.add, record)
