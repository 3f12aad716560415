"""More frames than detect can search: frame rate must fall evenly, a processed frame stay young, memory stay flat.

Eight cameras offer JPEG frames with a face each, far above capacity, over a real bus to a real detect process.

    python benchmarks/overload_bench.py [--seconds 30] [--fps 50]
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import cv2
import lab
from tests.bus import Server, until

from aegis.cli.state import models_dir
from aegis.contracts import codec, subjects
from aegis.contracts.messages import Category, FrameCaptured, SiteRecord, SiteState
from aegis.runtime import status, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus
from aegis.runtime.policy import SITE

CAMERAS = 8
WARM_UP = 5.0


def pictures(clip: Path) -> list[bytes]:
    """Give the frames of a clip as 1280x720 JPEGs."""
    with av.open(str(clip)) as container:
        frames = [cv2.resize(f.to_ndarray(format="bgr24"), (1280, 720)) for f in container.decode(video=0)]
    return [cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes() for frame in frames]


async def offer(bus: Bus, camera: int, frames: list[bytes], fps: float) -> None:
    """Publish frames at a steady rate, for ever."""
    subject, number, due = subjects.frame_captured(camera, f"cam-{camera}"), 0, time.monotonic()
    while True:
        frame = FrameCaptured(
            camera=f"cam-{camera}", lease=1, sequence=number, captured_at=time.time(), jpeg=frames[number % len(frames)]
        )
        await bus.publish(subject, codec.encode(frame))
        number += 1
        due += 1 / fps
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def answer(bus: Bus) -> dict[str, Any]:
    return next(iter(await status.collect(bus, enough=1)))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--fps", type=float, default=50)
    arguments = parser.parse_args()
    frames = pictures(lab.data() / "clips" / "again.mkv")
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        process = None
        try:
            async with server.connect() as bus, server.connect("ingest") as ingest:
                await topology.declare(bus)
                site = SiteRecord(
                    id="bench", name="Bench", kind="demo", state=SiteState.ARMED, categories={"barred": Category()}
                )
                await Bucket(bus, "policy").put(SITE, codec.encode(site))
                for camera in range(CAMERAS):
                    await Bucket(bus, "cameras").put(f"{camera}.cam-{camera}", b"sealed")
                environ = {
                    **os.environ,
                    "AEGIS_BUS_URL": server.files.url,
                    "AEGIS_BUS_CA": str(server.files.ca),
                    "AEGIS_KEY_FILE": str(server.files.key("detect")),
                    "AEGIS_MODELS_DIR": str(models_dir()),
                    "AEGIS_LOG_FILE": f"{name}/detect.log",
                    "OPENCV_FOR_THREADS_NUM": "1",
                }
                process = subprocess.Popen([sys.executable, "-m", "aegis.detect"], env=environ)  # noqa: ASYNC220 - it must outlive awaits

                async def all_held() -> bool:
                    answers = await status.collect(bus, enough=1)
                    return bool(answers) and status.total(answers, "aegis_leases_held", kind="detect") == CAMERAS

                await until(all_held, "detect holds every partition", 20)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(offer(ingest, c, frames, arguments.fps)) for c in range(CAMERAS)]
                    await asyncio.sleep(WARM_UP)
                    before = await answer(bus)
                    await asyncio.sleep(arguments.seconds)
                    after = await answer(bus)
                    for task in tasks:
                        task.cancel()
        finally:
            if process is not None:
                process.kill()
            server.kill()
    report(before, after, arguments)


def report(before: dict[str, Any], after: dict[str, Any], arguments: argparse.Namespace) -> None:
    served = [
        status.total([after], "aegis_frames_processed_total", camera=f"cam-{c}")
        - status.total([before], "aegis_frames_processed_total", camera=f"cam-{c}")
        for c in range(CAMERAS)
    ]
    age = status.quantiles([after], "aegis_frame_age_seconds")
    if age is None:
        sys.exit("detect searched no frame")
    memory = [a["metrics"]["process_resident_memory_bytes"] / 2**20 for a in (before, after)]
    offered = CAMERAS * arguments.fps * arguments.seconds
    print(
        f"{sum(served):.0f} of {offered:.0f} offered frames searched ({sum(served) / arguments.seconds:.0f} a second); "
        f"by camera {', '.join(f'{n:.0f}' for n in served)}"
    )
    lab.table(
        f"overload, {CAMERAS} cameras at {arguments.fps:g} frames a second",
        [
            ("offered frames for each one searched", offered / sum(served), "x", 1.2, True),
            ("slowest camera of the fastest", 100 * min(served) / max(served), "%", 70, True),
            ("age of a searched frame, 99 %", 1000 * age["p99"], "ms", 1000 / arguments.fps + 150, False),
            ("memory after, of memory before", 100 * memory[1] / memory[0], "%", 110, False),
        ],
    )


if __name__ == "__main__":
    asyncio.run(main())
