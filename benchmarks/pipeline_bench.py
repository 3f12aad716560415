"""Cameras that one core can serve, against the script that a user would write instead.

Both see the same 720p clips of four cameras, five looks a second; Aegis at the pace of real time with all its processes
and the bus counted, the script as fast as it can. Every visit that the script finds must be found.

They run side by side, the script over and over and with what Aegis leaves: a second of CPU is worth more or less by the
minute on a machine that is shared with others, and a third less where it is mostly idle and its clock goes down.

    python benchmarks/pipeline_bench.py [--scene busy --scene hallway --scene constant-rate] [--seconds 120]
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import lab
from tests.bus import until
from tests.e2e.system import running

from aegis.cli.requests import ask
from aegis.cli.state import models_dir
from aegis.contracts import codec
from aegis.contracts.messages import AddEntry, Category, EntryRecord, FacesEmbedded, Template
from aegis.match.core import TrackEvidence, Watchlist, find
from aegis.registry.enrolment import Enroller
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig, Msg

CAMERAS, LOOKS = 4, 5.0
THRESHOLD = 0.425
"""The cosine that is the script's own."""
SITE = f"site: {{id: bench, name: Benchmark, kind: demo}}\ncategories: {{barred: {{threshold: {THRESHOLD}}}}}\n"
SCENES: dict[str, tuple[list[str], float]] = {
    "busy": (["--occupied", "0.95"], 2.0),
    "hallway": (["--occupied", "0.1"], 5.0),
    "constant-rate": (["--occupied", "0.1", "--rate", "cbr"], 2.0),
}
"""What each scene is drawn with, and how many times the rival's figure must be reached."""
ENDED = r"played to its end|ended early"
AWAY = 1.0
AFTER = 0.5
"""A visit may be noticed this many seconds after it ended: frames are picked and stamped at their own pace."""


@dataclass
class Witness:
    """Reads the vectors on the bus and says whom the product's own matching finds in them."""

    watchlist: Watchlist
    found: dict[str, list[tuple[str, float]]] = field(default_factory=lambda: defaultdict(list))
    evidence: TrackEvidence = field(default_factory=TrackEvidence)

    async def take(self, message: Msg) -> None:
        faces = codec.decode(FacesEmbedded, message.data)
        for match in find(self.watchlist, {"barred": Category(threshold=THRESHOLD)}, faces, self.evidence):
            assert match.look.media_time is not None  # noqa: S101 - the cameras are files
            self.found[faces.camera].append((match.entry.name, match.look.media_time))


def portraits(folder: Path) -> dict[str, Path]:
    """Give the frame of each person's first clip in which the detector is surest of a face."""
    clips = lab.data() / "clips"
    detector = cv2.FaceDetectorYN.create(str(models_dir() / "face_detection_yunet_2023mar.onnx"), "", (640, 480), 0.7)
    found = {}
    for person, names in json.loads((clips / "people.json").read_text()).items():
        best: tuple[float, Any] = (0.0, None)
        with av.open(str(clips / names[0])) as container:
            for frame in container.decode(video=0):
                image = frame.to_ndarray(format="bgr24")
                faces = detector.detect(image)[1]
                if faces is not None and faces[0][14] > best[0]:
                    best = (float(faces[0][14]), image)
        found[person] = folder / f"{person}.png"
        cv2.imwrite(str(found[person]), best[1])
    return found


async def rival(people: dict[str, Path], clips: list[Path], ended: asyncio.Event) -> list[dict[str, Any]]:
    """Run the script on every clip, again and again until Aegis has ended too; give what each run said."""
    script = lab.data().parent / "bench" / "opencv_watchlist.py"
    listed = [word for name, photo in people.items() for word in ("--watchlist", f"{name}={photo}")]
    command = [sys.executable, str(script), "--models", str(models_dir()), *listed, *map(str, clips)]
    runs = []
    while not (runs and ended.is_set()):
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "19", *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        said, _ = await process.communicate()
        if process.returncode:
            sys.exit(f"{script} ended with {process.returncode}")
        runs.append(json.loads(said))
    return runs


