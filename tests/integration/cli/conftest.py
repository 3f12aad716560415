"""A server with all streams, a site key, and commands as a person gives them to that server's system."""

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.bus import Server

from aegis.cli.main import _perform, parser
from aegis.runtime import bus_server, sealing, topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.bus_server import BusServer


async def aegis(*words: object) -> None:
    """Give a command, in this process."""
    await _perform(parser().parse_args([str(word) for word in words]))


@pytest.fixture(autouse=True)
def site_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "site.key"
    sealing.load_or_create(path)
    monkeypatch.setenv("AEGIS_SITE_KEY_FILE", str(path))
    monkeypatch.delenv("AEGIS_BUS_URL", raising=False)
    return path


@contextlib.contextmanager
def served(directory: Path) -> Iterator[Server]:
    """Run the bus of a state directory."""
    directory.mkdir(exist_ok=True)
    server = Server(directory)
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.send(signal.SIGCONT)
        server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with served(tmp_path / "state") as running:
        yield running


@pytest.fixture
async def bus(server: Server) -> AsyncIterator[Bus]:
    async with server.connect() as connected:
        await topology.declare(connected)
        yield connected


@contextlib.contextmanager
def reached(files: BusServer, role: str = "admin") -> Iterator[None]:
    """Have commands find a bus by its address, as on a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEGIS_BUS_URL", files.url)
        patch.setenv("AEGIS_BUS_CA", str(files.ca))
        patch.setenv("AEGIS_KEY_FILE", str(files.key(role)))
        yield


class Cluster:
    """Three servers that share keys and certificates."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.files = [bus_server.prepare(directory / "0")]
        shared = ("ca.pem", "server.pem", "server.key", "keys")
        for number in (1, 2):
            folder = directory / str(number)
            folder.mkdir()
            for name in shared:
                source = directory / "0" / name
                (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
            self.files.append(bus_server.prepare(folder))
        ports = [bus_server.free_port() for _ in self.files]
        routes = json.dumps([f"nats://127.0.0.1:{port}" for port in ports])
        for number, (files, port) in enumerate(zip(self.files, ports, strict=True)):
            config = files.config.read_text().replace("server_name: aegis", f"server_name: nats-{number}")
            files.config.write_text(f'{config}cluster {{ name: c, listen: "127.0.0.1:{port}", routes: {routes} }}\n')
        self.processes: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator["Cluster"]:
        self.processes = [bus_server.run(files, files.directory / "log") for files in self.files]
        try:
            yield self
        finally:
            for process in self.processes:
                process.kill()
                process.wait()

    @contextlib.asynccontextmanager
    async def connect(self, number: int = 0) -> AsyncIterator[Bus]:
        files = self.files[number]
        config = BusConfig(url=files.url, ca=files.ca, key=files.key("admin"), inbox=topology.inbox("admin"))
        async with Bus.connect(config, "test") as bus:
            yield bus
