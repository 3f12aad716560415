"""What keeps ingest from starting, in words for whoever started it."""

import asyncio
import socket

import pytest
from tests.bus import until
from tests.integration.ingest.conftest import System


async def refusal(system: System, **settings: str) -> str:
    process = system.start(**settings)
    try:
        await asyncio.to_thread(process.wait, 15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 2
    return system.log.read_text()


@pytest.mark.parametrize("whip_needed", [True, False])
async def test_a_taken_port(system: System, whip_needed: bool) -> None:
    await system.site()
    if whip_needed:
        await system.camera("phone", "whip:", token="x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        if whip_needed:
            assert f"AEGIS_WHIP_PORT={port}" in await refusal(system, whip_port=port)
        else:
            async with system.ingest(whip_port=port):
                await until(lambda: _says(system, f"AEGIS_WHIP_PORT={port}"), "it runs and says why WHIP does not")


async def test_beyond_loopback_by_tls_only(system: System) -> None:
    assert "set AEGIS_WHIP_CERT and AEGIS_WHIP_KEY" in await refusal(system, whip_host="0.0.0.0")
    assert "cannot be used" in await refusal(system, whip_host="0.0.0.0", whip_cert="/no.pem", whip_key="/no.key")
    assert "AEGIS_SITE_KEY_FILE is not set" in await refusal(system, site_key_file="")


async def _says(system: System, words: str) -> bool:
    return words in str((await system.status())["detail"].get("whip"))