async def ours(
    people: dict[str, Path], clips: list[Path], folder: Path
) -> tuple[dict[str, float], Witness, dict[str, Any]]:
    """Play the clips to a running system; give its CPU seconds, whom it found, and its status at the end."""
    enroller = Enroller(models_dir(), None, "sface-2021dec", "auto")
    photos = {name: photo.read_bytes() for name, photo in people.items()}
    entries = {
        name: EntryRecord(
            id=name,
            name=name,
            category="barred",
            embedder=enroller.card.template_version,
            added_at=0.0,
            templates=(Template(vector=enroller.enrol(photo, name).vector.tobytes(), photo=""),),
        )
        for name, photo in photos.items()
    }
    witness = Witness(Watchlist(entries, 1))
    async with running(folder, SITE) as system:
        server = bus_server.BusServer(system.state.bus_directory, system.state.running().port)
        config = BusConfig(url=server.url, ca=server.ca, key=server.key("admin"), inbox=topology.inbox("admin"))
        async with Bus.connect(config, "bench") as bus:
            for name, photo in photos.items():
                await ask(bus, "watchlist-add", AddEntry(name=name, category="barred", photos=(photo,)))
            await bus.subscribe("aegis.v1.face.embedded.>", witness.take)
            before = lab.cpu_of(system.pid_of_up)
            for clip in clips:
                await system.command("camera", "add", clip.stem, f"file:{clip}", "--fps", str(LOOKS))
            await until(lambda: len(re.findall(ENDED, system.output)) == len(clips), "every clip was played", 600)
            after = lab.cpu_of(system.pid_of_up)
            spent = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
            return spent, witness, await system.json("status")


def joined(planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make one visit of those in which the same person stays in view: it is one alert."""
    visits: list[dict[str, Any]] = []
    for visit in planned:
        if visits and visits[-1]["person"] == visit["person"] and visit["start"] - visits[-1]["end"] < AWAY:
            visits[-1] = {**visits[-1], "end": visit["end"]}
        else:
            visits.append(visit)
    return visits


def missed(truth: dict[str, Any], theirs: list[dict[str, Any]], witness: Witness) -> tuple[int, int, int, list[str]]:
    """Count the visits, those that the script found and those that Aegis found, and name what only the script did."""
    visits = hit = got = 0
    lost = []
    for camera, planned in truth.items():
        for visit in joined(planned):
            start, end, person = visit["start"], visit["end"] + AFTER, visit["person"]
            by_them = any(
                a["person"] == person and a["clip"] == f"{camera}.mp4" and start <= a["second"] <= end for a in theirs
            )
            by_us = any(name == person and start <= at <= end for name, at in witness.found[camera])
            visits, hit, got = visits + 1, hit + by_them, got + by_us
            if by_them and not by_us:
                lost.append(f"{camera} {person} at {start:.1f} s")
    return visits, hit, got, lost


async def scene(name: str, seconds: float, people: dict[str, Path], folder: Path) -> list[lab.Row]:
    options, least = SCENES[name]
    drawn = lab.clips(name, [*options, "--seconds", f"{seconds:g}", "--cameras", str(CAMERAS)])
    clips = sorted(drawn.glob("cam-*.mp4"))
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running_rival = group.create_task(rival(people, clips, ended))
        spent, witness, status = await ours(people, clips, folder / name)
        ended.set()
    theirs = running_rival.result()
    truth = json.loads((drawn / "truth.json").read_text())
    visits, hit, got, lost = missed(truth, theirs[0]["alerts"], witness)
    video = seconds * len(clips)
    print(
        f"{name}: {got} of {visits} visits found, {hit} by the script; only by the script: {', '.join(lost) or 'none'}"
    )
    print(f"  {status['counts']}")
    total = sum(spent.values())
    shares = ", ".join(f"{process} {seconds:.1f}" for process, seconds in spent.items())
    spent_by_them = [run["cpu_s"] for run in theirs]
    print(f"  {total:.1f} s of CPU for {video:.0f} s of video ({shares}); the script {spent_by_them}")
    figure, their_figure = video / total, statistics.mean(run["camera_seconds_per_cpu_second"] for run in theirs)
    return [
        (f"{name}: camera-seconds a CPU-second", figure / their_figure, "x", least, True),
        (f"{name}: visits that only the script found", len(lost), "", 0, False),
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", action="append", choices=SCENES, help="all of them unless given")
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        people = portraits(Path(name))
        for wanted in arguments.scene or SCENES:
            rows += await scene(wanted, arguments.seconds, people, Path(name))
    lab.table("pipeline, four cameras", rows)


if __name__ == "__main__":
    asyncio.run(main())
