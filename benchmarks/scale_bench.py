"""What a camera costs where there are many, and what replicas of detect gain under load, on a whole running system.

First 1, 4, 16 and 64 hallway cameras, five looks a second. They play the same four clips from different places on, so
that visits do not coincide; one camera alone has one visit in the time that is measured, as it would on average.
Frames go on the bus, as they do once there are several machines.

Then eight cameras that offer far more frames than can be searched, to 1, 2 and 4 replicas of detect.

    python benchmarks/scale_bench.py [--cameras 1 4 16 64] [--replicas 1 2 4]
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import lab
import overload_bench
from pipeline_bench import CAMERAS, LOOKS, SCENES, SITE, portraits
from tests.bus import until
from tests.e2e.system import System, running

from aegis.cli.requests import ask
from aegis.cli.state import SERVICES
from aegis.contracts.messages import AddCamera, AddEntry, Remove
from aegis.runtime import bus_server, status, topology
from aegis.runtime.bus import Bus, BusConfig, Msg

CLIP_SECONDS = 120
SPACING = 0.25
"""Seconds from one camera's start to the next one's: until a camera's stillness is learnt, all of it is decoded."""
WARM_UP, WINDOW = 7.0, 25.0
MARGIN = 1.5
"""A camera's time may be so many seconds off: it begins with a keyframe, and once ingest has its lease."""
USUAL = (0.08, 0.12)
"""Share of the time in which somebody is in view."""
FULL_CORES, FULL_LATE = 0.9, 0.01
"""The machine is full when the system uses this share of its cores, or this share of its frames came too late."""
FPS = 50.0
"""Of each of the cameras that are too many: more than two replicas can search on two cores."""
LOAD_WARM_UP, LOAD_WINDOW = 3.0, 12.0
GAINS = {2: (1.8, 1.3), 4: (4.5, 2.2)}
"""Of so many replicas: the free cores without which there is no gain, and how many times one's frames then."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the system used and counted in a while."""

    seconds: float
    cpu: dict[str, float]
    """Seconds, by process."""
    free: float
    """Cores that others left to the system and this program."""
    answers: list[dict[str, Any]]
    """As of ``aegis status``, with the differences of all metrics."""

    @classmethod
    async def over(cls, seconds: float, system: System, bus: Bus, services: int = len(SERVICES)) -> "Counted":
        samples = []
        for pause in (seconds, 0.0):
            answers = await status.collect(bus, wait=5.0, enough=services)
            metrics = {(answer["service"], answer["replica"]): answer["metrics"] for answer in answers}
            ours = sum(lab.cpu_of(os.getpid()).values())
            samples.append((time.monotonic(), lab.cpu_of(system.pid_of_up), used(), ours, metrics))
            await asyncio.sleep(pause)
        (began, cpu, all_cpu, our_cpu, earlier), (ended, later_cpu, later_all, later_our, later) = samples
        others = (later_all - all_cpu) - (later_our - our_cpu)
        return cls(
            seconds=ended - began,
            cpu={name: spent - cpu.get(name, 0.0) for name, spent in later_cpu.items()},
            free=(os.cpu_count() or 1) - max(0.0, others) / (ended - began),
            answers=[
                {"service": who[0], "metrics": {n: v - earlier[who].get(n, 0.0) for n, v in later[who].items()}}
                for who in later
            ],
        )

    def total(self, name: str, **labels: str) -> float:
        return status.total(self.answers, name, **labels)

    @property
    def age(self) -> float:
        """Of a searched frame, 99 %, in milliseconds."""
        found = status.quantiles(self.answers, "aegis_frame_age_seconds")
        return 1000 * found["p99"] if found else float("inf")


def used() -> float:
    """Give the seconds of CPU that everything on the machine has used so far."""
    times = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(times) - times[3] - times[4]) / os.sysconf("SC_CLK_TCK")


def family(parent: int) -> Iterator[int]:
    """Give a process and all that came of it."""
    yield parent
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from family(int(child))


