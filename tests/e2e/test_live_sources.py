"""The people of the list are found on live cameras too: RTSP, a WebRTC client, a browser."""

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import aiohttp
import av
import cv2
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from tests.bus import until
from tests.conftest import ROOT, require
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, running
from tests.integration.ingest.test_whip import CHROMIUM, FLAGS

from aegis.runtime.bus_server import free_port

PYTHON = Path("/usr/bin/python3")
RTSP_SERVER = ROOT / "tests" / "peers" / "rtsp_server.py"
TOKEN = "a token of the test"
ROUNDS = 8


def whip(port: int) -> str:
    return f'{SITE}whip: {{listen: "127.0.0.1:{port}"}}\n'


async def alerted(system: System, person: str, camera: str) -> None:
    """Wait for the alert, and see that it is the only one and of the right person."""

    async def raised() -> bool:
        return bool(await system.raised())

    await until(raised, f"an alert from {camera}: {system.output}", 40)
    assert await system.raised() == [(person, camera)]


def repeated(clip: Path, path: Path) -> Path:
    """Write a clip several times over, so that a live source lasts."""
    with av.open(str(clip)) as source:
        frames = [frame.to_ndarray(format="yuv420p") for frame in source.decode(video=0)]
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "30"})
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0] * 2 // 3, frames[0].shape[1], "yuv420p"
        stream.time_base = Fraction(1, 30)
        for frame in frames * ROUNDS:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
        target.mux(stream.encode())
    return path


async def test_rtsp(people: People, tmp_path: Path) -> None:
    probe = 'import gi; gi.require_version("GstRtspServer", "1.0")'
    if subprocess.run([PYTHON, "-c", probe], check=False, capture_output=True).returncode:
        require(tmp_path / "missing", "GStreamer's RTSP server")
    port = free_port()
    environ = {**os.environ, "RTSP_SERVER_FILE": str(repeated(people.clip("brother.mkv"), tmp_path / "live.mp4"))}
    command = [str(PYTHON), str(RTSP_SERVER), str(port), "guard", "s3cret"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            async with running(tmp_path, SITE, environ={"LOBBY_PASSWORD": "s3cret"}) as system:
                await system.enrol("person a", people.photo("again.mkv"))
                await system.enrol("person b", people.photo("bird.mkv"))
                url = f"rtsp://guard:${{LOBBY_PASSWORD}}@127.0.0.1:{port}/live"
                await system.command("camera", "add", "lobby", url)
                await alerted(system, "person a", "lobby")
                assert "s3cret" not in await system.command("camera", "list", "--json")
        finally:
            server.kill()


@contextlib.asynccontextmanager
async def with_phone(people: People, tmp_path: Path) -> AsyncIterator[tuple[System, str]]:
    """Run a system that waits for a phone's video, with two people on its list."""
    port = free_port()
    async with running(tmp_path, whip(port), environ={"PHONE_TOKEN": TOKEN}) as system:
        await system.enrol("person a", people.photo("again.mkv"))
        await system.enrol("person b", people.photo("bird.mkv"))
        await system.command("camera", "add", "phone", "whip:", "--token-env", "PHONE_TOKEN")
        yield system, f"http://127.0.0.1:{port}"


async def test_a_webrtc_client(people: People, tmp_path: Path) -> None:
    player = MediaPlayer(str(repeated(people.clip("milk.mkv"), tmp_path / "live.mp4")))
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    async with with_phone(people, tmp_path) as (system, address), aiohttp.ClientSession() as web:
        assert player.video is not None
        connection.addTransceiver(player.video, direction="sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {TOKEN}"}
        offer = connection.localDescription.sdp
        async with web.post(f"{address}/whip/phone", data=offer, headers=headers) as response:
            assert response.status == 201, await response.text()
            session = address + response.headers["Location"]
            await connection.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
        await alerted(system, "person b", "phone")
        async with web.delete(session, headers=headers) as response:
            assert response.status == 200
        await connection.close()


async def test_a_browser(people: People, tmp_path: Path) -> None:
    require(CHROMIUM, "Chromium")
    video = tmp_path / "camera.mjpeg"
    with av.open(str(people.clip("help.mkv"))) as container, video.open("wb") as file:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="bgr24")
            file.write(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes())
    async with with_phone(people, tmp_path) as (system, address):
        url = f"{address}/camera/phone#token={TOKEN.replace(' ', '%20')}&start"
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={video}", f"--user-data-dir={tmp_path / 'profile'}"]
        with (tmp_path / "chromium.log").open("wb") as log:
            browser = subprocess.Popen([CHROMIUM, *flags, url], stdout=log, stderr=log)
        try:
            await alerted(system, "person a", "phone")
        finally:
            browser.kill()
            browser.wait()
