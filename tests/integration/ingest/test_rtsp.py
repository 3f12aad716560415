"""RTSP cameras, played by a GStreamer server that is killed, paused and asks for a password."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.bus import until
from tests.conftest import ROOT, require
from tests.integration.ingest.conftest import System

from aegis.runtime.bus_server import free_port

SYSTEM_PYTHON = Path("/usr/bin/python3")
PASSWORD = "geheim-4711"


class Camera:
    """The server's process."""

    def __init__(self, *login: str) -> None:
        self.port = free_port()
        self._login = login
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, user: str = "", path: str = "live") -> str:
        return f"rtsp://{user and user + '@'}127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        command = [str(SYSTEM_PYTHON), str(ROOT / "tests" / "peers" / "rtsp_server.py"), str(self.port), *self._login]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def serving(*login: str) -> Iterator[Camera]:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    found = SYSTEM_PYTHON.exists() and subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False).returncode == 0
    require(Path("/" if found else "/nowhere"), "GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0, python3-gi)")
    camera = Camera(*login)
    camera.start()
    try:
        yield camera
    finally:
        camera.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_stream_is_played_and_comes_back(system: System, transport: str) -> None:
    await system.site()
    with serving() as camera:
        await system.camera("gate", camera.url(), transport=transport)
        async with system.ingest():
            await system.told("gate", "online")
            await system.delivers("gate", 10)
            frames = system.frames["gate"][1:]
            picture = cv2.imdecode(np.frombuffer(frames[-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (720, 1280, 3)
            seconds = frames[-1].captured_at - frames[0].captured_at
            assert (len(frames) - 1) / seconds == pytest.approx(5, rel=0.3)
            assert all(frame.media_time is None for frame in frames)
            if transport == "tcp":
                camera.kill()
                await system.told("gate", "offline", "ended the stream")
                await system.told("gate", "offline", "refused")
                camera.start()
                await system.told("gate", "online", patience=20)
                await system.delivers("gate")

                camera.send(signal.SIGSTOP)
                await system.told("gate", "offline", "stalled")
                camera.send(signal.SIGCONT)
                await system.told("gate", "online", patience=25)
                await system.delivers("gate")
            sequence = [frame.sequence for frame in system.frames["gate"]]
            assert sequence == list(range(len(sequence)))


async def test_what_is_wrong_is_said_without_the_password(system: System) -> None:
    await system.site()
    with serving("guard", PASSWORD) as camera:
        closed = free_port()
        await system.camera("locked", camera.url(f"guard:{PASSWORD}-no"))
        await system.camera("unnamed", camera.url())
        await system.camera("closed", f"rtsp://guard:{PASSWORD}@127.0.0.1:{closed}/live")
        await system.camera("missing", camera.url(f"guard:{PASSWORD}", "nothing"))
        await system.camera("unplugged", "usb:/dev/video99")
        async with system.ingest():
            await system.told("locked", "offline", "password")
            await system.told("unnamed", "offline", "password")
            await system.told("closed", "offline", "refused")
            await system.told("missing", "offline", "not found")
            await system.told("unplugged", "offline", "not found")
            await until(lambda: system.log.read_text().count("camera closed: opening") >= 3, "it is tried again")
            assert len(system.events["closed"]) == 1
            await system.camera("locked", camera.url(f"guard:{PASSWORD}"))
            await system.told("locked", "online")
            await system.delivers("locked")
            status = str(await system.status())
    said = system.log.read_text() + str(system.events) + status
    assert "camera locked" in said
    assert "geheim" not in said
