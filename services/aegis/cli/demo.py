"""The demonstration: a drill in which a portrait walks through a room, is recognised, and a mail arrives.

The two portraits are in the public domain and come inside installed packages: Rear Admiral Grace Hopper (U.S. Navy)
in matplotlib's sample data, who is enrolled, and Eileen Collins (NASA) in scikit-image's, who is not.
"""

import asyncio
import contextlib
import email
import email.policy
import importlib.util
import re
import socket
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from aegis.cli import scene
from aegis.cli.errors import CommandError
from aegis.cli.requests import ask
from aegis.cli.scene import HEIGHT, WIDTH
from aegis.cli.state import State
from aegis.cli.up import Plan, prepare, say, up
from aegis.contracts.messages import AddEntry, ListAll
from aegis.runtime.bus import Bus
from aegis.runtime.bus_server import free_port
from aegis.runtime.certificates import write_private

WHIP = "127.0.0.1:8480"
FPS = 10
SECONDS = 80
"""Longer than a visit's gap, so that every round is a visit of its own."""
WALKS = (("hopper", 4.0), ("collins", 20.0))
WALK_SECONDS = 8.0
HOPPER = ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
COLLINS = ("skimage", "data/astronaut.png")
HEADS = {"hopper": (130, 35, 270, 300), "collins": (140, 15, 190, 250)}
"""Left, top, width and height of head and shoulders in each portrait."""

SITE = """\
# The demonstration's site: a drill. Every alert is marked DRILL and nobody outside is told.
site: {{id: demo, name: Demonstration, kind: demo}}
cameras:
  - {{id: room, name: Demonstration room, url: "file:{clip}", loop: {loop}}}
whip: {{listen: "{whip}"}}
categories:
  barred: {{severity: high, threshold: 0.5}}
notify:
  email: {{smtp: "smtp+insecure://127.0.0.1:{port}", to: [guard@demo.example], pictures: true}}
"""
MORE_CAMERAS = """\
show it your own camera (another terminal):
  a webcam   {aegis} camera add webcam usb:/dev/video0
  RTSP       LOBBY_PASSWORD=... {aegis} camera add lobby 'rtsp://user:${{LOBBY_PASSWORD}}@10.0.0.7/stream2'
  a browser  PHONE_TOKEN=... {aegis} camera add phone whip: --token-env PHONE_TOKEN, then open {whip}
  a phone    the same, after: make run WHIP=ADDRESS:8480, with this machine's address (then https)
  and enrol yourself: {aegis} watchlist add 'My name' --category barred --photo me.jpg"""


async def demo(state: State, *, once: bool, whip: str = WHIP) -> int:
    """Make the clip, start a local mail sink, and run the site with Grace Hopper enrolled."""
    folder = state.directory / "demo"
    (folder / "mail").mkdir(parents=True, exist_ok=True)
    clip, site = folder / "room.mp4", folder / "site.yaml"
    if not clip.exists():
        say("drawing the demonstration's camera (once, a few seconds)")
        await asyncio.to_thread(make_clip, clip)
    async with mail_sink(folder / "mail") as port:
        site.write_text(SITE.format(clip=clip, loop=str(not once).lower(), port=port, whip=whip))
        plan = prepare(site, state, until_done=once)
        say(f"mail that is sent lands in {folder / 'mail'}")
        return await up(plan, started=lambda bus: _introduce(plan, bus))


async def _introduce(plan: Plan, bus: Bus) -> None:
    names = [entry["name"] for entry in await ask(bus, "watchlist-list", ListAll())]
    if "Grace Hopper" not in names:
        photo = _asset(*HOPPER).read_bytes()
        await ask(bus, "watchlist-add", AddEntry(name="Grace Hopper", category="barred", photos=(photo,)))
    running = plan.running
    scheme, host = ("https", socket.gethostname()) if running.whip_public else ("http", running.whip_host)
    whip = f"{scheme}://{host}:{running.whip_port}/camera/phone"
    if not plan.until_done:
        say(MORE_CAMERAS.format(aegis=f".venv/bin/aegis --state {plan.state.directory}", whip=whip))


@contextlib.asynccontextmanager
async def mail_sink(folder: Path) -> AsyncIterator[int]:
    """Take mail on a loopback port and lay each one into ``folder``; give the port."""
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - only the demonstration needs this package

    class Sink:
        async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # noqa: N802
            content = bytes(getattr(envelope, "content", b""))
            message = email.message_from_bytes(content, policy=email.policy.default)
            name = re.sub(r"[^a-z0-9]+", "-", str(message["message-id"]).lower()).strip("-")
            await asyncio.to_thread(write_private, folder / f"{name}.eml", content)
            say(f"  mail to {message['to']}: {message['subject']}  ({folder / name}.eml)")
            return "250 OK"

    port = free_port()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), loop=loop), "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()


def make_clip(path: Path) -> None:
    """Draw a room through which the two people walk, one after the other."""
    room = scene.room()
    people = {"hopper": _cut_out(_asset(*HOPPER), "hopper"), "collins": _cut_out(_asset(*COLLINS), "collins")}
    noise = np.random.default_rng(0)
    temporary = path.with_suffix(".new.mp4")
    with av.open(str(temporary), "w") as container:
        # As cameras do it: no picture waits for another that is shown after it.
        coding = {"preset": "veryfast", "crf": "26", "g": "20", "bf": "0"}
        stream = container.add_stream("libx264", rate=FPS, options=coding)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(SECONDS * FPS):
            image = room.copy()
            for name, start in WALKS:
                share = (number / FPS - start) / WALK_SECONDS
                if 0 <= share < 1:
                    _place(image, *people[name], share)
            image = image.astype(np.int16) + noise.integers(-3, 4, (HEIGHT, WIDTH, 1), np.int16)
            picture = np.clip(image, 0, 255).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    temporary.replace(path)


def _asset(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CommandError(f"the demonstration needs {package}; run: make setup", 2)
    return Path(next(iter(spec.submodule_search_locations))) / name


def _cut_out(path: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Give head and shoulders of a portrait and a soft mask for them."""
    left, top, width, height = HEADS[name]
    portrait = cv2.imread(str(path))
    if portrait is None:
        raise CommandError(f"{path}: the demonstration's portrait cannot be read", 2)
    part = np.asarray(portrait[top : top + height, left : left + width], np.uint8)
    return part, scene.soft_edge(width, height)


def _place(image: NDArray[np.uint8], part: NDArray[np.uint8], mask: NDArray[np.float32], share: float) -> None:
    """Lay a cut-out into the room where it is after a ``share`` of its walk: from the left, coming nearer."""
    scale = (150 + 90 * share) / part.shape[0]
    size = (int(part.shape[1] * scale), int(part.shape[0] * scale))
    small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    left = int(20 + share * (WIDTH - size[0] - 40))
    top = int(260 - 60 * share + 6 * np.sin(share * 30))
    scene.place(image, small, np.asarray(cv2.resize(mask, size), np.float32), left, top)
