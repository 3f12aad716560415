"""What a camera costs in each service, and whether a straight line through two scenes foretells a third.

The figures are written where ``aegis plan`` reads them.

    python benchmarks/unit_costs.py [--write]
"""

import argparse
import asyncio
import datetime as dt
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import lab
import run
from pipeline_bench import LOOKS, SCENES, SITE, portraits
from scale_bench import WARM_UP, Counted, family
from tests.e2e.system import System, running
from tests.peers.mail_server import MailServer

from aegis.cli import plan, sizing
from aegis.cli.requests import ask
from aegis.cli.state import SERVICES
from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.messages import AddCamera, AddEntry, FrameCaptured, Remove
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig, Msg
from aegis.runtime.consumers import read_all

SECONDS, CAMERAS = 120, 4
WINDOW = 110.0
"""Nearly the whole of a clip, so that a scene is occupied as it was drawn."""
IDLE = 20.0
OFF = 0.25
"""How far the line may be off for a scene that it was not drawn through."""
NOTIFY = """
notify:
  email: {{smtp: "smtp+insecure://127.0.0.1:{port}", from: aegis@bench.example, to: [guard@bench.example]}}
"""
PROCESSES = (*SERVICES, "nats-server")
MANY = 16
"""Cameras with which memory is compared."""


@dataclass(slots=True)
class Sizes:
    """Of the frames on the bus."""

    frames: int = 0
    total: int = 0

    async def take(self, message: Msg) -> None:
        self.frames += 1
        self.total += len(codec.decode(FrameCaptured, message.data).jpeg)


def name_of(process: int) -> str:
    words = Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")
    return words[-1].removeprefix("aegis.") if words[-1].startswith("aegis.") else Path(words[0]).name


def resident(parent: int, kind: str = "Pss") -> dict[str, float]:
    """Give the MB that each process holds; of ``Pss`` what several share counts once, of ``Rss`` in each."""
    return {name_of(process): memory_of(process, kind) for process in family(parent)}


def memory_of(process: int, kind: str) -> float:
    lines = (line.split() for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] == f"{kind}:") / 1024


async def play(system: System, bus: Bus, clips: list[Path], seconds: float) -> tuple[Counted, dict[str, float]]:
    """Watch these clips for a while; give what was used and counted, and what each process holds at its end."""
    names = [f"cam-{number}" for number in range(len(clips))]
    for name, clip in zip(names, clips, strict=True):
        await ask(bus, "camera-add", AddCamera(camera=name, url=f"file:{clip}", fps=LOOKS, loop=True))
    await asyncio.sleep(WARM_UP)
    counted = await Counted.over(seconds, system, bus)
    held = resident(system.pid_of_up)
    for name in names:
        await ask(bus, "camera-remove", Remove(id=name))
    await asyncio.sleep(2)
    return counted, held


def used(counted: Counted) -> dict[str, float]:
    """Give the seconds of CPU a second of each process."""
    spent = {name.removeprefix("aegis."): seconds / counted.seconds for name, seconds in counted.cpu.items()}
    return {name: round(spent[name], 5) for name in PROCESSES}


def scene(occupied: float, counted: Counted, idle: dict[str, float]) -> sizing.Scene:
    """Give what a camera added to an idle system."""
    cpu = {name: round(max(0.0, spent - idle[name]) / CAMERAS, 5) for name, spent in used(counted).items()}
    frames = counted.total("aegis_frames_processed_total") / counted.seconds / CAMERAS
    return sizing.Scene(occupied=occupied, cpu=cpu, frames=round(frames, 2))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="have `aegis plan` reckon with these figures from now on")
    arguments = parser.parse_args()
    clips = {}
    for name in ("hallway", "busy"):
        drawn = lab.clips(name, [*SCENES[name][0], "--seconds", str(SECONDS), "--cameras", str(CAMERAS)])
        clips[name] = sorted(drawn.glob("cam-*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        people = portraits(Path(folder))
        mail = MailServer()
        await mail.start()
        site = SITE + NOTIFY.format(port=mail.port)
        async with running(Path(folder) / "system", site, environ=lab.APART) as system:
            files = bus_server.BusServer(system.state.bus_directory, system.state.running().port)
            config = BusConfig(url=files.url, ca=files.ca, key=files.key("admin"), inbox=topology.inbox("admin"))
            async with Bus.connect(config, "bench") as bus:
                for name, photo in people.items():
                    await ask(
                        bus, "watchlist-add", AddEntry(name=name, category="barred", photos=(photo.read_bytes(),))
                    )
                idle = used(await Counted.over(IDLE, system, bus))
                nothing, alone = resident(system.pid_of_up), resident(system.pid_of_up, "Rss")
                quiet, _ = await play(system, bus, clips["hallway"], WINDOW)
                busy, _ = await play(system, bus, clips["busy"], WINDOW)
                mixed, _ = await play(system, bus, clips["hallway"][:2] + clips["busy"][:2], WINDOW)
                _, few = await play(system, bus, clips["hallway"], 5)
                _, many = await play(system, bus, clips["hallway"] * (MANY // CAMERAS), 5)
                alert_bytes = await stored(bus)
                sizes = Sizes()
                listening = await bus.subscribe("aegis.v1.frame.captured.>", sizes.take)
                await play(system, bus, clips["busy"], 5)
                await listening.unsubscribe()
    await mail.stop()
    each = {name: round(max(0.0, many[name] - few[name]) / (MANY - CAMERAS), 2) for name in PROCESSES}
    costs = sizing.UnitCosts(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        machine="{cpu}, onnxruntime {onnxruntime}".format(**run.machine()),
        inference=plan.inference(),
        idle=idle,
        quiet=scene(0.1, quiet, idle),
        busy=scene(0.95, busy, idle),
        memory={name: (round(max(nothing[name], few[name] - CAMERAS * each[name])), each[name]) for name in each},
        unshared={name: round(alone[name] - nothing[name]) for name in each},
        frame_bytes=round(sizes.total / sizes.frames),
        alert_bytes=round(alert_bytes),
    )
    demand = sizing.Demand(
        cameras=CAMERAS, occupied=0.525, fps=LOOKS, megabits=2, alerts_a_day=0, speed=1, cluster=False
    )
    measured = used(mixed)
    told = {name: sizing.cpu(name, costs, demand) for name in each}
    if arguments.write:
        text = json.dumps(asdict(costs), indent=2)
        plan.MEASURED.write_text(text + "\n", encoding="utf-8")
    facts = {name: f"{1000 * told[name]:.1f} ms a second told, {1000 * measured[name]:.1f} measured" for name in told}
    off = abs(sum(told.values()) / sum(measured.values()) - 1)
    rows: list[lab.Row] = [("CPU of a third scene, off by", off, "", OFF, False)]
    lab.table("what a camera costs", rows, **facts)


async def stored(bus: Bus) -> float:
    """Give the bytes that an alert takes on disk: its sightings, its pictures and what became of telling people."""
    names = ("ALERTS", "KV_evidence", "DELIVERIES", "CAP", "ONVIF")
    size = sum([(await bus.client.jetstream().stream_info(name)).state.bytes for name in names])
    told = read_all(bus, subjects.ALERTS, subjects.alert("*", "*", "*"), "bench")
    return size / sum([cloudevents.load(message.data).type == alerts.RAISED async for message in told])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
