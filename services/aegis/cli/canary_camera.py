"""The canary's camera: it sends drawn pictures to ingest as a browser does, by WHIP (RFC 9725)."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av.video.frame import VideoFrame
from yarl import URL

from aegis.cli.canary_picture import PersonInRoom

log = logging.getLogger(__name__)

FPS = 10
CLOCK = 90_000
ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
OVER = ("failed", "closed", "disconnected")


class RefusedError(Exception):
    """ingest does not take the video, in a sentence."""


class Pictures(MediaStreamTrack):
    """The video of a camera, as aiortc asks for it."""

    kind = "video"

    def __init__(self, camera: "Camera") -> None:
        super().__init__()
        self._camera = camera
        self._began = time.monotonic()
        self._sent = 0

    async def recv(self) -> VideoFrame:
        """Give the next picture when its time has come."""
        # One that is late is not made up for: the pictures after it keep their distance.
        self._sent = max(self._sent + 1, int((time.monotonic() - self._began) * FPS))
        await asyncio.sleep(max(0.0, self._began + self._sent / FPS - time.monotonic()))
        frame = await asyncio.to_thread(self._camera.draw, self._camera.shown_for())
        frame.pts, frame.time_base = self._sent * CLOCK // FPS, Fraction(1, CLOCK)
        return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where ingest takes the video of a camera, and the token that it asks for."""

    url: str
    camera: str
    token: str
    tls: ssl.SSLContext | None


class Camera:
    """Sends for as long as :meth:`run` runs, again after every loss."""

    def __init__(self, address: Address, scene: PersonInRoom) -> None:
        self._address = address
        self._scene = scene
        self._showing = False
        self.appeared_at: float | None = None
        """When the first picture with the person was made (monotonic); None while nobody is shown."""
        self.sending = asyncio.Event()
        self.problem = "it was not sent yet"
        """Why nothing is sent."""

    def show(self) -> None:
        """Let the person appear."""
        self._showing = True

    def hide(self) -> None:
        """Let the person go."""
        self._showing, self.appeared_at = False, None

    def shown_for(self) -> float | None:
        """Give for how many seconds the person is shown in the picture that is drawn next; None if not at all."""
        if not self._showing:
            return None
        now = time.monotonic()
        self.appeared_at = self.appeared_at or now
        return now - self.appeared_at

    def draw(self, since: float | None) -> VideoFrame:
        """Draw a picture. Blocking."""
        return VideoFrame.from_ndarray(self._scene.draw(since), format="bgr24").reformat(format="yuv420p")

    async def run(self) -> None:
        """Send, for ever."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._session() as over:
                    self.sending.set()
                    log.info("the canary's camera is sent")
                    pause = FIRST_PAUSE
                    self.problem = f"the connection to ingest is lost ({await over})"
            except RefusedError as refused:
                self.problem = str(refused)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.problem = f"{self._address.url} cannot be reached: {str(error) or type(error).__name__}"
            self.sending.clear()
            log.warning("the canary's camera is not sent: %s", self.problem)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncio.Future[str]]:
        """Offer the video; give what says how it ended."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[str] = loop.create_future()
        connected: asyncio.Future[str] = loop.create_future()
        # Without a list of its own it would ask a public STUN server where this site is.
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        def changed() -> None:
            if peer.connectionState == "connected" and not connected.done():
                connected.set_result(peer.connectionState)
            if peer.connectionState in OVER and not over.done():
                over.set_result(peer.connectionState)

        peer.on("connectionstatechange", changed)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as web:
            place: URL | None = None
            try:
                peer.addTransceiver(Pictures(self), direction="sendonly")
                await peer.setLocalDescription(await peer.createOffer())
                place = await self._offer(web, peer)
                await asyncio.wait({connected, over}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not connected.done():
                    raise RefusedError("ingest took the offer, but no video gets through; is UDP let through?")
                yield over
            finally:
                await self._leave(web, place)
                await peer.close()

    async def _offer(self, web: aiohttp.ClientSession, peer: RTCPeerConnection) -> URL:
        """Offer the video and take the answer; give the session's own address."""
        to = self._address
        headers = {"Content-Type": "application/sdp", **self._authorization}
        url, offer = f"{to.url}/whip/{to.camera}", peer.localDescription.sdp
        async with web.post(url, data=offer, headers=headers, ssl=to.tls or True, allow_redirects=False) as answer:
            text = await answer.text()
            if answer.status != 201:  # noqa: PLR2004 - HTTP
                raise RefusedError(f"ingest refuses the video: {text.strip()[:200]} ({answer.status})")
            await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
            return answer.url.join(URL(answer.headers.get("Location", "")))

    async def _leave(self, web: aiohttp.ClientSession, place: URL | None) -> None:
        """Say that no more comes, so that ingest need not wait for it."""
        if place is None:
            return
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await web.delete(place, headers=self._authorization, ssl=self._address.tls or True)

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._address.token}"}
