"""Cameras that film whether or not anybody looks: ``python live_cameras.py PLAN ADDRESS PORT`` serves RTSP over TCP.

Before each camera somebody who is on no list is always in view; somebody else comes into view for a while, again and
again, by the wall clock, so that what was to be seen is known whoever had the camera then. Each line that is printed
is a JSON object: who began or ceased to pull which camera, and when.
"""

import asyncio
import base64
import contextlib
import json
import random
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 640, 360, 5
ROUND = 3
"""Seconds after which a scene begins again: no multiple of what lies between two looks, or nothing seems to move."""
PHOTO = 200
LARGEST = 1400
CLOCK = 90_000
SILENT_MS = 20_000
"""Who has confirmed nothing for so long is dropped."""
IDR = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is before a camera: ``guest`` from ``phase`` on for ``visit`` of every ``period`` seconds of the clock."""

    resident: str
    guest: str
    phase: float
    period: float
    visit: float

    def visited(self, at: float) -> bool:
        return (at - self.phase) % self.period < self.visit

    def visits(self, since: float, until: float) -> Iterator[float]:
        """Give when those begin that begin between two times."""
        at = since + (self.phase - since) % self.period
        while at < until:
            yield at
            at += self.period


def write_plan(path: Path, scenes: dict[str, Scene]) -> None:
    path.write_text(json.dumps({camera: asdict(scene) for camera, scene in scenes.items()}))


class Film:
    """One camera's pictures, encoded: groups of one second, without and with the guest."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        resident, guest = _photo(scene.resident), _photo(scene.guest)
        self._films = {visited: _encode(resident, guest if visited else None) for visited in (False, True)}
        self.parameters = [nal for nal in _nals(self._films[False][0]) if nal[0] & 31 in (7, 8)]

    def picture(self, number: int) -> list[bytes]:
        """Give the NAL units of the picture with this number since 1970."""
        visited = self.scene.visited(number // FPS)
        return _nals(self._films[visited][number % (ROUND * FPS)])


def _photo(path: str) -> NDArray[np.uint8]:
    image = cv2.imread(path)
    assert image is not None, path
    return cv2.resize(image, (PHOTO, PHOTO)).astype(np.uint8)


def _encode(resident: NDArray[np.uint8], guest: NDArray[np.uint8] | None) -> list[bytes]:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.options = {
        "preset": "veryfast", "tune": "zerolatency", "crf": "26", "g": str(FPS), "x264-params": "scenecut=0:bframes=0",
    }  # fmt: skip
    shade = np.linspace(70, 130, WIDTH, dtype=np.uint8)[None, :, None]
    pictures = []
    for number in range(ROUND * FPS):
        sway = round(8 * np.sin(2 * np.pi * number / (ROUND * FPS)))
        picture = np.broadcast_to(shade, (HEIGHT, WIDTH, 3)).copy()
        for photo, left in ((resident, 60), (guest, 380)):
            if photo is not None:
                picture[80 : 80 + PHOTO, left + sway : left + sway + PHOTO] = photo
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        pictures += [bytes(packet) for packet in encoder.encode(frame)]
    return pictures


def _nals(stream: bytes) -> list[bytes]:
    return [nal for nal in re.split(rb"\x00\x00\x00?\x01", stream) if nal]


class Session:
    """One connection of somebody who pulls a camera, or may."""

    def __init__(self, films: dict[str, Film], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._films = films
        self._reader, self._writer = reader, writer
        self._peer = writer.get_extra_info("peername")[0]
        self._sequence, self._source = 0, random.getrandbits(32)
        self._playing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                first = await self._reader.readexactly(1)
                if first == b"$":  # a receiver's report
                    _, length = struct.unpack(">BH", await self._reader.readexactly(3))
                    await self._reader.readexactly(length)
                    continue
                head = (first + await self._reader.readuntil(b"\r\n\r\n")).decode()
                if not self._answer(head):
                    break
        if self._playing is not None:
            self._playing.cancel()
        self._writer.close()

    def _answer(self, head: str) -> bool:
        verb, url, _ = head.split("\r\n", 1)[0].split(" ")
        found = re.search(r"^CSeq: *(\d+)", head, re.MULTILINE | re.IGNORECASE)
        number = found[1] if found else "0"
        camera = url.split("://")[1].split("/")[1]
        film = self._films.get(camera)
        if film is None:
            self._reply(number, status="404 Not Found")
        elif verb == "OPTIONS":
            self._reply(number, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif verb == "DESCRIBE":
            sets = ",".join(base64.b64encode(nal).decode() for nal in film.parameters)
            body = (
                "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                "a=rtpmap:96 H264/90000\r\na=control:track\r\n"
                f"a=framerate:{FPS}\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            )
            self._reply(number, f"Content-Base: {url}/", "Content-Type: application/sdp", body=body)
        elif verb == "SETUP":
            self._reply(number, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1;timeout=60")
        elif verb == "PLAY":
            self._reply(number, "Session: 1", "Range: npt=now-")
            self._playing = asyncio.create_task(self._play(camera, film))
        else:
            self._reply(number, "Session: 1")
        return verb != "TEARDOWN"

    def _reply(self, number: str, *lines: str, body: str = "", status: str = "200 OK") -> None:
        head = [f"RTSP/1.0 {status}", f"CSeq: {number}", *lines, f"Content-Length: {len(body)}"]
        self._writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    async def _play(self, camera: str, film: Film) -> None:
        tell(camera, self._peer, "pulls")
        try:
            number, whole = int(time.time() * FPS) + 1, False
            while True:
                await asyncio.sleep(max(0.0, number / FPS - time.time()))
                nals = film.picture(number)
                whole = whole or nals[-1][0] & 31 == IDR
                if whole:
                    for nal in nals:
                        self._send(nal, number, last=nal is nals[-1])
                    await self._writer.drain()
                late = int(time.time() * FPS) - number
                whole = whole and late < FPS
                number += 1 + (late if late >= FPS else 0)
        except OSError:
            pass
        finally:
            tell(camera, self._peer, "ceased")

    def _send(self, nal: bytes, number: int, *, last: bool) -> None:
        """Send a NAL unit as RFC 6184 has it, in fragments if it is large."""
        if len(nal) <= LARGEST:
            self._packet(nal, number, last=last)
            return
        for start in range(1, len(nal), LARGEST):
            end = start + LARGEST >= len(nal)
            indicator = nal[0] & 0xE0 | 28
            header = (start == 1) << 7 | end << 6 | nal[0] & 31
            self._packet(bytes([indicator, header]) + nal[start : start + LARGEST], number, last=last and end)

    def _packet(self, payload: bytes, number: int, *, last: bool) -> None:
        stamp = number * CLOCK // FPS & 0xFFFFFFFF
        header = struct.pack(">BBHII", 0x80, last << 7 | 96, self._sequence & 0xFFFF, stamp, self._source)
        self._sequence += 1
        self._writer.write(struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload)


def tell(camera: str, peer: str, what: str) -> None:
    line = {"at": time.time(), "camera": camera, "peer": peer, "what": what}
    print(json.dumps(line), flush=True)  # noqa: T201 - whoever started it reads these


async def main(plan: str, address: str, port: str) -> None:
    """Serve until killed."""
    films = {camera: Film(Scene(**scene)) for camera, scene in json.loads(Path(plan).read_text()).items()}
    server = await asyncio.start_server(lambda r, w: Session(films, r, w).run(), address, int(port))
    async with server:
        tell("", "", "listening")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
