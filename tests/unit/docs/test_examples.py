"""What the documentation says to type works."""

import re
import runpy
import shlex
import time
from pathlib import Path

import pytest
from tests.unit.docs.pages import blocks, page, pages
from tests.unit.docs.reference import ROOT

from aegis.cli.main import parser
from aegis.notify import core
from aegis.runtime import site_file

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


@pytest.mark.parametrize("secret", ["plain text", "whsec_c29tZSBzZWNyZXQ="])
def test_the_webhook_example_knows_a_genuine_event(secret: str) -> None:
    genuine = runpy.run_path(str(ROOT / "examples" / "webhook" / "receiver.py"))["verify"]
    body, now = b'{"specversion":"1.0"}', int(time.time())

    def headers(timestamp: int, *, secret: str = secret) -> dict[str, str]:
        signature = core.signature(core.signing_key(secret), "an-id", timestamp, body)
        return {"webhook-id": "an-id", "webhook-timestamp": str(timestamp), "webhook-signature": signature}

    assert genuine(secret, headers(now), body)
    assert not genuine(secret, headers(now), body + b" ")
    assert not genuine(secret, headers(now, secret="another"), body)
    assert not genuine(secret, headers(now - 3600), body)
    assert not genuine(secret, {**headers(now), "webhook-id": "another"}, body)


def test_every_example_is_shown_and_what_is_shown_exists() -> None:
    text = page("docs/guides/integrators.md") + page("docs/guides/integrators-mqtt.md")
    programs = [path for path in (ROOT / "examples").rglob("*.*") if path.suffix in (".py", ".mjs", ".sh")]
    named = set(re.findall(r"(?:examples|tests)/[\w./-]+\.\w+", text))
    assert {str(path.relative_to(ROOT)) for path in programs if "node_modules" not in path.parts} <= named
    assert all((ROOT / name).exists() for name in named)
