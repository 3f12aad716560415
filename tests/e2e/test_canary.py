"""The canary through a whole system: it is seen, nobody is told, and what is broken shows."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import aiohttp
import pytest
import yaml
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import AEGIS, SITE, System, running
from tests.peers.mail_server import MailServer

from aegis.runtime.bus_server import free_port

GATE = "gate@north.example"
FIGURES = re.compile(r"canary seen after (\d+\.\d\d) s, (-?\d\.\d{3}) above the threshold\n")


def site(mail: int, whip: int) -> str:
    more = {
        "cameras": [{"id": "canary", "url": "whip:", "token": "${CANARY_TOKEN}"}],
        "categories": {"barred": {"severity": "high"}, "staff-canary": {"canary": True}},
        "notify": {"email": {"smtp": f"smtp+insecure://127.0.0.1:{mail}", "from": "a@north.example", "to": [GATE]}},
        "whip": {"listen": f"127.0.0.1:{whip}"},
    }
    return SITE + yaml.safe_dump(more)


async def once(system: System, photo: Path, code: int) -> str:
    options = ("--photo", photo, "--camera", "canary", "--token-env", "CANARY_TOKEN", "--once")
    return await system.command("canary", *options, code=code)


async def event(system: System) -> tuple[str, str]:
    """Give the newest alert as the list shows it, and its event."""
    line = (await system.command("alerts", "list")).splitlines()[-1]
    return line, (await system.command("alerts", "list", "--json")).splitlines()[-1]


async def served(system: System, photo: Path) -> str:
    """Run it as a service until it has shown somebody once; give its metrics."""
    port = free_port()
    options = ("--camera", "canary", "--token-env", "CANARY_TOKEN", "--http", f"127.0.0.1:{port}")
    command = (AEGIS, "canary", *options, "--photo", photo, "--state", system.state.directory)
    process = await asyncio.create_subprocess_exec(*command, env=system.environ, stderr=asyncio.subprocess.PIPE)
    found = ""

    async def shown() -> bool:
        nonlocal found
        try:
            async with web.get(f"http://127.0.0.1:{port}/metrics") as answer:
                found = await answer.text()
        except aiohttp.ClientError:
            return False
        return 'outcome="seen"} 1.0' in found

    async with aiohttp.ClientSession() as web:
        await until(shown, "the canary was seen", 30.0)
        async with web.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 0, log
    assert b"canary seen" in log
    return found


async def test_a_canary_is_seen_and_pages_nobody(people: People, tmp_path: Path) -> None:
    mails = MailServer()
    await mails.start()
    shown = people.photo("brother.mkv")
    environ = {"CANARY_TOKEN": "a token of the test"}
    async with running(tmp_path, site(mails.port, free_port()), environ=environ) as system:
        identity = await system.enrol("Sam Staff", people.photo("again.mkv"), category="staff-canary")

        figures = FIGURES.fullmatch(await once(system, shown, 0))
        assert figures
        assert float(figures[1]) < 5
        assert 0 < float(figures[2]) < 0.5
        line, told = await event(system)
        assert re.match(r"\d\d:\d\d:\d\d CANARY ALERT \S+: Sam Staff \(staff-canary, low\) at canary", line), line
        data = json.loads(told)["data"]
        assert (data["canary"], data["drill"], data["chip"], data["frame"]) == (True, True, "", "")
        explained = await system.command("notify", "explain", data["reference"])
        assert explained.startswith(f"CANARY {data['reference']}: raised ")
        assert "not told: nobody is told of the canary" in explained

        metrics = await served(system, shown)
        assert 'aegis_canary_margin{camera="canary"} 0.' in metrics
        # What BusDisconnected and ServiceDown look at, of every process that is scraped.
        assert {"aegis_ready 1.0", "aegis_bus_connected 1.0"} <= set(metrics.splitlines())
        assert re.search(r'aegis_canary_last_seen_seconds\{camera="canary"\} 1\.\d+e\+09', metrics)

        await system.command("watchlist", "remove", identity)
        assert await once(system, shown, 1) == "aegis: canary missed\n"
        assert not mails.mails

        # The same showing of the same person, in a category of which people are told.
        await system.enrol("Sam Staff", people.photo("again.mkv"))
        halted = await once(system, shown, 1)
        assert re.match(r"aegis: canary failed: \S+ alerted people: .* of the category barred", halted), halted
        await until(lambda: bool(mails.of(GATE)), "a mail of the alert", 10.0)
        assert [str(mail["Subject"]).count("Sam Staff") for mail in mails.of(GATE)] == [1]

        await system.command("disarm")
        assert await once(system, shown, 1) == "aegis: canary failed: the site is disarmed\n"
    await mails.stop()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--every", 60), "--every 60 is too often"),
        (("--token-env", "NOT_THERE"), "the environment variable NOT_THERE is not set"),
        (("--photo", "none.jpg"), "none.jpg: No such file or directory"),
        (("--http", "8080"), "--http 8080 is not HOST:PORT"),
        (("--ca", "none.pem"), "none.pem is no certificate"),
    ],
)
async def test_what_cannot_be_begun_is_said(
    options: tuple[object, ...], says: str, people: People, models_dir: Path, tmp_path: Path
) -> None:
    assert models_dir
    system = System(tmp_path, {**os.environ, "CANARY_TOKEN": "t", "AEGIS_BUS_URL": "nats://127.0.0.1:1"})
    common = (
        "--photo",
        people.photo("again.mkv"),
        "--camera",
        "c",
        "--token-env",
        "CANARY_TOKEN",
        "--whip",
        "http://x",
    )
    assert says in await system.command("canary", *common, *options, code=2)
