"""Browsers and phones as cameras: an aiortc client and headless Chromium publish by WHIP."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack
from av.video.frame import VideoFrame
from tests.bus import until
from tests.conftest import require
from tests.integration.ingest.conftest import System

from aegis.contracts.messages import SiteState
from aegis.runtime.bus_server import free_port

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
TOKEN = "tok+en 4711/geheim"
SDP = {"Content-Type": "application/sdp"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def address(system: System) -> AsyncIterator[str]:
    """Run ingest with one camera that delivers by itself, and give its WHIP server's address."""
    await system.site()
    await system.camera("phone", "whip:", token=TOKEN)
    async with system.ingest():
        await until(lambda: _listens(system), "the WHIP server listens")
        yield (await system.status())["detail"]["whip"]
    assert "geheim" not in system.log.read_text()


async def _listens(system: System) -> bool:
    return str((await system.status())["detail"].get("whip", "")).startswith("http://127.0.0.1:")


def chromium(url: str, directory: Path) -> subprocess.Popen[bytes]:
    with (directory / "chromium.log").open("wb") as log:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={directory / 'profile'}", url]
        return subprocess.Popen(command, stdout=log, stderr=log)


class Passing(VideoStreamTrack):
    """A bright square that passes through a dark picture."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.full((480, 640, 3), 40, np.uint8)
        left = pts // 1500 % 560
        picture[200:280, left : left + 80] = 220
        frame = VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver(Passing(), direction="sendonly")
    connection.addTransceiver("audio", direction="sendrecv")
    await connection.setLocalDescription(await connection.createOffer())
    try:
        yield connection
    finally:
        await connection.close()


async def test_an_offer_is_published_until_it_is_deleted(system: System, address: str) -> None:
    url = f"{address}/whip/phone"
    async with aiohttp.ClientSession() as web, peer() as connection, peer() as second:
        offer = connection.localDescription.sdp
        async with web.post(url, data=offer, headers=SDP | BEARER) as response:
            assert response.status == 201, await response.text()
            assert response.content_type == "application/sdp"
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            session = address + response.headers["Location"]
            answer = await response.text()
        assert "a=candidate:" in answer
        assert "a=recvonly" in answer
        assert "a=inactive" in answer
        assert "a=sendrecv" not in answer
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await system.told("phone", "online")
        await system.delivers("phone", 5)
        picture = cv2.imdecode(np.frombuffer(system.frames["phone"][-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (480, 640, 3)

        async with web.post(url, data=second.localDescription.sdp, headers=SDP | BEARER) as response:
            assert response.status == 409
        async with web.delete(session) as response:
            assert response.status == 401
        async with web.delete(session + "x", headers=BEARER) as response:
            assert response.status == 404
        async with web.delete(session, headers=BEARER) as response:
            assert response.status == 200
        await system.told("phone", "offline", "ended by the sender")
        async with web.post(url, data=second.localDescription.sdp, headers=SDP | BEARER) as response:
            assert response.status == 201
            answer = await response.text()
        await system.site(SiteState.DISARMED)
        await second.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        seen = len(system.frames["phone"])
        await system.told("phone", "online")
        await second.close()
        await system.told("phone", "offline", "the sender is gone")
        assert len(system.frames["phone"]) == seen


async def test_a_second_replica_and_a_changed_camera(system: System, address: str) -> None:
    async with system.ingest("1", whip_port=str(port := free_port())):
        other = f"http://127.0.0.1:{port}/whip/phone"
        async with aiohttp.ClientSession() as web, peer() as connection, peer() as second:
            offer = connection.localDescription.sdp
            async with web.post(f"{address}/whip/phone", data=offer, headers=SDP | BEARER) as response:
                assert response.status == 201
                await connection.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
            await system.told("phone", "online")

            async def status() -> int:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with web.post(other, data=second.localDescription.sdp, headers=SDP | BEARER) as answer:
                        return answer.status
                return 0

            async def answers() -> bool:
                # Until it has read the list of cameras, it knows none.
                return await status() not in (0, 401)

            await until(answers, "the second replica listens")
            assert await status() == 409
            await system.camera("phone", "whip:", token="another")
            await system.told("phone", "offline", "changed")
            async with web.post(f"{address}/whip/phone", data=offer, headers=SDP | BEARER) as response:
                assert response.status == 401


async def test_what_is_refused(system: System, address: str) -> None:
    await system.camera("open", "whip:")
    await system.camera("file", "file:/nowhere", token=TOKEN, loop=True)
    await system.told("file", "offline", "not found")
    url = f"{address}/whip/phone"
    async with aiohttp.ClientSession() as web, peer() as connection:
        offer = connection.localDescription.sdp
        refused = set()
        for name, token in (
            ("phone", "Bearer wrong"),
            ("phone", ""),
            ("phone", f"Basic {TOKEN}"),
            ("nobody", f"Bearer {TOKEN}"),
            ("file", f"Bearer {TOKEN}"),
            ("open", "Bearer "),
        ):
            headers = SDP | {"Authorization": token}
            async with web.post(f"{address}/whip/{name}", data=offer, headers=headers) as response:
                refused.add((response.status, await response.text(), response.headers["WWW-Authenticate"]))
        assert len(refused) == 1
        assert refused.pop()[0] == 401

        audio_only = offer.replace("m=video", "m=audio")
        for status, body, kind in (
            (415, offer, "text/plain"),
            (400, "hello", "application/sdp"),
            (400, audio_only, "application/sdp"),
            (400, offer.replace("H264", "H999").replace("VP8", "VP0"), "application/sdp"),
            (413, "v=0\r\n" * 20_000, "application/sdp"),
        ):
            async with web.post(url, data=body, headers=BEARER | {"Content-Type": kind}) as response:
                assert response.status == status, (body[:40], await response.text())
                assert response.headers["Access-Control-Allow-Origin"] == "*"
        async with web.options(url) as response:
            assert response.status == 204
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with web.patch(url) as response:
            assert response.status == 405
        # After all that, the right offer is still taken.
        async with web.post(url, data=offer, headers=SDP | BEARER) as response:
            assert response.status == 201


async def test_chromium_publishes_through_the_page(system: System, address: str, tmp_path: Path) -> None:
    require(CHROMIUM, "Chromium")
    async with aiohttp.ClientSession() as web, web.get(f"{address}/camera/phone") as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        page = await response.text()
    assert "://" not in page, "the page needs nothing from elsewhere"
    url = f"{address}/camera/phone#token=tok+en%204711/geheim&start"
    browser = chromium(url, tmp_path)
    try:
        await system.told("phone", "online", patience=40)
        await system.delivers("phone", 5)
        shape = cv2.imdecode(np.frombuffer(system.frames["phone"][-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shape is not None
        assert shape.shape[1] >= 320
    finally:
        browser.terminate()
        await asyncio.to_thread(browser.wait, 10)
    await system.told("phone", "offline")
