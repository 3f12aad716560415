"""Run every benchmark, one after the other, and write what they measured into docs/benchmarks.

Each ``*_bench.py`` beside this file is a command of its own as well. One that misses a limit, or fails, is shown and
does not stop the others; then the end is 1.

    python benchmarks/run.py [NAME ...]        # without names all of them, as `make bench`
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lab
import matplotlib as mpl
import onnxruntime as ort
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULTS = lab.ROOT / "docs" / "benchmarks"
TOTAL_SECONDS = 1150
"""All of them; what is not done by then is told as missed."""
LEAST_PATIENCE = 10.0
GOOD, MISSED, WORDS = "#2f81f7", "#d1572e", "#7d8590"
"""Colours that can be read on white and on black."""
WIDEST = 1.5

Result = dict[str, Any]


def run(benchmark: Path, patience: float) -> Result:
    """Run one and give what its last line says, or what became of it."""
    print(f"\n===== {benchmark.stem}", flush=True)
    started = time.monotonic()
    # A session of its own, so that a benchmark that is stopped leaves none of its processes behind.
    process = subprocess.Popen([sys.executable, benchmark], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=max(LEAST_PATIENCE, patience))
        problem = f"ended with {process.returncode} and without figures"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        problem = f"was not done after {time.monotonic() - started:.0f} s"
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        raise
    *told, last = output.rstrip().splitlines() or [""]
    figures: Result = {"title": benchmark.stem, "facts": {}, "rows": []}
    if process.returncode in (0, 1) and last.startswith('{"title"'):
        figures = json.loads(last)
        problem = ""
    else:
        told.append(last)
    print("\n".join(told))
    print(problem, flush=True)
    return {"benchmark": benchmark.stem.removesuffix("_bench"), "seconds": round(time.monotonic() - started)} | (
        figures | {"problem": problem}
    )


def machine() -> dict[str, object]:
    """Say what this was measured on, so that figures of two machines are not compared."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists() and (models := re.findall(r"^model name\s*: (.+)$", information.read_text(), re.MULTILINE)):
        cpu = models[0]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
    }


def commit() -> str:
    """Name the tree that was measured; "+" when files were changed since."""
    head, changes = (
        subprocess.run(["git", *words], cwd=lab.ROOT, capture_output=True, text=True, check=False).stdout.strip()
        for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    return f"{head}{'+' if changes else ''}" if head else "unknown"


def summary(results: list[Result]) -> None:
    """Print one table of everything."""
    print(f"\n{'':<12} {'':<46} {'measured':>13} {'limit':>14} {'ratio':>7}")
    for result in results:
        for row in result["rows"]:
            print(f"{result['benchmark']:<12} {lab.line(row)}")
        if result["problem"]:
            print(f"{result['benchmark']:<12} {result['problem']}  MISSED")


def plot(results: list[Result], file: Path) -> None:
    """Draw how much of its limit each row uses."""
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "aegis", "font.size": 9, "text.color": WORDS}
    rows = [(result["benchmark"], row) for result in results for row in result["rows"]]
    figure = Figure(figsize=(9, 0.8 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (benchmark, row) in enumerate(rows):
        axes.barh(place, min(row["ratio"], WIDEST), height=0.6, color=GOOD if row["ok"] else MISSED)
        bound = f"{'at least' if row['more'] else 'at most'} {row['limit']:g} {row['unit']}"
        told = f"{row['measured']:.4g}, {bound}{'' if row['ok'] else ': missed'}"
        axes.annotate(told, (WIDEST, place), (6, 0), textcoords="offset points", va="center", annotation_clip=False)
        if place and benchmark != rows[place - 1][0]:
            axes.axhline(place - 0.5, color=WORDS, linewidth=0.4)
    axes.axvline(1, color=WORDS, linewidth=1.2)
    axes.set_xlim(0, WIDEST)
    axes.set_yticks(range(len(rows)), [f"{benchmark}: {row['what']}" for benchmark, row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("used of the limit: up to 1 is within it, whichever way is better", color=WORDS)
    axes.tick_params(colors=WORDS, which="both", length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(file, transparent=True, metadata={"Date": None})


def main() -> None:
    known = sorted(HERE.glob("*_bench.py"))
    names = [file.stem.removesuffix("_bench") for file in known]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help=f"some of {', '.join(names)}; the files are written after all of them")
    wanted = parser.parse_args().name or names
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no {', '.join(unknown)}")
    started = time.monotonic()
    results = [
        run(file, TOTAL_SECONDS - (time.monotonic() - started))
        for file, name in zip(known, names, strict=True)
        if name in wanted
    ]
    summary(results)
    told = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "seconds": round(time.monotonic() - started),
        "results": results,
    }
    if wanted == names:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "results.json").write_text(json.dumps(told, indent=1) + "\n")
        plot(results, RESULTS / "results.svg")
        print(f"\nwritten to {RESULTS.relative_to(lab.ROOT)}, after {told['seconds']} s")
    sys.exit(0 if all(not r["problem"] and all(row["ok"] for row in r["rows"]) for r in results) else 1)


if __name__ == "__main__":
    main()
