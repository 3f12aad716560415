"""What an hour of faults comes to, for people and for programs: docs/benchmarks/chaos.md and chaos.json."""

import datetime as dt
import json
import math
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.cluster.trial import NORMAL_ALERT, NORMAL_DELIVERY, NORMAL_GAP, Trial
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "benchmarks"
_HEAD = """# A cluster under faults

Written by `make chaos`; do not edit by hand. Three nats-servers with the configuration of `deploy/k8s/base/nats`, two
replicas of every service, {cameras} network cameras, a mail server and a webhook receiver, each process in a network
namespace of its own on one machine. Everything is killed, paused, cut off, slowed down and rolled in turn.

| | |
| --- | --- |
| Date | {date} |
| Machine | {machine} |
| CPU time that nobody used, median | {idle:.0%} |
| Seed, duration | {seed}, {seconds:.0f} s |
| Faults | {faults} |
| Alerts raised | {alerts} |
| Visits that began during a fault, and were told of | {visits}, {told} |
| Promises broken | {broken} |

**Noticed**: others hold the leases, or lead the streams, of whom it hit; `-` where nothing moves, since others work
from the same queue, or where it is over before a lease is. **Silence**: the longest in which nothing of some camera was
matched, or the registry did not answer, above the normal {gap:g} s; 0.0 where nobody felt it. Alerts are delivered in
{delivery:g} s, if nothing is said. **Well again**: frames of every camera are searched and matched, alerts delivered
and requests answered as always, seconds after the fault began. A visit that begins while all is well is told of within
{alert:g} s.

| Fault | Hits | Times | Noticed, s | Silence, s | Well again, s | Visits told of |
| --- | --- | --- | --- | --- | --- | --- |
"""


def line(trial: Trial) -> str:
    """Say what came of one fault."""
    noticed = "" if trial.noticed is None else f"noticed {trial.noticed:.1f} s, "
    silences = ", ".join(f"{part} {silence:.1f}" for part, silence in trial.interrupted.items())
    return (
        f"{trial.fault}, {trial.victims} ({', '.join(trial.hit)}): {noticed}well again {trial.recovered:.1f} s"
        f" (calm {trial.calm:.1f}), visits {trial.told} of {trial.visits}, idle {trial.idle:.0%}"
        + (f"; still: {silences}" if silences else "")
    )


def write(
    trials: Sequence[Trial], alerts: int, broken: Sequence[str], *, seconds: float, seed: int, cameras: int
) -> None:
    """Write both files."""
    cases: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        cases[trial.victims, trial.fault].append(trial)
    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "seed": seed,
        "seconds": seconds,
        "faults": len(trials),
        "alerts": alerts,
        "visits": sum(trial.visits for trial in trials),
        "told": sum(trial.told for trial in trials),
        "idle": median([trial.idle for trial in trials] or [1.0]),
    }
    found = {**about, "broken": list(broken), "trials": [_finite(asdict(trial)) for trial in trials]}
    (FOLDER / "chaos.json").write_text(json.dumps(found, indent=1) + "\n")
    numbers = {"gap": NORMAL_GAP, "delivery": NORMAL_DELIVERY, "alert": NORMAL_ALERT, "cameras": cameras}
    text = _HEAD.format(**about, **numbers, broken=len(broken)) + "".join(
        _row(victims, fault, cases[victims, fault]) for victims, fault in sorted(cases)
    )
    if broken:
        text += "\n## Promises broken\n\n" + "".join(f"- {problem}\n" for problem in broken)
    (FOLDER / "chaos.md").write_text(text)


def _row(victims: str, fault: str, trials: Sequence[Trial]) -> str:
    noticed = [trial.noticed for trial in trials if trial.noticed is not None]
    cells = (
        fault,
        victims,
        str(len(trials)),
        _span(noticed),
        _span([_silence(trial) for trial in trials]) + _late(trials),
        _span([trial.recovered for trial in trials]),
        f"{sum(trial.told for trial in trials)} of {sum(trial.visits for trial in trials)}",
    )
    return f"| {' | '.join(cells)} |\n"


def _silence(trial: Trial) -> float:
    return max((silence for part, silence in trial.interrupted.items() if part != "deliveries"), default=0.0)


def _late(trials: Sequence[Trial]) -> str:
    late = max(trial.interrupted.get("deliveries", 0.0) for trial in trials)
    return f"; a delivery {late:.1f}" if late else ""


def _span(values: Sequence[float]) -> str:
    """Give a value, or from the least to the greatest of several."""
    if not values:
        return "-"
    least, most = f"{min(values):.1f}", f"{max(values):.1f}"
    return least if least == most else f"{least} to {most}"


def _finite(trial: dict[str, object]) -> dict[str, object]:
    keep: Callable[[object], object] = lambda v: (  # noqa: E731
        None if isinstance(v, float) and not math.isfinite(v) else round(v, 3) if isinstance(v, float) else v
    )
    return {name: keep(value) for name, value in trial.items()}


def machine() -> str:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), "")
    return f"{os.cpu_count()} cores, {model or platform.machine()}, Linux {platform.release().split('-')[0]}"
