"""Browsers that can reach ingest by a TURN server alone: coturn relays them, with credentials that ingest makes."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aioice import stun, turn
from tests.bus import until
from tests.conftest import require
from tests.integration.ingest.conftest import System
from tests.integration.ingest.test_start import refusal
from tests.integration.ingest.test_whip import BEARER, CHROMIUM, SDP, TOKEN, chromium, peer
from tests.peers.turn_server import SECRET, TurnServer, turn_server

from aegis.ingest.turn import CREDENTIAL_SECONDS, Turn

LINK = re.compile(
    r'<(?P<url>[^>]+)>; rel="ice-server"; username="(?P<username>[^"]+)"; '
    r'credential="(?P<credential>[^"]+)"; credential-type="password"'
)
ELSEWHERE = ("192.0.2.77", 4444)


@pytest.fixture
async def coturn(tmp_path: Path) -> AsyncIterator[TurnServer]:
    (tmp_path / "coturn").mkdir()
    async with turn_server(tmp_path / "coturn") as server:
        yield server


@pytest.fixture
async def address(system: System, coturn: TurnServer) -> AsyncIterator[str]:
    """Run ingest with one camera that delivers by itself, and give its WHIP server's address."""
    await system.site()
    await system.camera("phone", "whip:", token=TOKEN)
    urls = f"{coturn.url}, {coturn.url.replace('=udp', '=tcp')}"
    async with system.ingest(whip_turn_urls=urls, whip_turn_secret_file=str(coturn.secret_file)):

        async def listens() -> bool:
            return str((await system.status())["detail"].get("whip", "")).startswith("http:")

        await until(listens, "the WHIP server listens")
        yield (await system.status())["detail"]["whip"]
    assert SECRET not in system.log.read_text()


class Told(asyncio.DatagramProtocol):
    """Gives the first datagram and the first error."""

    def __init__(self) -> None:
        self.datagram: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.error: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: object) -> None:
        self.datagram.set_result(data)

    def error_received(self, exc: Exception) -> None:
        self.error.set_result(exc)


async def allocate(server: TurnServer, username: str, credential: str) -> tuple[turn.TurnTransport, Told]:
    place = (server.host, server.port)
    return await turn.create_turn_endpoint(Told, place, username=username, password=credential)


async def test_who_has_the_token_is_told_of_the_servers_and_nobody_else(
    system: System, address: str, coturn: TurnServer
) -> None:
    url = f"{address}/whip/phone"
    async with aiohttp.ClientSession() as web, peer() as connection:
        preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
        for path in ("phone", "nobody"):
            async with web.options(f"{address}/whip/{path}", headers=preflight) as response:
                assert response.status == 204
                assert "Link" not in response.headers
                assert "Link" in response.headers["Access-Control-Expose-Headers"]
        refused = set()
        for path, token in (("phone", "wrong"), ("nobody", TOKEN), ("phone", "")):
            headers = {"Authorization": f"Bearer {token}"}
            async with web.options(f"{address}/whip/{path}", headers=headers) as response:
                assert "Link" not in response.headers
                refused.add((response.status, await response.text(), response.headers["WWW-Authenticate"]))
        assert len(refused) == 1
        assert refused.pop()[0] == 401

        async with web.options(url, headers=BEARER) as response:
            assert response.status == 204
            before = [LINK.fullmatch(link) for link in response.headers.getall("Link")]
        async with web.post(url, data=connection.localDescription.sdp, headers=SDP | BEARER) as response:
            assert response.status == 201
            answered = [LINK.fullmatch(link) for link in response.headers.getall("Link")]
    for links in (before, answered):
        assert [link and link["url"] for link in links] == [coturn.url, coturn.url.replace("=udp", "=tcp")]
        for link in links:
            assert link is not None
            expiry, _, camera = link["username"].partition(":")
            assert camera == "phone"
            assert 0 <= time.time() + CREDENTIAL_SECONDS - int(expiry) < 60
            transport, _ = await allocate(coturn, link["username"], link["credential"])
            assert transport.get_extra_info("sockname")[0] == coturn.host
            transport.close()


