"""coturn as the component ``whip`` runs it: its own start command and configuration, in a folder of the test."""

import asyncio
import base64
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aioice.ice import get_host_addresses
from tests.bus import until
from tests.conftest import ROOT, require

from aegis.runtime.bus_server import free_port

COTURN = Path("/usr/bin/turnserver")
COMPONENT = ROOT / "deploy" / "k8s" / "components" / "whip"
SECRET = base64.b64encode(b"only for the tests").decode()


@dataclass(frozen=True, slots=True)
class TurnServer:
    """One that runs, and relays to its own ``host`` alone."""

    host: str
    port: int
    directory: Path
    pid: int

    @property
    def secret_file(self) -> Path:
        return self.directory / "secret"

    @property
    def log(self) -> Path:
        return self.directory / "coturn.log"

    @property
    def url(self) -> str:
        return f"turn:{self.host}:{self.port}?transport=udp"


def container() -> dict[str, Any]:
    """Give the container of the component's Deployment."""
    manifests = yaml.safe_load_all((COMPONENT / "coturn.yaml").read_text())
    deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@contextlib.asynccontextmanager
async def turn_server(directory: Path) -> AsyncIterator[TurnServer]:
    """Run coturn at an address of this machine that is not loopback, where it relays to that address alone."""
    require(COTURN, "coturn")
    host = get_host_addresses(use_ipv4=True, use_ipv6=False)[0]
    port = free_port()
    paths = {"/etc/aegis/turn": directory, "/etc/coturn-given": directory / "given", "/run/coturn": directory / "run"}
    for path in paths.values():
        path.mkdir(exist_ok=True)

    def moved(text: str) -> str:
        for old, new in paths.items():
            text = text.replace(old, str(new))
        return text

    config = moved((COMPONENT / "turnserver.conf").read_text())
    config = config.replace("listening-port=3478", f"listening-ip={host}\nlistening-port={port}")
    (directory / "given" / "turnserver.conf").write_text(config)
    (directory / "secret").write_text(f"{SECRET}\n")
    environ = {"PATH": os.environ["PATH"], "TURN_PEERS": f"{host}-{host}"}
    with (directory / "coturn.log").open("wb") as log:
        command = [moved(part) for part in container()["command"]]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=directory)
    server = TurnServer(host, port, directory, process.pid)
    try:
        await until(lambda: _listens(server), f"coturn listens; {server.log}")
        yield server
    finally:
        process.kill()
        process.wait()


async def _listens(server: TurnServer) -> bool:
    try:
        _, writer = await asyncio.open_connection(server.host, server.port)
    except OSError:
        return False
    writer.close()
    return True
