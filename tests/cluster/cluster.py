"""A whole system on a cluster of one machine: three nats-servers, replicas of every service, cameras, a guard."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests.bus import until
from tests.cluster.network import Network
from tests.cluster.servers import ASK_SECONDS, FULL_NAME, NAMES, Servers
from tests.peers.live_cameras import Scene, write_plan
from tests.peers.mail_server import MailServer
from tests.peers.webhook_receiver import WebhookReceiver

from aegis.cli.requests import ask
from aegis.cli.state import HARMLESS, HOLDS_SITE_KEY, SINGLE_THREAD, models_dir
from aegis.contracts.messages import AddEntry
from aegis.detect.finder import Finder
from aegis.runtime import status
from aegis.runtime.bus import Bus
from aegis.runtime.faces import FRAME_WIDTH
from aegis.vision.pictures import Coloured, read_picture

SERVICES = ("registry", "detect", "embed", "match", "notify", "ingest")
SECRET = "whsec_" + "YWVnaXMgaW4gYSBjbHVzdGVyIG9mIHRlc3Rz"
GUARD = "guard@cluster.example"
AEGIS = str(Path(sys.executable).with_name("aegis"))
LIVE = Path(__file__).parent.parent / "peers" / "live_cameras.py"
STREAM_PORT = 8554
START_SECONDS = 90.0
FILM = "film"
"""The host of all cameras."""
SPARE = 4
"""Hosts for replicas of each service: more than two run only while one is replaced or it is scaled."""


@dataclass
class Replica:
    """One process of a service, on a host of its own."""

    service: str
    name: str
    process: "subprocess.Popen[bytes]"


@dataclass
class Cluster:
    """Make one with :func:`running`."""

    folder: Path
    network: Network
    scenes: dict[str, Scene]
    mail: MailServer
    hook: WebhookReceiver
    servers: Servers = field(init=False)
    replicas: dict[str, Replica] = field(default_factory=dict)

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def of(self, service: str) -> list[str]:
        """Give the names of a service's replicas."""
        return [replica.name for replica in self.replicas.values() if replica.service == service]

    def start(self, service: str, name: str) -> None:
        """Start a replica on the host of its name."""
        environ = {
            **{key: value for key, value in os.environ.items() if key in HARMLESS},
            **SINGLE_THREAD,
            "AEGIS_BUS_URL": self.servers.urls,
            "AEGIS_BUS_CA": str(self.secrets / "bus" / "ca.pem"),
            "AEGIS_KEY_FILE": str(self.secrets / "keys" / f"{service}.nk"),
            "AEGIS_REPLICA": name,
            "AEGIS_MODELS_DIR": str(models_dir()),
            "AEGIS_HTTP_HOST": self.network.hosts[name].address,
            "AEGIS_HTTP_PORT": "8080",
            "AEGIS_SITE_FILE": str(self.folder / "site.yaml"),
            "HOOK_SECRET": SECRET,
        }
        if service in HOLDS_SITE_KEY:
            environ["AEGIS_SITE_KEY_FILE"] = str(self.secrets / "site.key")
        command = [sys.executable, "-m", f"aegis.{service}"]
        process = self.network.run(name, command, environ, self.folder / f"{name}.log")
        self.replicas[name] = Replica(service, name, process)

    def start_spare(self, service: str) -> str:
        """Start one more replica, under a name that none has now."""
        name = next(f"{service}-{n}" for n in range(SPARE) if f"{service}-{n}" not in self.replicas)
        self.start(service, name)
        return name

    def kill(self, name: str) -> None:
        if name in NAMES:
            self.servers.kill(name)
        else:
            self.replicas[name].process.kill()
            self.replicas[name].process.wait()

    def restart(self, name: str) -> None:
        if name in NAMES:
            self.servers.start(name)
        else:
            self.start(self.replicas[name].service, name)

    def send(self, name: str, number: signal.Signals) -> None:
        if name in NAMES:
            self.servers.send(name, number)
        else:
            self.replicas[name].process.send_signal(number)

    async def leave(self, name: str) -> int:
        """End a replica as a pod is ended; gives its exit code."""
        process = self.replicas.pop(name).process
        process.terminate()
        return await asyncio.to_thread(process.wait, 30)

    async def ready(self, names: Iterable[str]) -> bool:
        """Tell whether replicas say so at the address that a probe asks."""
        return all(await asyncio.gather(*(self._ready(name) for name in names)))

    async def _ready(self, name: str) -> bool:
        url = f"http://{self.network.hosts[name].address}:8080/readyz"
        try:
            timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def all_ready(self) -> None:
        await until(lambda: self.ready(self.replicas), f"every replica is ready: see {self.folder}", START_SECONDS)

    async def answers(self, bus: Bus) -> dict[str, dict[str, Any]]:
        """Give what every replica says of itself on the bus."""
        found = await status.collect(bus, wait=1.0, enough=len(self.replicas))
        return {answer["replica"]: answer for answer in found}

    def site(self) -> str:
        film = self.network.hosts[FILM].address
        guard = {"email": GUARD, "webhook": self.hook.url("/hook"), "secret_env": "HOOK_SECRET"}
        document = {
            "site": {"id": "cluster", "name": "A cluster", "kind": "venue", "jurisdiction": "US-PA", "state": "armed"},
            "cameras": [
                {"id": camera, "url": f"rtsp://{film}:{STREAM_PORT}/{camera}", "fps": 1} for camera in self.scenes
            ],
            "categories": {"barred": {"severity": "high", "threshold": 0.6}},
            "notify": {
                "email": {"smtp": f"smtp+insecure://{self.mail.host}:{self.mail.port}", "from": "a@cluster.example"},
                "people": {"guard": guard},
            },
        }
        return yaml.safe_dump(document)


