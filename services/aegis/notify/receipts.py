"""Takes what SMS providers report later of what they were handed: a small HTTP server, and nothing else is served.

    POST /receipts/twilio/<identity>                    signed by Twilio
    GET  /receipts/kannel/<identity>?sig=...&status=... in an address that was signed here

Nothing that it refuses is logged or kept, only counted. It speaks plain HTTP and closes no idle connections that never
ask anything: a public one stands behind the proxy that ends TLS.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qsl

from aiohttp import web

from aegis.notify.channel import Receipt, TakeReceipt

MOST_BYTES = 16_384
MOST_FIELDS = 64
BODY_SECONDS = 5.0
FORM = "application/x-www-form-urlencoded"

log = logging.getLogger(__name__)

_QUIET = logging.getLogger(f"{__name__}.aiohttp")
"""aiohttp writes a traceback for every request that is no HTTP, so anybody could fill the log."""
_QUIET.setLevel(logging.CRITICAL)

Fields = Sequence[tuple[str, str]]
Count = Callable[[str, str], None]
"""Is told the provider and what became of a request: taken, forged, malformed, unknown or failed."""


class ForgedError(Exception):
    """The signature does not hold."""


class MalformedError(Exception):
    """It is signed, but says nothing that can be understood."""


class Validator(Protocol):
    """Knows how one provider reports."""

    @property
    def name(self) -> str:
        """The part of the path that is the provider's."""

    @property
    def method(self) -> str:
        """GET or POST."""

    def url(self, identity: str) -> str:
        """Give the address to which the provider is to report of this news, in the form in which it wants it."""

    def read(self, identity: str, headers: Mapping[str, str], fields: Fields) -> Receipt:
        """Read a report.

        Raises:
            ForgedError: its signature does not hold.
            MalformedError: it says nothing.

        """


class ReceiptServer:
    """Hands every genuine report to ``take``, which raises LookupError for news that it does not know."""

    def __init__(
        self, *, host: str, port: int, take: TakeReceipt, validators: Sequence[Validator], count: Count
    ) -> None:
        self._host = host
        self.port = port
        """Where it listens; 0 until then lets the system choose one."""
        self._take = take
        self._validators = validators
        self._count = count

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.

        """
        app = web.Application(client_max_size=MOST_BYTES)
        for validator in self._validators:
            path = f"/receipts/{validator.name}/{{identity:[a-z0-9_-]{{1,64}}}}"
            app.router.add_route(validator.method, path, self._handler(validator))
        runner = web.AppRunner(app, access_log=None, logger=_QUIET, keepalive_timeout=BODY_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self.port).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    def _handler(self, validator: Validator) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.Response:
            status, outcome = await self._answer(validator, request)
            self._count(validator.name, outcome)
            return web.Response(status=status)

        return handle

    async def _answer(self, validator: Validator, request: web.Request) -> tuple[int, str]:
        identity = request.match_info["identity"]
        try:
            receipt = validator.read(identity, request.headers, await _fields(request))
        except ForgedError:
            return 403, "forged"
        except MalformedError:
            return 400, "malformed"
        except web.HTTPRequestEntityTooLarge:
            return 413, "malformed"
        try:
            await self._take(receipt)
        except LookupError:
            log.warning("a receipt of %s is of no known delivery: %s", validator.name, identity)
            return 404, "unknown"
        except Exception as error:  # noqa: BLE001 - its text may hold what must not be told
            log.error("a receipt of %s was not taken: %s", validator.name, type(error).__name__)  # noqa: TRY400
            return 503, "failed"
        return 200, "taken"


async def _fields(request: web.Request) -> Fields:
    """Read a form from the query or the body.

    Raises:
        MalformedError: it is none, or did not come in time.

    """
    if request.method == "GET":
        return list(request.query.items())
    if request.content_type != FORM:
        raise MalformedError
    try:
        async with asyncio.timeout(BODY_SECONDS):
            text = (await request.read()).decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except (web.RequestPayloadError, ValueError, OSError):
        # A time-out is an OSError too.
        raise MalformedError from None
