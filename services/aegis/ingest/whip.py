"""Browsers and phones as cameras: a WHIP server (RFC 9725) and the page that publishes a webcam to it."""

import asyncio
import contextlib
import hmac
import logging
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription
from av.video.frame import VideoFrame

from aegis.ingest import core
from aegis.ingest.decoding import BEAT_SECONDS
from aegis.ingest.grey import small_of
from aegis.ingest.output import Known, Output, Site
from aegis.ingest.turn import Turn
from aegis.runtime.bus import BusUnavailableError, RefusedError
from aegis.runtime.leases import Lease, Leases
from aegis.vision.motion import Motion

log = logging.getLogger(__name__)

BODY_BYTES = 64 * 1024
SILENT_SECONDS = 10.0
"""A session without a picture for this long is over."""
CLOSE_SECONDS = 0.5
KNOWN_SECONDS = 2.0
SDP = "application/sdp"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Expose-Headers": "Location, Link",
    "Accept-Post": SDP,
}
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; "
    "media-src blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True)
class _Session:
    """One sender, from its offer to its end."""

    known: Known
    identity: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    peer: RTCPeerConnection = field(
        # Without a list of its own it would ask a public STUN server where this site is.
        default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[]))
    )
    over: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[None] | None = None

    def end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class Whip:
    """The server. ``find`` gives a camera that delivers by itself, if there is one of that name."""

    def __init__(self, site: Site, leases: Leases, find: Callable[[str], Known | None], turn: Turn) -> None:
        self._site = site
        self._turn = turn
        self._leases = leases
        self._find = find
        self._sessions: dict[str, _Session] = {}
        self._nobody = secrets.token_urlsafe(32)
        self.address = ""

    @contextlib.asynccontextmanager
    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> AsyncIterator[str]:
        """Serve; gives a sentence instead if the port cannot be had."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes(
            [
                web.post("/whip/{camera}", self._offer),
                web.options("/whip/{camera}", self._servers),
                web.delete("/whip/{camera}/{session}", self._delete),
                web.options("/whip/{camera}/{session}", self._options),
                web.get("/camera/{camera}", self._page),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        problem = ""
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as error:
            problem = f"AEGIS_WHIP_PORT={port} on {host} cannot be used: {error.strerror}"
            log.warning("no browser can be a camera: %s", problem)
        else:
            name = f"[{host}]" if ":" in host else host
            self.address = f"{'https' if tls else 'http'}://{name}:{runner.addresses[0][1]}"
            log.info("browsers and phones can deliver", extra={"address": self.address})
        try:
            yield problem
        finally:
            tasks = [session.task for session in self._sessions.values() if session.task]
            for session in self._sessions.values():
                session.end("the service stops")
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()

    async def _options(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def _servers(self, request: web.Request) -> web.Response:
        """Tell of the TURN servers before the offer, as browsers need it. A preflight has no token and is told none."""
        response = web.Response(status=204, headers=CORS)
        if "Authorization" in request.headers:
            try:
                self._tell_turn(response, self._authorise(request))
            except _RefusedError as refused:
                return _refusal(refused)
        return response

    def _tell_turn(self, response: web.Response, known: Known) -> None:
        for link in self._turn.links(known.record.id, time.time()):
            response.headers.add("Link", link)

    async def _page(self, _: web.Request) -> web.Response:
        # The page is the same for every name, so that it tells nobody which cameras there are.
        nonce = secrets.token_urlsafe(16)
        headers = {
            "Content-Security-Policy": POLICY.format(nonce),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(text=PAGE.replace("NONCE", nonce), content_type="text/html", headers=headers)

    async def _offer(self, request: web.Request) -> web.Response:
        camera = request.match_info["camera"]
        try:
            known = self._authorise(request)
            offer = await _read_offer(request)
            session = await self._open(known, offer)
        except _RefusedError as refused:
            return _refusal(refused)
        location = {"Location": f"/whip/{camera}/{session.identity}"}
        answer = session.peer.localDescription.sdp
        response = web.Response(status=201, text=answer, content_type=SDP, headers=CORS | location)
        self._tell_turn(response, known)
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            known = self._authorise(request)
        except _RefusedError as refused:
            return _refusal(refused)
        session = self._sessions.get(known.record.id)
        if session is None or session.task is None or session.identity != request.match_info["session"]:
            return _refusal(_RefusedError(404, "there is no such session"))
        session.end("ended by the sender")
        await asyncio.wait((session.task,))
        return web.Response(status=200, headers=CORS)

    def _authorise(self, request: web.Request) -> Known:
        """Give the camera if the token is right; a camera that does not exist is refused in the same way."""
        known = self._find(request.match_info["camera"])
        expected = known.record.token if known and known.record.token else self._nobody
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(errors="replace"), expected.encode())
        if not same or known is None or scheme.lower() != "bearer":
            raise _RefusedError(401, "the token is wrong, or there is no such camera")
        return known

    async def _open(self, known: Known, offer: RTCSessionDescription) -> _Session:
        camera = known.record.id
        if camera in self._sessions:
            raise _RefusedError(409, "this camera is being sent already")
        session = self._sessions[camera] = _Session(known)
        lease: Lease | None = None
        try:
            lease = await self._take(camera)
            track = await _negotiate(session.peer, offer)
        except BaseException:
            await session.peer.close()
            if lease is not None:
                await self._leases.release(lease)
            del self._sessions[camera]
            raise
        session.task = asyncio.create_task(self._run(session, lease, track))
        return session

    async def _take(self, camera: str) -> Lease:
        try:
            await asyncio.wait_for(self._site.policy.known.wait(), KNOWN_SECONDS)
            lease = await self._leases.take(camera)
        except (BusUnavailableError, RefusedError, TimeoutError):
            raise _RefusedError(503, "the system is not ready; try again soon") from None
        if lease is None:
            raise _RefusedError(409, "this camera is being sent already, through another server")
        return lease

    async def _run(self, session: _Session, lease: Lease, track: MediaStreamTrack) -> None:
        """Publish until the session is over, tell why, and give the camera back."""
        output = Output(self._site, lease, session.known)
        playing = asyncio.create_task(_play(session, lease, track, output))
        try:
            reason = await session.over
            playing.cancel()
            await asyncio.wait((playing,))
            await session.peer.close()
            await output.offline(reason)
        finally:
            playing.cancel()
            output.close()
            del self._sessions[session.known.record.id]
            await self._leases.release(lease)


async def _play(session: _Session, lease: Lease, track: MediaStreamTrack, output: Output) -> None:
    try:
        session.end(await _frames(session, lease, track, output))
    except Exception as error:  # noqa: BLE001 - one sender's pictures must not end the service
        session.end(f"cannot be read ({type(error).__name__})")


async def _frames(session: _Session, lease: Lease, track: MediaStreamTrack, output: Output) -> str:
    """Publish the picked frames, one at a time; give the reason for which there are no more."""
    pace, motion = core.Pace(output.record.fps), Motion(BEAT_SECONDS)
    async with asyncio.TaskGroup() as sending:
        last: asyncio.Task[None] | None = None
        while not session.known.replaced.is_set():
            if lease.lost.is_set():
                return "the lease was lost"
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    frame = await track.recv()
            except TimeoutError:
                return f"no picture for {SILENT_SECONDS:.0f} s"
            except MediaStreamError:
                return "the sender is gone"
            if not isinstance(frame, VideoFrame):
                continue
            when = time.monotonic() if frame.time is None else frame.time
            if not pace.take(when, time.time()):
                continue
            if output.wanted and not motion.look(small_of(frame), when)[0]:
                output.gated("still", 1)
                continue
            if last is not None and not last.done():
                output.drop("slow")
            else:
                last = sending.create_task(output.send_frame(frame, time.time()))
    return "the camera was changed or removed"


async def _read_offer(request: web.Request) -> RTCSessionDescription:
    if request.content_type != SDP:
        raise _RefusedError(415, f"the body must be {SDP}")
    try:
        text = (await request.read()).decode()
        media = SessionDescription.parse(text).media
    except web.HTTPRequestEntityTooLarge:
        raise _RefusedError(413, f"the offer is larger than {BODY_BYTES} bytes") from None
    except Exception:  # noqa: BLE001 - a parser that is fed by strangers may raise anything
        raise _RefusedError(400, "the body is no SDP offer") from None
    sent = [section.kind for section in media if section.direction in ("sendonly", "sendrecv")]
    if sent.count("video") != 1 or not {section.kind for section in media} <= {"audio", "video"}:
        raise _RefusedError(400, "the offer must send one video, and nothing but audio beside it")
    return RTCSessionDescription(sdp=text, type="offer")


async def _negotiate(peer: RTCPeerConnection, offer: RTCSessionDescription) -> MediaStreamTrack:
    """Answer with every candidate in it: video is received, audio is not."""
    try:
        await peer.setRemoteDescription(offer)
        for transceiver in peer.getTransceivers():
            if transceiver.kind == "audio":
                transceiver.direction = "inactive"
        await peer.setLocalDescription(await peer.createAnswer())
        return next(t.receiver.track for t in peer.getTransceivers() if t.kind == "video" and t.receiver.track)
    except Exception as error:  # noqa: BLE001 - as above
        log.info("an offer was refused: %s", type(error).__name__)
        raise _RefusedError(400, "no video of this offer can be received; H.264 and VP8 can") from None


def _refusal(refused: _RefusedError) -> web.Response:
    headers = CORS | ({"WWW-Authenticate": "Bearer"} if refused.status == 401 else {})  # noqa: PLR2004 - HTTP
    return web.Response(status=refused.status, text=refused.reason + "\n", headers=headers)
