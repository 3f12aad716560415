"""An upgrade and a rollback under way: two versions side by side on one bus, and no alert is lost."""

import asyncio
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests import previous
from tests.bus import Server, until
from tests.e2e.conftest import People
from tests.e2e.system import SITE
from tests.peers.mail_server import MailServer

from aegis.cli.requests import ask
from aegis.cli.state import SERVICES, SINGLE_THREAD
from aegis.contracts import cloudevents, subjects
from aegis.contracts.messages import AddEntry, Remove
from aegis.runtime import sealing, status, topology
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import read_all

CONFIG = """
cameras:
  - {{id: door, url: "file:{clip}", loop: true}}
notify:
  email: {{smtp: "smtp+insecure://127.0.0.1:{port}", from: aegis@north.example}}
  people:
    gate: {{email: gate@north.example}}
"""
GATE = "gate@north.example"
END_SECONDS = 10
BUILD = f'aegis_build_info{{version="{importlib.metadata.version("aegis-watch")}"}}'
"""Which the version before does not tell."""


class Versions:
    """Replicas of every service, of the version before and of this one."""

    def __init__(self, server: Server, admin: Bus, folder: Path, models: Path, before: Path) -> None:
        self.admin, self._server, self._folder, self._models = admin, server, folder, models
        self._before = before
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def start(self, service: str, version: str) -> None:
        config = self._server.config(service)
        environ = {
            **os.environ,
            **SINGLE_THREAD,
            **({"PYTHONPATH": previous.path_first(self._before)} if version == "before" else {}),
            "AEGIS_BUS_URL": config.url,
            "AEGIS_BUS_CA": str(config.ca),
            "AEGIS_KEY_FILE": str(config.key),
            "AEGIS_REPLICA": f"{version}-{len(self._running)}",
            "AEGIS_SITE_FILE": str(self._folder / "site.yaml"),
            "AEGIS_SITE_KEY_FILE": str(self._folder / "site.key"),
            "AEGIS_MODELS_DIR": str(self._models),
            "AEGIS_WHIP_PORT": "0",
        }
        with (self._folder / f"{service}-{version}.log").open("ab") as log:
            command = [sys.executable, "-m", f"aegis.{service}"]
            self._running[service, version] = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    async def stop(self, service: str, version: str) -> None:
        """End one as a rolling update does; it must leave in order."""
        process = self._running.pop((service, version))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, END_SECONDS) == 0, (service, version)

    async def ready(self) -> None:
        async def all_ready() -> bool:
            dead = [who for who, process in self._running.items() if process.poll() is not None]
            assert not dead, dead
            answers = await status.collect(self.admin, wait=1.0, enough=len(self._running))
            return len(answers) == len(self._running) and all(answer["ready"] for answer in answers)

        await until(all_ready, f"{sorted(self._running)} are ready", 40)
        newest = {answer["pid"] for answer in await status.collect(self.admin) if BUILD in answer["metrics"]}
        assert newest == {process.pid for (_, version), process in self._running.items() if version == "now"}

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


async def test_no_alert_is_lost_while_versions_change(
    tmp_path: Path, models_dir: Path, people: People, mails: MailServer
) -> None:
    before = previous.tree(tmp_path / "before")
    person, clips = next(iter(people.of.items()))
    clip = people.clip(clips[0])
    (tmp_path / "site.yaml").write_text(SITE + CONFIG.format(clip=clip, port=mails.port))
    sealing.load_or_create(tmp_path / "site.key")
    photo = people.photo(clips[0]).read_bytes()
    server = Server(tmp_path)
    server.start()
    async with server.connect() as admin:
        await topology.declare(admin)
        versions = Versions(server, admin, tmp_path, models_dir, before)
        try:
            await roll(versions, lambda: alerted(admin, mails, person, photo))
        finally:
            versions.close()
            server.kill()


async def roll(versions: Versions, alert: Callable[[], Awaitable[None]]) -> None:
    """Go from the version before to this one and back, and see an alert at each step."""
    for service in SERVICES:
        versions.start(service, "before")
    await versions.ready()
    await alert()
    for new, old in (("now", "before"), ("before", "now")):
        for service in SERVICES:
            versions.start(service, new)
        await versions.ready()
        await alert()
        # Half of what must work together is of either version, one way and the other.
        for half in (SERVICES[::2], SERVICES[1::2]):
            for service in half:
                await versions.stop(service, old)
            await alert()


async def alerted(admin: Bus, mails: MailServer, person: str, photo: bytes) -> None:
    """Enrol the person who is in view: an alert is raised once, and told once."""
    name = f"{person} {time.monotonic():.3f}"
    added = await ask(admin, "watchlist-add", AddEntry(name=name, category="barred", photos=(photo,)))

    async def raised() -> list[str]:
        subject = subjects.alert("*", "*", added["id"])
        return [cloudevents.load(m.data).type async for m in read_all(admin, subjects.ALERTS, subject, "test")]

    async def told() -> bool:
        return len(await raised()) > 0 and any(name in str(mail["Subject"]) for mail in mails.of(GATE))

    await until(told, f"{name} is alerted", 40)
    assert [kind for kind in await raised() if kind.startswith("aegis.alert.raised")] == ["aegis.alert.raised.v1"]
    await ask(admin, "watchlist-remove", Remove(id=added["id"]))
