"""A way to the server that can be shut, or let nothing back, so that a client misses what others do meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from tests.bus import Server

from aegis.runtime.bus import Bus


class Gate:
    """Forwards TCP to a server. Make one with :func:`gate`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: set[asyncio.StreamWriter] = set()
        self.shut = False
        self.deaf = False
        """While set, what the client says arrives, and what the server answers is lost."""
        self.port = 0

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shut:
            writer.transport.abort()
            return
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._server.files.port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, forth}
        try:
            await asyncio.gather(self._pump(reader, forth, back=False), self._pump(back, writer, back=True))
        finally:
            for end in (writer, forth):
                end.transport.abort()
                self._open.discard(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not (back and self.deaf):
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()

    @contextlib.asynccontextmanager
    async def connect(self, role: str) -> AsyncIterator[Bus]:
        config = replace(self._server.config(role), url=f"tls://127.0.0.1:{self.port}")
        async with Bus.connect(config, f"gated-{role}") as bus:
            yield bus


@contextlib.asynccontextmanager
async def gate(server: Server) -> AsyncIterator[Gate]:
    made = Gate(server)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        made.cut()
