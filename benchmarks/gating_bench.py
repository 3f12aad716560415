"""Whether passing pictures over loses anybody, and what it saves: real clips and drawn cameras, gated and whole.

Each video goes through the product's decoder, detector, tracker and choice of looks twice: once with only the pictures
that gating leaves, and of them what is worth a search; once with all of every look that is due. A face that the second
finds must be found by the first.

    python benchmarks/gating_bench.py
"""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import av
import lab
from tests.integration.ingest.gating import Compared, compare

from aegis.cli.state import models_dir
from aegis.detect.finder import Finder
from aegis.runtime.faces import FRAME_WIDTH

VARIANTS = ((2, 27), (4, 23), (6, 20))
"""Noise and crf: nearly nothing, something and almost everything that a packet holds is noise."""
DRAWN = ["--seconds", "30", "--occupied", "0.15", "--cameras", "1", "--seed", "7"]
ARRIVALS = ["--seconds", "30", "--occupied", "0.4", "--cameras", "1"]
ARRIVAL = (1130, 1430)
"""Pictures of the hallway: empty, then people come into view at its far end."""
LATEST = 0.2
"""By so many seconds gating may find a face later: one look."""
Job = tuple[str, list[str] | Path]


def jobs() -> list[Job]:
    """Name what is compared: a video, or what to draw one with. The longest come first."""
    drawn: list[Job] = [
        (f"noise {noise}, crf {quality}", [*DRAWN, "--noise", str(noise), "--crf", str(quality)])
        for noise, quality in VARIANTS
    ]
    arrivals: list[Job] = [("arrivals", [*ARRIVALS, "--clips", str(arrival()), "--crf", "23"])]
    clips = lab.data() / "clips"
    people = sorted({clip for of in json.loads((clips / "people.json").read_text()).values() for clip in of})
    return [
        ("hallway", clips / "hallway.mp4"),
        ("constant rate", [*DRAWN, "--rate", "cbr"]),
        *drawn,
        *arrivals,
        *[(Path(clip).stem, clips / clip) for clip in people],
    ]


def arrival() -> Path:
    """Cut the people who come into view in the hallway out of it; give a folder as the drawing of clips wants it."""
    folder = lab.ROOT / "var" / "bench" / "arrival"
    if not (folder / "people.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (
            av.open(str(lab.data() / "clips" / "hallway.mp4")) as container,
            av.open(str(folder / "a.mkv"), "w") as cut,
        ):
            source = container.streams.video[0]
            stream = cut.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
            for number, frame in enumerate(container.decode(source)):
                if ARRIVAL[0] <= number < ARRIVAL[1]:
                    frame.pts = frame.dts = None
                    frame.pict_type = av.video.frame.PictureType.NONE
                    cut.mux(stream.encode(frame))
            cut.mux(stream.encode())
        (folder / "people.json").write_text(json.dumps({"somebody": ["a.mkv"]}))
    return folder


@cache
def finder() -> Finder:
    return Finder(models_dir(), "cpu", FRAME_WIDTH)


def work(job: Job) -> tuple[str, Compared]:
    """Draw a video, unless it is there, and compare."""
    name, what = job
    video = what if isinstance(what, Path) else lab.clips("gating", what) / "cam-0.mp4"
    return name, compare(video, finder())


def rows(name: str, group: Sequence[Compared]) -> list[lab.Row]:
    return [
        (f"{name}: faces seen in full", sum(one.tracks for one in group), "", 1, True),
        (f"{name}: of them never seen", sum(one.unseen for one in group), "", 0, False),
        (f"{name}: usable faces lost", sum(len(one.lost) for one in group), "", 0, False),
        (f"{name}: latest first look", max(one.slowest for one in group), "s", LATEST, False),
    ]


def main() -> None:
    began = time.monotonic()
    arrival()
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1), get_context("spawn")) as pool:
        results = dict(pool.map(work, jobs()))
    columns = f"{'faces':>6} {'lost':>6} {'later s':>8} {'undecoded':>10} {'unlooked':>9} {'searched':>9}"
    print(f"\n{'':<20} {columns} {'packets tell':>13}")
    for name, one in results.items():
        undecoded, unlooked = 1 - one.decoded / one.packets, 1 - one.looked / one.due
        print(
            f"{name:<20} {len(one.found):>6} {len(one.lost):>6} {one.slowest:>8.2f} "
            f"{undecoded:>10.2f} {unlooked:>9.2f} {one.searched:>9.2f} {one.telling:>13.2f}"
        )
    drawn = [one for name, one in results.items() if name.startswith("noise")]
    arrivals = [one for name, one in results.items() if name.startswith("arrivals")]
    others = ("noise", "arrivals", "hallway", "constant")
    clips = [one for name, one in results.items() if not name.startswith(others)]
    quiet, constant = results["noise 2, crf 27"], results["constant rate"]
    lab.table(
        "Gating",
        [
            *rows("hallway", [results["hallway"]]),
            *rows(f"{len(clips)} clips", clips),
            *rows("people from afar", arrivals),
            *rows("variable rate", drawn),
            *rows("constant rate", [constant]),
            ("not decoded, variable rate", 1 - quiet.decoded / quiet.packets, "", 0.8, True),
            ("not decoded, constant rate", 1 - constant.decoded / constant.packets, "", 0.4, True),
            ("not looked at, constant rate", 1 - constant.looked / constant.due, "", 0.7, True),
        ],
        seconds=round(time.monotonic() - began),
    )


if __name__ == "__main__":
    main()
