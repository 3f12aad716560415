"""An edge as it is deployed, run for real: its cameras are watched there, and nothing is while its link is down."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.bus import until
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import overlay, the, with_components
from tests.e2e.conftest import People

from aegis.cli.requests import ask
from aegis.cli.state import SINGLE_THREAD
from aegis.contracts import cloudevents, codec, subjects
from aegis.contracts.messages import AddEntry, FrameCaptured
from aegis.runtime import bus_server, edges, sealing, status, topology
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.consumers import read_all

SITE = """
site: {{id: test, name: Test, kind: venue, jurisdiction: US-PA, state: armed}}
cameras:
  - {{id: gym-door, url: "file:{clip}", loop: true, fps: 5, edge: gym}}
"""


class Link:
    """Carries what an edge and the centre say, unless it is cut: then it swallows it, as a dead router does."""

    def __init__(self, target: int) -> None:
        self.up = True
        self.port = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Link"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, away = await asyncio.open_connection("127.0.0.1", self._target)
            for source, sink in ((reader, away), (there, writer)):
                task = asyncio.create_task(self._pass(source, sink))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self.up:
                    sink.write(data)
                    await sink.drain()
        sink.close()


class Edge:
    """A centre's bus, an edge's bus, and services at either."""

    def __init__(self, centre: BusCluster, folder: Path, models: Path) -> None:
        self.centre, self._folder, self._models = centre, folder, models
        self.port = bus_server.free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start_bus(self, link: int) -> None:
        """Start the server of the rendered overlay, with this machine's paths and ports."""
        config = the(overlay("edge"), "StatefulSet", "nats")["spec"]["template"]["spec"]["volumes"]
        name = next(volume["configMap"]["name"] for volume in config if volume["name"] == "config")
        for file, text in the(overlay("edge"), "ConfigMap", name)["data"].items():
            here = text.replace('"0.0.0.0:4222"', f'"127.0.0.1:{self.port}"')
            here = here.replace('"0.0.0.0:8222"', f'"127.0.0.1:{bus_server.free_port()}"')
            for there in ("/etc/aegis/bus-tls", "/etc/aegis/centre"):
                here = here.replace(f'"{there}', f'"{self.centre.folder}')
            (self._folder / file).write_text(here.replace('"/tmp/nats.pid"', f'"{self._folder}/nats.pid"'))
        environ = {
            **self.centre.nkeys,
            "POD_NAME": "edge-0",
            "AEGIS_CENTRE": f"tls://localhost:{link}",
            "AEGIS_EDGE_SEED": (self.centre.folder / f"{edges.KEY}.nk").read_text(),
        }
        binary = bus_server.BusServer(self._folder, 0).command()[0]
        self._run([binary, "-c", str(self._folder / "nats.conf")], environ, "edge-bus")

    def start(self, service: str, *, edge: str = "") -> None:
        config = self.centre.config(service)
        environ = {
            **os.environ,
            **SINGLE_THREAD,
            "AEGIS_BUS_URL": f"tls://localhost:{self.port}" if edge else config.url,
            "AEGIS_BUS_CA": str(config.ca),
            "AEGIS_KEY_FILE": str(config.key),
            "AEGIS_REPLICA": f"{service}-{edge or 'centre'}",
            "AEGIS_EDGE": edge,
            "AEGIS_SITE_FILE": str(self._folder / "site.yaml"),
            "AEGIS_SITE_KEY_FILE": str(self._folder / "site.key"),
            "AEGIS_MODELS_DIR": str(self._models),
            "AEGIS_WHIP_PORT": "0",
        }
        self._run([sys.executable, "-m", f"aegis.{service}"], environ, f"{service}-{edge or 'centre'}")

    def _run(self, command: list[str], environ: dict[str, str], name: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def edge(tmp_path: Path, models_dir: Path, people: People) -> Iterator[Edge]:
    (tmp_path / "site.yaml").write_text(SITE.format(clip=people.clip(people.of[next(iter(people.of))][0])))
    sealing.load_or_create(tmp_path / "site.key")
    centre = BusCluster(with_components("edge"), tmp_path)
    for number in range(centre.size):
        centre.start(number)
    running = Edge(centre, tmp_path, models_dir)
    yield running
    running.close()
    centre.close()


async def test_an_edge_watches_its_own_cameras_and_pauses_without_its_link(edge: Edge, people: People) -> None:
    await edge.centre.passes("startupProbe")
    async with (
        Link(edge.centre.ports[0][7422]).open() as link,
        Bus.connect(edge.centre.config("admin"), "test-admin") as admin,
    ):
        await topology.declare(admin, replicas=edge.centre.size)
        edge.start_bus(link.port)
        for service in ("registry", "match", "embed", "detect", "ingest"):
            edge.start(service)
        for service in edges.STAGES:
            edge.start(service, edge="gym")
        seen: list[FrameCaptured] = []

        async def frame(message: Msg) -> None:
            seen.append(codec.decode(FrameCaptured, message.data))

        await admin.subscribe(subjects.frame_captured("*", "*"), frame)

        async def told(name: str, service: str, replica: str) -> float:
            answers = await status.collect(admin, wait=1.0, enough=7)
            return status.total([a for a in answers if (a["service"], a["replica"]) == (service, replica)], name)

        async def watched() -> bool:
            return {await told("aegis_leases_held", stage, f"{stage}-gym") for stage in edges.STAGES} == {1}

        await until(watched, "the edge has the camera", 40)
        for stage in edges.STAGES:
            assert await told("aegis_leases_held", stage, f"{stage}-centre") == 0
        # Whoever is enrolled in view is alerted by the centre, with the picture that the edge alone has.
        person = next(iter(people.of))
        photo = people.photo(people.of[person][0]).read_bytes()
        await ask(admin, "watchlist-add", AddEntry(name=person, category="barred", photos=(photo,)))

        async def alerted() -> bool:
            events = [cloudevents.load(m.data) async for m in read_all(admin, subjects.ALERTS, "aegis.v1.alert.>", "t")]
            pictures = await admin.client.jetstream().stream_info("KV_evidence")
            return bool(events) and events[0].data["camera"] == "gym-door" and pictures.state.messages >= 2

        await until(alerted, "an alert with its pictures", 30)
        assert not seen, "frames left the building"

        link.up = False

        async def paused() -> bool:
            log = (edge.centre.folder / "ingest-gym.log").read_text()
            return "gym-door lost" in log

        await until(paused, "the edge pauses", 20)
        link.up = True
        before = (edge.centre.folder / "ingest-gym.log").read_text().count("gym-door taken")
        await until(
            lambda: (edge.centre.folder / "ingest-gym.log").read_text().count("gym-door taken") > before,
            "the edge watches again",
            30,
        )
        captured = await told("aegis_frames_captured_total", "ingest", "ingest-gym")

        async def again() -> bool:
            return await told("aegis_frames_captured_total", "ingest", "ingest-gym") > captured

        await until(again, "frames are captured again", 20)