@contextlib.asynccontextmanager
async def running(folder: Path, scenes: dict[str, Scene], replicas: int = 2) -> AsyncIterator[Cluster]:
    """Run it all, with everybody enrolled who visits a camera: on the list they have the name of that camera."""
    network = Network()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(network.up())
        for name in (*NAMES, FILM, *(f"{service}-{n}" for service in SERVICES for n in range(SPARE))):
            network.add(name)
        network.name_hosts({FULL_NAME.format(name): network.hosts[name].address for name in NAMES})
        mail, hook = MailServer(host=network.gateway), WebhookReceiver(SECRET, host=network.gateway)
        for peer in (mail, hook):
            await peer.start()
            stack.push_async_callback(peer.stop)
        cluster = Cluster(folder, network, scenes, mail, hook)
        await _prepare(cluster)
        for name in NAMES:
            cluster.servers.start(name)
        write_plan(folder / "plan.json", scenes)
        film = [sys.executable, str(LIVE), str(folder / "plan.json"), "0.0.0.0", str(STREAM_PORT)]
        network.run(FILM, film, os.environ, folder / "film.log")
        await _declare(cluster)
        for service in SERVICES:
            for number in range(replicas):
                cluster.start(service, f"{service}-{number}")
        await cluster.all_ready()
        await _enrol(cluster)
        yield cluster


async def _prepare(cluster: Cluster) -> None:
    (cluster.folder / "site.yaml").write_text(cluster.site())
    hosts = [word for name in NAMES for word in ("--host", cluster.network.hosts[name].address)]
    config = ["--config", str(cluster.folder / "site.yaml")]
    await _aegis("cluster", "init", str(cluster.secrets), *config, *hosts, environ={"HOOK_SECRET": SECRET})
    cluster.servers = Servers(cluster.network, cluster.secrets, cluster.folder)


async def _declare(cluster: Cluster) -> None:
    config = cluster.servers.config("admin")
    environ = {"AEGIS_BUS_URL": config.url, "AEGIS_BUS_CA": str(config.ca), "AEGIS_KEY_FILE": str(config.key)}
    await _aegis("cluster", "declare", "--replicas", "3", environ=environ)


async def _aegis(*words: str, environ: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        AEGIS, *words, env={**os.environ, **environ}, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0, words


async def _enrol(cluster: Cluster) -> None:
    async with Bus.connect(cluster.servers.config("operator"), "test-operator") as bus:
        for camera, scene in cluster.scenes.items():
            photo = Path(scene.guest).read_bytes()
            await ask(bus, "watchlist-add", AddEntry(name=camera, category="barred", photos=(photo,)))


def people(test_data: Path, count: int) -> list[Path]:
    """Give a photo each of so many people, on which they are alone."""
    finder = Finder(models_dir(), "cpu", FRAME_WIDTH)
    found: list[Path] = []
    for folder in sorted((test_data / "lfw").iterdir()):
        if len(found) == count:
            break
        photo = min(folder.iterdir())
        image = read_picture(photo.read_bytes())
        if image is not None and len(finder.find(Coloured(image))) == 1:
            found.append(photo)
    return found


def scenes(photos: Sequence[Path], period: float, visit: float) -> dict[str, Scene]:
    """Give a camera for each two people, of whom one is always there and one visits; visits are spread evenly."""
    pairs = list(zip(photos[::2], photos[1::2], strict=True))
    now = time.time()
    return {
        f"cam-{number:02}": Scene(str(resident), str(guest), now + number * period / len(pairs), period, visit)
        for number, (resident, guest) in enumerate(pairs)
    }
