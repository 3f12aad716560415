"""What the benchmarks share: the data, one thread for mathematics, and a table that a program can read too."""

import contextlib
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# As `aegis up` runs its services; numpy reads it when it is imported, which comes after this module.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

_ENDLESS = 1000.0

APART = {"AEGIS_FRAMES_DIR": ""}
"""Has frames go from ingest to detect on the bus, as they do where these are on machines of their own."""

Row = tuple[str, float, str, float, bool]
"""What was measured, the figure, its unit, its limit, and whether more is better."""


def data() -> Path:
    """Give the folder of test data, or end with the reason."""
    folder = Path(os.environ.get("AEGIS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.exists():
        sys.exit(f"the test data is not at {folder}; set AEGIS_TEST_DATA")
    return folder


def table(title: str, rows: Sequence[Row], **facts: object) -> None:
    """Print the rows, and on the last line the same as JSON with ``facts`` beside; end with 1 if one misses its limit.

    ``benchmarks/run.py`` reads that line: ``{"title", "facts", "rows": [{"what", "measured", "unit", "limit", "more",
    "ratio", "ok"}]}``. A ratio up to 1 is within the limit, whichever way is better.
    """
    told = [
        {
            "what": what,
            "measured": round(measured, 4),
            "unit": unit,
            "limit": limit,
            "more": more,
            "ratio": round(_of_limit(measured, limit, more=more), 4),
            "ok": bool(measured >= limit if more else measured <= limit),
        }
        for what, measured, unit, limit, more in rows
    ]
    print(f"\n{title} ({platform.machine()}, {os.cpu_count()} cores)")
    for name, fact in facts.items():
        print(f"{name.replace('_', ' ')}: {fact}")
    print(f"{'':<46} {'measured':>13} {'limit':>14} {'ratio':>7}")
    for row in told:
        print(line(row))
    print(json.dumps({"title": title, "facts": facts, "rows": told}))
    sys.exit(0 if all(row["ok"] for row in told) else 1)


def line(row: dict[str, Any]) -> str:
    """Write one row of a table for people."""
    bound = f"{'>=' if row['more'] else '<='} {row['limit']:g} {row['unit']}"
    measured = f"{row['measured']:.4g} {row['unit']}"
    return f"{row['what']:<46} {measured:>13} {bound:>14} {row['ratio']:>7.2f}{'' if row['ok'] else '  MISSED'}"


def _of_limit(measured: float, limit: float, *, more: bool) -> float:
    """Give how much of its limit is used."""
    part, whole = (limit, measured) if more else (measured, limit)
    if not whole:
        return _ENDLESS if part else 1.0
    return min(part / whole, _ENDLESS)


def cpu_milliseconds(*pieces: Callable[[], object], rounds: int = 21) -> list[float]:
    """Give the median milliseconds of CPU of each piece of work; they take turns, so that a slow while hits all."""
    taken: list[list[float]] = [[] for _ in pieces]
    for turn in range(rounds + 1):
        for times, piece in zip(taken, pieces, strict=True):
            started = time.process_time()
            piece()
            if turn:  # the first one warms up
                times.append(1000 * (time.process_time() - started))
    return [statistics.median(times) for times in taken]


def resident() -> float:
    """Give this process's resident memory in MB of 2**20 bytes."""
    kilobytes = re.findall(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kilobytes[0]) / 1024


def clips(name: str, options: Sequence[str]) -> Path:
    """Draw camera clips of known truth, once for each set of options; give their folder."""
    key = hashlib.sha256(" ".join(options).encode()).hexdigest()[:8]
    folder = ROOT / "var" / "bench" / f"{name}-{key}"
    if not (folder / "truth.json").exists():
        print(f"drawing {folder.name}: {' '.join(options)}", flush=True)
        subprocess.run([sys.executable, str(data() / "make_clips.py"), "--out", str(folder), *options], check=True)
    return folder


def cpu_of(parent: int) -> dict[str, float]:
    """Give the seconds of CPU that a process, its children and theirs have used so far, by the last word of each."""
    spent: dict[int, float] = {}
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it may just have ended
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_text().rstrip("\0").split("\0")
            process = int(entry.name)
            names[process] = words[-1] if words[-1].startswith("aegis.") else Path(words[0]).name
            parents[process] = int(fields[1])
            spent[process] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    family = {parent}
    while grown := {child for child, of in parents.items() if of in family} - family:
        family |= grown
    total: dict[str, float] = {}
    for process in family & set(spent):
        total[names[process]] = total.get(names[process], 0.0) + spent[process]
    return total