def memory(parent: int) -> float:
    """Give what a process and all that came of it hold, in MB of 2**20 bytes; what several share counts once."""
    rollups = (Path(f"/proc/{process}/smaps_rollup").read_text() for process in family(parent))
    lines = (line.split() for rollup in rollups for line in rollup.splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024


def usual_place(visits: list[dict[str, Any]]) -> int:
    """Give the first second of a clip from which on the window holds a usual share of whole visits."""
    for start in range(int(CLIP_SECONDS - WINDOW)):
        end = start + WINDOW
        seen = [v for v in visits if v["start"] < end + MARGIN and v["end"] > start - MARGIN]
        whole = all(v["start"] >= start + MARGIN and v["end"] <= end - MARGIN for v in seen)
        if whole and USUAL[0] <= sum(v["end"] - v["start"] for v in seen) / WINDOW <= USUAL[1]:
            return start
    sys.exit("no part of the clip has a usual share of visits")


def rotate(clip: Path, start: float, to: Path) -> None:
    """Copy a clip so that it begins with the keyframe at ``start`` or the next one, and ends with what was before."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        tick, length = float(stream.time_base or 0), stream.duration or 0
        packets = [packet for packet in source.demux(stream) if packet.size]
        first = next((n for n, p in enumerate(packets) if p.is_keyframe and (p.pts or 0) * tick >= start), 0)
        begin = packets[first].pts or 0
        for number, packet in enumerate(packets[first:] + packets[:first]):
            shift = (length if number >= len(packets) - first else 0) - begin
            packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or 0) + shift
            packet.stream = copy
            target.mux(packet)


def draw(count: int, drawn: Path, folder: Path) -> list[Path]:
    """Make the clips of so many cameras, rotated for when each of them starts."""
    truth = json.loads((drawn / "truth.json").read_text())
    clips = sorted(drawn.glob("cam-*.mp4"))
    made = []
    for camera in range(count):
        clip, turn, turns = clips[camera % CAMERAS], camera // CAMERAS, -(-count // CAMERAS)
        lead = (count - camera) * SPACING + WARM_UP
        start = usual_place(truth[clip.stem]) + turn * CLIP_SECONDS / turns - lead
        made.append(folder / f"hall-{count}-{camera}.mp4")
        rotate(clip, start % CLIP_SECONDS, made[-1])
    return made


@dataclass(frozen=True, slots=True)
class Usage:
    """What so many cameras used."""

    cameras: int
    megabytes: float
    counted: Counted

    @property
    def cores(self) -> float:
        return sum(self.counted.cpu.values()) / self.counted.seconds

    @property
    def late(self) -> float:
        """Share of the frames that were dropped since a newer one came."""
        captured = self.counted.total("aegis_frames_captured_total")
        return self.counted.total("aegis_frames_dropped_total", reason="newer") / max(1.0, captured)

    @property
    def full(self) -> bool:
        return self.cores > FULL_CORES * (os.cpu_count() or 1) or self.late > FULL_LATE

    def __str__(self) -> str:
        searched = self.counted.total("aegis_frames_processed_total") / self.counted.seconds
        return (
            f"{1000 * self.cores / self.cameras:.1f} ms of CPU a second and camera, {self.cores:.2f} cores, "
            f"of {self.counted.free:.2f} free ones{' (full)' if self.full else ''}; {self.megabytes:.0f} MB; "
            f"{searched:.1f} frames searched a second, {100 * self.late:.1f} % dropped, "
            f"age 99 % {self.counted.age:.0f} ms"
        )


async def hallway(system: System, bus: Bus, count: int, drawn: Path, folder: Path) -> Usage:
    """Measure so many cameras, and remove them."""
    clips = await asyncio.to_thread(draw, count, drawn, folder)
    started = time.monotonic()
    for number, clip in enumerate(clips, 1):
        await ask(bus, "camera-add", AddCamera(camera=clip.stem, url=f"file:{clip}", fps=LOOKS, loop=True))
        await asyncio.sleep(started + number * SPACING - time.monotonic())
    await asyncio.sleep(WARM_UP)
    counted = await Counted.over(WINDOW, system, bus)
    usage = Usage(count, memory(system.pid_of_up), counted)
    for clip in clips:
        await ask(bus, "camera-remove", Remove(id=clip.stem))
        clip.unlink()
    print(f"{count} cameras: {usage}")
    spent = (f"{name} {1000 * seconds / counted.seconds:.0f}" for name, seconds in sorted(counted.cpu.items()))
    print(f"  ms of CPU a second: {', '.join(spent)}", flush=True)
    return usage


@dataclass(slots=True)
class Order:
    """Whether what detect says of each camera follows the order of its frames."""

    last: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    broken: int = 0

    async def take(self, message: Msg) -> None:
        # Its id, by which the bus knows a repeat: camera, detect's lease, ingest's lease, frame, part.
        camera, _, _, frame, _ = (message.headers or {})["Nats-Msg-Id"].rsplit(".", 4)
        self.seen += 1
        self.broken += int(frame) < self.last.get(camera, 0)
        self.last[camera] = int(frame)


@dataclass(frozen=True, slots=True)
class Load:
    """What so many replicas of detect made of more frames than they can search."""

    replicas: int
    held: list[int]
    """Partitions of each replica."""
    counted: Counted

    @property
    def searched(self) -> float:
        """Frames a second."""
        return self.counted.total("aegis_frames_processed_total") / self.counted.seconds

    @property
    def fairness(self) -> float:
        """Frames of the camera that was searched least, of the one searched most, in percent."""
        cameras = range(overload_bench.CAMERAS)
        served = [self.counted.total("aegis_frames_processed_total", camera=f"cam-{camera}") for camera in cameras]
        return 100 * min(served) / max(1.0, *served)

    def __str__(self) -> str:
        detect = [answer for answer in self.counted.answers if answer["service"] == "detect"]
        each = 1000 * status.total(detect, "process_cpu_seconds_total") / self.counted.seconds / self.searched
        return (
            f"{self.searched:.1f} of {overload_bench.CAMERAS * FPS:.0f} frames searched a second, "
            f"{each:.1f} ms of CPU each; slowest camera {self.fairness:.0f} % of the fastest, "
            f"age 99 % {self.counted.age:.0f} ms, {self.counted.free:.2f} cores free"
        )


async def overload(system: System, bus: Bus, counts: list[int], order: Order) -> list[Load]:
    """Offer frames to more and more replicas."""
    frames = await asyncio.to_thread(overload_bench.pictures, lab.data() / "clips" / "again.mkv")
    for camera in range(overload_bench.CAMERAS):
        quiet = AddCamera(camera=f"cam-{camera}", url="whip:", token="-")  # noqa: S106 - nobody calls
        added = await ask(bus, "camera-add", quiet)
        assert added["partition"] == camera  # noqa: S101 - offer() relies on it
    await bus.subscribe("aegis.v1.face.detected.>", order.take)
    loads: list[Load] = []
    async with asyncio.TaskGroup() as group:
        offers = (overload_bench.offer(bus, camera, frames, FPS) for camera in range(overload_bench.CAMERAS))
        offering = [group.create_task(offer) for offer in offers]
        for before, count in itertools.pairwise([1, *counts]):
            for replica in range(before, count):
                system.add_replica("detect", str(replica))
            loads.append(await under_load(system, bus, count))
        for task in offering:
            task.cancel()
    return loads


async def under_load(system: System, bus: Bus, replicas: int) -> Load:
    services = len(SERVICES) + replicas - 1

    async def held() -> list[int]:
        answers = await status.collect(bus, wait=2.0, enough=services)
        return [int(status.total([a], "aegis_leases_held", kind="detect")) for a in answers if a["service"] == "detect"]

    async def spread() -> bool:
        counts = await held()
        return len(counts) == replicas and sum(counts) == overload_bench.CAMERAS and 0 not in counts

    await until(spread, f"{replicas} replicas of detect hold every partition", 30)
    await asyncio.sleep(LOAD_WARM_UP)
    counted = await Counted.over(LOAD_WINDOW, system, bus, services)
    load = Load(replicas, await held(), counted)
    print(f"{replicas} replicas, which hold {load.held}: {load}", flush=True)
    return load


async def measure(arguments: argparse.Namespace) -> tuple[list[Usage], list[Load], Order]:
    drawn = lab.clips("hallway", [*SCENES["hallway"][0], "--seconds", f"{CLIP_SECONDS}", "--cameras", f"{CAMERAS}"])
    order = Order()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = await asyncio.to_thread(portraits, folder)
        async with running(folder / "system", SITE, environ=lab.APART) as system:
            server = bus_server.BusServer(system.state.bus_directory, system.state.running().port)
            config = BusConfig(url=server.url, ca=server.ca, key=server.key("admin"), inbox=topology.inbox("admin"))
            async with Bus.connect(config, "bench") as bus:
                for person, photo in people.items():
                    entry = AddEntry(name=person, category="barred", photos=(photo.read_bytes(),))
                    await ask(bus, "watchlist-add", entry)
                usages = [await hallway(system, bus, count, drawn, folder) for count in arguments.cameras]
                loads = await overload(system, bus, arguments.replicas, order)
    return usages, loads, order


def rows_of_cameras(usages: list[Usage]) -> list[lab.Row]:
    """Compare the most cameras that the machine can take with the fewest."""
    fewest, *others = usages
    most = next((usage for usage in reversed(others) if not usage.full), usages[:2][-1])
    what = f"CPU a camera with {most.cameras}, of that with {fewest.cameras}"
    return [(what, most.cores / most.cameras / (fewest.cores / fewest.cameras), "x", 1.1, False)]


def rows_of_replicas(loads: list[Load], order: Order) -> list[lab.Row]:
    rows: list[lab.Row] = []
    free = min(load.counted.free for load in loads)
    for load in loads[1:]:
        name = f"{load.replicas} replicas"
        needed, least = GAINS.get(load.replicas, (float("inf"), 0.0))
        if free >= needed:
            rows += [
                (f"frames searched by {name}, of one's", load.searched / loads[0].searched, "x", least, True),
                (f"slowest camera of the fastest, {name}", load.fairness, "%", 70, True),
                (f"age of a searched frame, 99 %, {name}", load.counted.age, "ms", 1000 / FPS + 150, False),
            ]
        rows.append((f"partitions more than another's, {name}", max(load.held) - min(load.held), "", 1, False))
    return [*rows, ("frames out of order", order.broken, "", 0, False), ("frames with looks", order.seen, "", 50, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    usages, loads, order = asyncio.run(measure(parser.parse_args()))
    *fewer, most = usages
    more = {
        f"each from {few.cameras} to {most.cameras} cameras": (
            f"{1000 * (most.cores - few.cores) / (most.cameras - few.cameras):.1f} ms of CPU a second, "
            f"{(most.megabytes - few.megabytes) / (most.cameras - few.cameras):.1f} MB"
        )
        for few in fewer
    }
    facts = {f"{u.cameras} cameras": str(u) for u in usages} | more | {f"{x.replicas} replicas": str(x) for x in loads}
    lab.table("scale", rows_of_cameras(usages) + rows_of_replicas(loads, order), **facts)


if __name__ == "__main__":
    main()
