"""Three nats-servers on hosts of their own, run from the very configuration that is deployed."""

import asyncio
import math
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from tests.cluster.network import Network
from tests.conftest import ROOT

from aegis.runtime import bus_server, topology
from aegis.runtime.bus import BusConfig

FILES = ROOT / "deploy" / "k8s" / "base" / "nats"
NAMES = ("nats-0", "nats-1", "nats-2")
FULL_NAME = "{}.nats-headless.aegis.svc.cluster.local"
ASK_SECONDS = 1.0
STORE = "4GB"
SILENT_NS = 3e9
"""Followers are heard of every second."""


class Servers:
    """The bus. ``secrets`` is what ``aegis cluster init`` wrote."""

    def __init__(self, network: Network, secrets: Path, folder: Path) -> None:
        self._network = network
        self._secrets = secrets
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in NAMES:
            self._write(name)

    @property
    def urls(self) -> str:
        """Every server, by the names that its certificate is for."""
        return ",".join(f"tls://{FULL_NAME.format(name)}:4222" for name in NAMES)

    def config(self, role: str, *names: str) -> BusConfig:
        """Tell how this process, outside of the hosts, reaches the servers of these names, or all."""
        return BusConfig(
            url=",".join(f"tls://{self._network.hosts[name].address}:4222" for name in names or NAMES),
            ca=self._secrets / "bus" / "ca.pem",
            key=self._secrets / "keys" / f"{role}.nk",
            inbox=topology.inbox(role),
        )

    def _write(self, name: str) -> None:
        home = self._folder / name
        (home / "tls").mkdir(parents=True)
        for ours, theirs in (("server.pem", "tls.crt"), ("server.key", "tls.key"), ("ca.pem", "ca.crt")):
            (home / "tls" / theirs).write_bytes((self._secrets / "bus" / ours).read_bytes())
        places = {"/etc/aegis/bus-tls": home / "tls", "/data": home / "data", "/tmp": home}  # noqa: S108 - a pod's own
        for file in FILES.glob("*.conf"):
            text = re.sub(f'(?<=")({"|".join(places)})', lambda found: str(places[found[1]]), file.read_text())
            (home / file.name).write_text(text)

    def start(self, name: str) -> None:
        keys = dict(line.split("=", 1) for line in (self._secrets / "nkeys.env").read_text().splitlines())
        environ = {**os.environ, **keys, "POD_NAME": name, "AEGIS_BUS_STORE": STORE}
        binary = bus_server.BusServer(self._folder, 0).command()[0]
        command = [binary, "-c", str(self._folder / name / "nats.conf")]
        self._processes[name] = self._network.run(name, command, environ, self._folder / f"{name}.log")

    def send(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def lame_duck(self, name: str) -> None:
        """End a server as a pod's preStop does, and wait until it is gone."""
        self._processes[name].send_signal(signal.SIGUSR2)
        self._processes[name].wait(60)

    async def asked(self, name: str, path: str) -> Mapping[str, Any]:
        """Ask a server's monitoring port; gives nothing where nobody answers in time."""
        return await asked(f"http://{self._network.hosts[name].address}:8222{path}")

    async def streams(self, name: str) -> dict[str, Mapping[str, Any]]:
        """Give what a server knows of who leads and who follows each stream of the site."""
        found = await self.asked(name, f"/jsz?acc={topology.SITE}&streams=true")
        details = found.get("account_details") or [{}]
        return {stream["name"]: stream.get("cluster", {}) for stream in details[0].get("stream_detail", ())}

    async def leader(self, stream: str) -> str:
        """Give the server that leads a stream, as any of them knows it."""
        for name in NAMES:
            if leader := (await self.streams(name)).get(stream, {}).get("leader"):
                return str(leader)
        return ""

    async def healthy(self) -> bool:
        """Tell whether every server has caught up, and whoever leads a stream hears of all that follow.

        The servers' own ``/healthz`` does not mind a connection between two of them that is dead and not yet noticed.
        """
        answers = await asyncio.gather(*(self.asked(name, "/healthz") for name in NAMES))
        known = await asyncio.gather(*(self.streams(name) for name in NAMES))
        led = {s: c for name, streams in zip(NAMES, known, strict=True) for s, c in streams.items() if _leads(name, c)}
        followers = [peer for cluster in led.values() for peer in cluster.get("replicas", ())]
        return (
            all(answer.get("status") == "ok" for answer in answers)
            and all(led.keys() == streams.keys() for streams in known)
            and all(peer.get("current") and peer.get("active", math.inf) < SILENT_NS for peer in followers)
        )


def _leads(name: str, cluster: Mapping[str, Any]) -> bool:
    return bool(cluster.get("leader") == name)


async def asked(url: str) -> Mapping[str, Any]:
    """Get a JSON object; nothing where there is none in time."""
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            found: Mapping[str, Any] = await answer.json(content_type=None)
            return found
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return {}
