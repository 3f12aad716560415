"""A webhook receiver for the tests that checks signatures by itself and answers what it was told to."""

import asyncio
import base64
import hashlib
import hmac
import random
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from aiohttp import web

TOLERANCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Received:
    """One request: when it came, its headers and body, and whether its signature holds."""

    path: str
    at: float
    headers: dict[str, str]
    body: bytes
    genuine: bool


@dataclass
class WebhookReceiver:
    """Start it, read ``received``; queue ``answers`` of a path, after which it answers 204."""

    secret: str
    received: list[Received] = field(default_factory=list)
    answers: dict[str, deque[tuple[int, dict[str, str]]]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    flaps: float = 0.0
    """Share of requests that are answered 503 without being taken."""
    taken: list[Received] = field(default_factory=list)
    """Those that were answered with success."""
    hold: asyncio.Event | None = None
    """Until it is set, nobody is answered."""
    host: str = "127.0.0.1"
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, time.time(), headers, body, self._genuine(headers, body))
        self.received.append(received)
        if self.hold is not None:
            await self.hold.wait()
        queue = self.answers[request.path]
        status, extra = queue.popleft() if queue else self.always.get(request.path, (204, {}))
        if random.random() < self.flaps:
            status = 503
        if status < 300:
            self.taken.append(received)
        return web.Response(status=status, headers=extra)

    def _genuine(self, headers: dict[str, str], body: bytes) -> bool:
        """Check as the Standard Webhooks specification tells receivers to."""
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        stamp = headers["webhook-timestamp"]
        signed = b".".join([headers["webhook-id"].encode(), stamp.encode(), body])
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(stamp)) < TOLERANCE_SECONDS
        given = [part.partition(",")[2] for part in headers["webhook-signature"].split(" ")]
        return fresh and any(hmac.compare_digest(expected, signature) for signature in given)
