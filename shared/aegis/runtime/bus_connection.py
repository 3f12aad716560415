"""Coming in to the bus: where it is, who one is there, and waiting for one that is away."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DOUBT_SECONDS = 11.0
"""For so long no stream may answer before another server is tried. After the loss of a server it takes ten seconds
until its streams have other leaders; to leave meanwhile would only lose time."""
APART_SECONDS = 5.0
"""Misses that are further apart have nothing to do with each other: whoever is not answered asks again at once."""
GOODBYE_SECONDS = 0.5
"""How long TLS may say goodbye to a server: one that is paused or cut off never answers, and TLS would wait 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """How to reach the bus: its addresses, its authority's certificate, and the key file that says who one is."""

    url: str
    """One address, or several with commas between."""
    ca: Path | None = None
    key: Path | None = None
    inbox: str = "_INBOX"


async def connect_patiently(client: Client, config: BusConfig, name: str, callbacks: Mapping[str, object]) -> None:
    """Connect; a bus that is away is waited for, one that does not let this key in is an error at once."""
    options: dict[str, object] = {
        "servers": [url.strip() for url in config.url.split(",")],
        "name": name,
        "tls": ssl.create_default_context(cafile=str(config.ca)) if config.ca else None,
        "nkeys_seed": str(config.key) if config.key else None,
        "inbox_prefix": config.inbox,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.2,
        "connect_timeout": 2,
        "ping_interval": 2,
        "max_outstanding_pings": 2,
        **callbacks,
    }
    told = ""
    while True:
        try:
            # nats-py would retry for ever without a word, so it is given two attempts at a time.
            limited = {"allow_reconnect": False, "max_reconnect_attempts": 1}
            await client.connect(**{**options, **limited})  # type: ignore[arg-type]
        except (nats.errors.Error, OSError, TimeoutError) as error:
            problem = str(error) or type(error).__name__
            if "authorization violation" in problem.lower():
                raise
            if problem != told:
                log.warning("bus at %s is away: %s; waiting for it", config.url, problem)
                told = problem
            await asyncio.sleep(0.2)
        else:
            client.options |= {option: options.get(option, True) for option in limited}
            # In turn, so that whoever leaves a server comes to another one.
            client.options["dont_randomize"] = True
            _leave_at_once(client)
            return


class Answers:
    """Whether streams answer through the server that a client is connected to.

    One that is cut off from the rest of its cluster keeps its connections and does not say so; it is left for another.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._missing_since: float | None = None
        self._missed_at = 0.0

    def heard(self) -> None:
        """Take note that a stream answered, whatever it said."""
        self._missing_since = None

    async def missed(self) -> None:
        """Take note that a stream did not answer; if none has for long, go to another server, if there may be one."""
        now = time.monotonic()
        apart, self._missed_at = now - self._missed_at > APART_SECONDS, now
        if self._missing_since is None or apart or not self._client.is_connected:
            self._missing_since = now
        elif now - self._missing_since > DOUBT_SECONDS and self._others():
            self._missing_since = now
            log.warning("no stream answered through this server for %g s; trying another", DOUBT_SECONDS)
            await self._client.force_reconnect()

    def _others(self) -> bool:
        """Tell whether there may be other servers: several addresses, or a name that can stand for some."""
        url = self._client.connected_url
        return len(self._client.servers) > 1 or (url is not None and url.hostname not in LOOPBACK)


def _leave_at_once(client: Client) -> None:
    """Have it not wait long for a server's good-bye; its transport stays the same over reconnections."""
    transport = client._transport  # noqa: SLF001 - there is no public way
    assert isinstance(transport, TcpTransport)  # noqa: S101 - our addresses are no WebSockets
    wait_closed: Callable[[], Awaitable[object]] = transport.wait_closed

    async def closed() -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await wait_closed()
        except TimeoutError:
            if transport._io_writer is not None:  # noqa: SLF001
                transport._io_writer.transport.abort()  # noqa: SLF001

    transport.wait_closed = closed  # type: ignore[method-assign]
