"""What the documentation says to type works."""

import asyncio
import re
import shlex
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bus import Server
from tests.unit.docs.pages import blocks, page, pages
from tests.unit.docs.reference import ROOT

from aegis.cli.main import parser
from aegis.contracts import subjects
from aegis.notify import core
from aegis.runtime import site_file, topology

INTEGRATORS = "docs/guides/integrators.md"
WORDS = re.compile(r"^(?:ExecStart=\S*/|(?:\w+=\S+ )*)(aegis .*)$", re.MULTILINE)


def command_lines() -> list[str]:
    return [
        line for path in pages() for block in blocks(path.read_text(), "sh", "ini") for line in WORDS.findall(block)
    ]


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_a_command_line_parses(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    parser().parse_args(words)


def test_command_lines_were_found() -> None:
    assert len(command_lines()) > 15


YAML = [(path.relative_to(ROOT), block) for path in pages() for block in blocks(path.read_text(), "yaml")]


@pytest.mark.parametrize(("name", "text"), YAML, ids=lambda value: str(value) if isinstance(value, Path) else "")
def test_a_site_file_is_good(name: Path, text: str, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    variables = [*re.findall(r"\$\{(\w+)\}", text), *re.findall(r"secret_env: (\w+)", text)]
    site = site_file.read(path, dict.fromkeys(variables, "secret"))
    site.check()
    assert site.cameras()
    assert site.notify().email


def test_site_files_were_found() -> None:
    assert len(YAML) >= 2


def example(function: str) -> Callable[..., Any]:
    """Give a function of the integrators' guide."""
    code = next(block for block in blocks(page(INTEGRATORS), "python") if f"def {function}(" in block)
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102 - our own documentation
    found: Callable[..., Any] = namespace[function]
    return found


@pytest.mark.parametrize("secret", ["plain text", "whsec_c29tZSBzZWNyZXQ="])
def test_the_webhook_example_knows_a_genuine_event(secret: str) -> None:
    verify = example("verify")
    body, now = b'{"specversion":"1.0"}', int(time.time())

    def headers(timestamp: int, *, secret: str = secret) -> dict[str, str]:
        signature = core.signature(core.signing_key(secret), "an-id", timestamp, body)
        return {"webhook-id": "an-id", "webhook-timestamp": str(timestamp), "webhook-signature": signature}

    assert verify(secret, headers(now), body)
    assert not verify(secret, headers(now), body + b" ")
    assert not verify(secret, headers(now, secret="another"), body)
    assert not verify(secret, headers(now - 3600), body)
    assert not verify(secret, {**headers(now), "webhook-id": "another"}, body)


async def test_the_stream_example_replays_and_goes_on(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        async with server.connect() as admin, server.connect("match") as match:
            await topology.declare(admin)
            subject = subjects.alert("site", "barred", "somebody")
            for number in range(2):
                await match.store(subject, b'{"id":"%d"}' % number)
            reading: AsyncIterator[tuple[int, dict[str, Any]]] = example("events")(tmp_path, server.files.port, after=1)
            async with asyncio.timeout(20):
                assert await anext(reading) == (2, {"id": "1"})
                await match.store(subject, b'{"id":"2"}')
                assert await anext(reading) == (3, {"id": "2"})
            await reading.aclose()  # type: ignore[attr-defined]
    finally:
        server.kill()
