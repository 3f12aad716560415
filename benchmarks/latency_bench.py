"""From capture to alert and on to the mail server, with four cameras on this machine.

Many people, each enrolled from one photograph, appear one after the other before four 720p cameras that play in real
time; the figures are the running system's own histograms, read with ``aegis status``.

    python benchmarks/latency_bench.py [--people 120]
"""

import argparse
import asyncio
import os
import re
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import lab
import numpy as np
from tests.e2e.system import running

from aegis.cli.demo import mail_sink
from aegis.cli.errors import CommandError
from aegis.cli.requests import ask
from aegis.contracts import cloudevents
from aegis.contracts.messages import AddEntry
from aegis.runtime.bus import Bus

CAMERAS, FPS = 4, 25
SHOWN, GAP = 2.0, 0.6
SLOW = 0.3
"""Alerts that took longer, in seconds, are listed: their first look did not suffice."""
SITE = """\
site: {{id: bench, name: Benchmark, kind: demo}}
notify: {{email: {{smtp: "smtp+insecure://127.0.0.1:{port}", to: [guard@bench.example], pictures: false}}}}
"""


def write_clip(path: Path, photos: list[Path]) -> None:
    """Show each photo for a while, drifting to the right, in an otherwise grey picture."""
    noise = np.random.default_rng(0)
    empty = [np.clip(150 + noise.normal(0, 2, (720, 1280, 1)), 0, 255).astype(np.uint8) for _ in range(8)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "27"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for photo in photos:
            face = cv2.resize(cv2.imread(str(photo)), (360, 360))
            for number in range(int((SHOWN + GAP) * FPS)):
                image = np.repeat(empty[number % len(empty)], 3, axis=2)
                if number < SHOWN * FPS:
                    image[180:540, 200 + 6 * number : 560 + 6 * number] = face
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


async def enrol(bus: Bus, people: list[Path]) -> int:
    """Enrol everyone whose photo shows one person; give how many."""
    enrolled = 0
    for person in people:
        photo = min(person.glob("*.jpg")).read_bytes()
        try:
            await ask(bus, "watchlist-add", AddEntry(name=person.name, category="barred", photos=(photo,)))
            enrolled += 1
        except CommandError:
            continue
    return enrolled


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=120)
    wanted = parser.parse_args().people
    people = [p for p in sorted((lab.data() / "lfw").iterdir()) if len(list(p.glob("*.jpg"))) > 1][:wanted]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for camera in range(CAMERAS):
            print(f"drawing camera {camera + 1} of {CAMERAS}", flush=True)
            write_clip(folder / f"cam-{camera}.mp4", [sorted(p.glob("*.jpg"))[1] for p in people[camera::CAMERAS]])
        async with mail_sink(folder) as port, running(folder / "site", SITE.format(port=port)) as system:
            ready = float(re.findall(r"ready in ([\d.]+) s", system.output)[0])
            os.environ["AEGIS_SITE_KEY_FILE"] = system.environ["AEGIS_SITE_KEY_FILE"]
            async with Bus.connect(system.state.bus_config(None), "bench") as bus:
                print(f"{await enrol(bus, people)} of {len(people)} people enrolled; playing", flush=True)
            for camera in range(CAMERAS):
                await system.command("camera", "add", f"cam-{camera}", f"file:{folder / f'cam-{camera}.mp4'}")
            await asyncio.sleep((SHOWN + GAP) * -(-len(people) // CAMERAS) + 4)
            status = await system.json("status")
            for alert in await system.alerts("raised"):
                waited = cloudevents.seconds(alert["raised_at"]) - cloudevents.seconds(alert["first_captured_at"])
                if waited > SLOW:
                    judged = f"score {alert['score']} of {alert['looks']} looks"
                    print(f"{alert['person']}: {waited:.2f} s after the first look, {judged}")
    figures = status["latencies"]
    first, matched, mail = (
        figures[f"{w}"] for w in ("first usable look to alert", "matched look to alert", "alert to email")
    )
    cpu = sum(s["metrics"]["process_cpu_seconds_total"] for s in status["services"])
    memory = sum(s["metrics"]["process_resident_memory_bytes"] for s in status["services"]) / 2**20
    print(
        f"{first['count']:.0f} alerts, {status['counts']['frames searched']} frames searched, "
        f"{status['counts']['frames dropped']} dropped, {cpu:.0f} s of CPU and {memory:.0f} MB in all services"
    )
    lab.table(
        "latency, four cameras",
        [
            ("first usable look to alert, median", first["p50_ms"], "ms", 200, False),
            ("first usable look to alert, 99 %", first["p99_ms"], "ms", 1000, False),
            ("matched look to alert, median", matched["p50_ms"], "ms", 200, False),
            ("matched look to alert, 99 %", matched["p99_ms"], "ms", 600, False),
            ("alert to mail server, 99 %", mail["p99_ms"], "ms", 1000, False),
            ("aegis up to ready", 1000 * ready, "ms", 10_000, False),
        ],
    )


if __name__ == "__main__":
    started = time.monotonic()
    asyncio.run(main())
