"""What stands alone in a container ends at once when it is told to, though the bus does not answer yet."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.e2e.system import AEGIS

from aegis.cli.demo import HOPPER, _asset

CANARY = ("canary", "--camera", "c", "--token-env", "TOKEN", "--whip", "http://127.0.0.1:1", "--photo")
SECONDS = 3.0


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Listen and say nothing; gives the address, and when somebody has called."""
    called, over = asyncio.Event(), asyncio.Event()

    async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await over.wait()
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", called
        over.set()


@pytest.mark.parametrize("words", [("cluster", "declare"), CANARY], ids=["declare", "canary"])
async def test_it_ends_at_once_while_it_waits_for_the_bus(words: tuple[str, ...], models_dir: Path) -> None:
    assert models_dir
    command = [str(AEGIS), *words, *([str(_asset(*HOPPER))] if words is CANARY else [])]
    async with silent() as (url, called):
        # The first process of a container ignores what it does not handle.
        program = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'trap "" TERM; exec "$@"', "sh", *command),
            env=os.environ | {"AEGIS_BUS_URL": url, "TOKEN": "t"},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await asyncio.wait_for(called.wait(), 30)
            program.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SECONDS):
                _, said = await program.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
    assert (program.returncode, said) == (128 + signal.SIGTERM, b"")