async def test_coturn_refuses_credentials_that_ingest_did_not_make_or_that_are_over(coturn: TurnServer) -> None:
    right = LINK.fullmatch(Turn((coturn.url,), SECRET.encode()).links("phone", time.time())[0])
    guessed = LINK.fullmatch(Turn((coturn.url,), b"another secret").links("phone", time.time())[0])
    over = LINK.fullmatch(Turn((coturn.url,), SECRET.encode()).links("phone", time.time() - CREDENTIAL_SECONDS - 1)[0])
    assert right is not None
    assert guessed is not None
    assert over is not None
    later = f"{int(time.time()) + 9 * CREDENTIAL_SECONDS}:phone"
    for username, credential in (
        (guessed["username"], guessed["credential"]),
        (over["username"], over["credential"]),
        (later, right["credential"]),
    ):
        with pytest.raises(stun.TransactionFailed) as refusal_of:
            await allocate(coturn, username, credential)
        assert refusal_of.value.response.attributes["ERROR-CODE"][0] == 401
    transport, _ = await allocate(coturn, right["username"], right["credential"])
    transport.close()


async def test_coturn_relays_to_nobody_but_who_is_named(coturn: TurnServer) -> None:
    link = LINK.fullmatch(Turn((coturn.url,), SECRET.encode()).links("phone", time.time())[0])
    assert link is not None
    listener, came = await asyncio.get_running_loop().create_datagram_endpoint(Told, local_addr=(coturn.host, 0))
    relayed, sender = await allocate(coturn, link["username"], link["credential"])
    try:
        relayed.sendto(b"hello", listener.get_extra_info("sockname"))
        async with asyncio.timeout(10):
            assert await came.datagram == b"hello"
            relayed.sendto(b"hello", ELSEWHERE)
            error = await sender.error
        assert isinstance(error, stun.TransactionFailed)
        assert error.response.attributes["ERROR-CODE"][0] == 403
    finally:
        relayed.close()
        listener.close()


async def test_a_browser_that_is_relayed_delivers(
    system: System, address: str, coturn: TurnServer, tmp_path: Path
) -> None:
    require(CHROMIUM, "Chromium")
    browser = chromium(f"{address}/camera/phone#token=tok+en%204711/geheim&relay&start", tmp_path)
    try:
        await system.told("phone", "online", patience=40)
        await system.delivers("phone", 5)
        # That there was no other way shows by this one's end.
        os.kill(coturn.pid, signal.SIGKILL)
        await system.told("phone", "offline", "no picture", patience=30)
    finally:
        browser.terminate()
        await asyncio.to_thread(browser.wait, 10)
    assert "geheim" not in system.log.read_text()


async def test_what_is_refused_at_the_start(system: System, tmp_path: Path) -> None:
    secret, empty = tmp_path / "secret", tmp_path / "empty"
    secret.write_text("do-not-tell-anybody-this")
    empty.write_text("\n")
    url = "turn:turn.example.org:3478?transport=udp"
    for urls, file, words in (
        (url, "", "set AEGIS_WHIP_TURN_URLS and AEGIS_WHIP_TURN_SECRET_FILE, both or neither"),
        ("", str(secret), "set AEGIS_WHIP_TURN_URLS and AEGIS_WHIP_TURN_SECRET_FILE, both or neither"),
        (f"{url},https://turn.example.org", str(secret), "AEGIS_WHIP_TURN_URLS: 'https://turn.example.org' is no TURN"),
        (f'{url}>; rel="x', str(secret), "is no TURN address such as turn:turn.example.org:3478"),
        (url, "/none", "AEGIS_WHIP_TURN_SECRET_FILE=/none cannot be read: No such file or directory"),
        (url, str(empty), f"AEGIS_WHIP_TURN_SECRET_FILE={empty} is empty"),
    ):
        said = await refusal(system, whip_turn_urls=urls, whip_turn_secret_file=file)
        assert words in said
        assert "do-not-tell" not in said
