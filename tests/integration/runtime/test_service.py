"""The runner, as a process of its own: it ends when it must, in time, and says why."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.bus import Server, until
from tests.integration.runtime.conftest import kill, restart, start

from aegis.runtime import status
from aegis.runtime.bus import Bus

PROGRAM = Path(__file__).with_name("probe_service.py")
END_SECONDS = 5.0


@contextlib.asynccontextmanager
async def service(server: Server, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    given = {
        "AEGIS_BUS_URL": server.files.url,
        "AEGIS_BUS_CA": str(server.files.ca),
        "AEGIS_KEY_FILE": str(server.files.key("embed")),
    } | {f"AEGIS_{name.upper()}": value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env=inherited | given, stdout=pipe, stderr=pipe
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


async def said(program: asyncio.subprocess.Process, text: str) -> None:
    """Wait until the program has logged ``text``."""
    assert program.stderr is not None
    seen = b""
    async with asyncio.timeout(15):
        while text.encode() not in seen:
            line = await program.stderr.readline()
            assert line, f"it ended without a word of {text!r}:\n{seen.decode()}"
            seen += line


async def ended(program: asyncio.subprocess.Process) -> tuple[int, str]:
    _, errors = await asyncio.wait_for(program.communicate(), 15)
    assert program.returncode is not None
    return program.returncode, errors.decode()


async def test_it_tells_how_it_is_and_leaves_in_order(bus: Bus, server: Server) -> None:
    async with service(server, replica="r1") as program:
        await said(program, '"ready"')
        (answer,) = await status.collect(bus, wait=5, enough=1)
        assert (answer["service"], answer["replica"], answer["ready"]) == ("embed", "r1", True)
        address = f"http://127.0.0.1:{answer['port']}"
        async with aiohttp.ClientSession() as session:
            for path, word in (("livez", "ok"), ("readyz", "ok"), ("metrics", "process_cpu_seconds_total")):
                async with session.get(f"{address}/{path}") as response:
                    assert (response.status, word in await response.text()) == (200, True)
            await kill(server)
            await until(lambda: _status(session, f"{address}/readyz", 503), "it is not ready without the bus")
            assert await _status(session, f"{address}/livez", 200)
            await start(server)
            await until(lambda: _status(session, f"{address}/readyz", 200), "it is ready again")
        program.send_signal(signal.SIGTERM)
        code, log = await ended(program)
    assert code == 0
    assert [json.loads(line)["message"] for line in log.splitlines()][-1] == "stopped"


async def _status(session: aiohttp.ClientSession, address: str, wanted: int) -> bool:
    async with session.get(address) as response:
        return response.status == wanted


async def test_a_connection_that_is_closed_for_good_ends_it(bus: Bus, server: Server) -> None:
    async with service(server, deed="break the connection") as program:
        code, log = await ended(program)
    assert code == 1
    assert "closed for good" in log


async def test_an_error_in_a_task_ends_it(bus: Bus, server: Server) -> None:
    async with service(server, deed="fail") as program:
        code, log = await ended(program)
    assert code == 1
    assert "no such thing" in log


@pytest.mark.parametrize("state", ["never there", "killed", "paused"])
async def test_it_ends_in_time_though_the_bus_is_away(bus: Bus, server: Server, state: str) -> None:
    if state == "never there":
        await kill(server)
    async with service(server) as program:
        await said(program, "waiting for it" if state == "never there" else '"ready"')
        if state == "killed":
            await kill(server)
            await said(program, "bus disconnected")
        elif state == "paused":
            server.send(signal.SIGSTOP)
        told = time.monotonic()
        program.send_signal(signal.SIGTERM)
        await ended(program)
        assert time.monotonic() - told < END_SECONDS
    if state == "paused":
        server.send(signal.SIGCONT)


async def test_one_that_does_not_leave_is_ended(bus: Bus, server: Server) -> None:
    async with service(server, deed="never leave") as program:
        await said(program, '"ready"')
        told = time.monotonic()
        program.send_signal(signal.SIGTERM)
        code, _ = await ended(program)
        assert code == 1
        assert time.monotonic() - told < END_SECONDS


async def test_it_comes_back_after_the_server_was_killed(bus: Bus, server: Server) -> None:
    async with service(server) as program:
        await said(program, '"ready"')
        await restart(server)
        await said(program, "bus reconnected")
        (answer,) = await status.collect(bus, wait=5, enough=1)
        assert answer["ready"]


async def test_bad_settings_are_told_together_before_anything_starts(server: Server) -> None:
    async with service(server, http_port="70000", log_level="loud", deed="sing") as program:
        code, errors = await ended(program)
    assert code == 2
    lines = errors.splitlines()
    assert len(lines) == 3
    for name in ("AEGIS_HTTP_PORT", "AEGIS_LOG_LEVEL", "AEGIS_DEED"):
        assert any(name in line for line in lines)


async def test_a_port_that_is_taken_is_a_persons_to_mend(bus: Bus, server: Server) -> None:
    async with service(server, http_port=str(server.files.port)) as program:
        code, errors = await ended(program)
    assert code == 2
    assert f"AEGIS_HTTP_PORT={server.files.port}" in errors
    assert "Traceback" not in errors
