"""A whole system as a person runs it: ``aegis up`` as a child process, and the other commands beside it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bus import until

from aegis.cli.state import State, service_environment

AEGIS = Path(sys.executable).with_name("aegis")
SITE = "site: {id: test-site, name: Test site, kind: venue, jurisdiction: US-PA, state: armed}\n"


class System:
    """A running system. Make one with :func:`running`."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.state = State(folder / "state")
        self.environ = dict(environ)
        self.process: asyncio.subprocess.Process | None = None
        self.extra: list[subprocess.Popen[bytes]] = []

    @property
    def output(self) -> str:
        return (self.folder / "up.log").read_text()

    @property
    def pid_of_up(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self, *options: str) -> None:
        command = [str(AEGIS), "up", "--config", str(self.folder / "site.yaml"), "--state", str(self.state.directory)]
        with (self.folder / "up.log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, *options, stdout=log, stderr=log, env=self.environ
            )

    async def wait(self, patience: float = 90) -> int:
        assert self.process is not None
        async with asyncio.timeout(patience):
            return await self.process.wait()

    async def ready(self) -> None:
        def done() -> bool:
            assert self.process is None or self.process.returncode is None, self.output
            return "ready in" in self.output

        await until(done, f"ready: {self.output}", 30)

    async def command(self, *words: object, code: int | None = 0, stdin: bytes = b"") -> str:
        """Run a command; give what it printed on standard output, or on standard error where it must fail.

        ``code`` is what it must exit with; None takes any.
        """
        process = await asyncio.create_subprocess_exec(
            AEGIS,
            *map(str, words),
            "--state",
            str(self.state.directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ,
        )
        out, err = await process.communicate(stdin)
        assert code in (None, process.returncode), (words, process.returncode, out, err)
        return (err if code else out).decode()

    async def enrol(self, name: str, *photos: Path, category: str = "barred") -> str:
        options = [word for photo in photos for word in ("--photo", photo)]
        await self.command("watchlist", "add", name, "--category", category, *options)
        return next(str(e["id"]) for e in await self.json("watchlist", "list") if e["name"] == name)

    async def json(self, *words: object) -> Any:
        return json.loads(await self.command(*words, "--json"))

    async def alerts(self, *types: str) -> list[dict[str, Any]]:
        """Give the data of every event of the stories so far, or of those whose type ends so."""
        lines = (await self.command("alerts", "list", "--json")).splitlines()
        events = [json.loads(line) for line in lines]
        return [e["data"] for e in events if not types or e["type"].split(".")[2] in types]

    async def raised(self) -> list[tuple[str, str]]:
        """Give (person, camera) of every alert that was raised."""
        return sorted((data["person"], data["camera"]) for data in await self.alerts("raised"))

    async def services(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Give every service that answers; none while the bus is away."""
        text = await self.command("status", "--json", code=None)
        answers = json.loads(text)["services"] if text else []
        return {(answer["service"], answer["replica"]): answer for answer in answers}

    async def held(self, kind: str) -> dict[str, int]:
        """Give how many resources each replica of a kind holds."""
        services = await self.services()
        return {
            replica: int(status["metrics"].get(f'aegis_leases_held{{kind="{kind}"}}', 0))
            for (service, replica), status in services.items()
            if service == kind
        }

    async def pid(self, service: str) -> int:
        if service == "nats-server":
            return int((self.state.bus_directory / "nats.pid").read_text())
        return int((await self.services())[service, "0"]["pid"])

    def add_replica(self, service: str, replica: str = "1") -> subprocess.Popen[bytes]:
        """Start one more process of a service beside the supervised one."""
        environ = service_environment(self.state, self.state.running(), service, replica)
        if "AEGIS_SITE_KEY_FILE" in environ:
            environ = {**environ, "AEGIS_SITE_KEY_FILE": self.environ["AEGIS_SITE_KEY_FILE"]}
        process = subprocess.Popen([sys.executable, "-m", f"aegis.{service}"], env=environ)
        self.extra.append(process)
        return process

    async def stop(self) -> None:
        for process in self.extra:
            process.kill()
            process.wait()
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    folder: Path, site: str, *options: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[System]:
    """Start a system with this site file and stop it on the way out."""
    system = prepared(folder, site, environ)
    await system.start(*options)
    try:
        await system.ready()
        yield system
    finally:
        await system.stop()


def prepared(folder: Path, site: str, environ: Mapping[str, str] | None = None) -> System:
    """Give a system that was not started yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.yaml").write_text(site)
    key = folder / "site.key"
    return System(folder, {**os.environ, "AEGIS_SITE_KEY_FILE": str(key), **(environ or {})})


def file_cameras(clips: Mapping[str, Path] | Sequence[Path], *, loop: bool = False) -> str:
    """Write the site file's ``cameras`` section."""
    named = clips if isinstance(clips, Mapping) else {clip.stem: clip for clip in clips}
    lines = [f'  - {{id: {name}, url: "file:{clip}", loop: {str(loop).lower()}}}' for name, clip in named.items()]
    return "\n".join(["cameras:", *lines, ""])
