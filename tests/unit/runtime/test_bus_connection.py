"""When a server of which no stream answers is left for another one."""

from typing import Any, cast
from urllib.parse import urlparse

import pytest

from aegis.runtime.bus_connection import DOUBT_SECONDS, Answers


class Connection:
    """What is asked of a client."""

    def __init__(self, *servers: str) -> None:
        self.servers = [urlparse(server) for server in servers]
        self.connected_url = self.servers[0]
        self.is_connected = True
        self.left = 0

    async def force_reconnect(self) -> None:
        self.left += 1


async def left(monkeypatch: pytest.MonkeyPatch, connection: Connection, *misses: float, heard: float = -1.0) -> int:
    """Give how often the server was left when nothing answered at these times, and something did at another."""
    answers = Answers(cast("Any", connection))
    for at in sorted((*misses, heard)):
        monkeypatch.setattr("aegis.runtime.bus_connection.time.monotonic", lambda at=at: 1000.0 + at)
        if at == heard:
            answers.heard()
        else:
            await answers.missed()
    return connection.left


ONE, THREE = ("tls://127.0.0.1:4222",), ("tls://a:4222", "tls://b:4222", "tls://c:4222")
LONG = [2.0 * n for n in range(int(DOUBT_SECONDS / 2) + 2)]


async def test_it_is_left_once_nothing_answered_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await left(monkeypatch, Connection(*THREE), *LONG[:-1]) == 0
    assert await left(monkeypatch, Connection(*THREE), *LONG) == 1
    assert await left(monkeypatch, Connection("tls://nats:4222"), *LONG) == 1, "a name that may stand for several"


async def test_it_is_not_left_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await left(monkeypatch, Connection(*ONE), *LONG) == 0


async def test_an_answer_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await left(monkeypatch, Connection(*THREE), *LONG, heard=7.0) == 0


async def test_misses_far_apart_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await left(monkeypatch, Connection(*THREE), 0.0, 60.0, 3600.0) == 0
