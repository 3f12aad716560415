"""Searching a watchlist exactly: what the product's index takes, beside numpy's float32 and faiss's flat index.

The templates are random, with directions as uneven as those of faces: at a cosine of .425 about one pair of people in
ten thousand passes. faiss is compared where it is installed (``pip install faiss-cpu``); the product needs none.

    python benchmarks/match_bench.py
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab
import numpy as np
from numpy.typing import NDArray

from aegis.vision.search import TemplateIndex

DIMENSION, FLOOR = 128, 0.425
UNEVEN = 0.33
"""The n-th direction of a face's vector is drawn n ** -UNEVEN wide."""
SHORT, LONG = 10_000, 1_000_000
TRACK = 8
"""Probes that come together."""

Floats = NDArray[np.float32]
Search = Callable[[Floats], object]


def faces(count: int, seed: int) -> Floats:
    """Draw unit vectors, in place: a million of them are 488 MB."""
    random = np.random.default_rng(seed)
    widths = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -UNEVEN
    templates = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, 10_000):
        part = templates[start : start + 10_000]
        random.standard_normal(out=part, dtype=np.float32)
        part *= widths
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return templates


def seen(templates: Floats) -> Floats:
    """Draw other looks at the first few people."""
    probes = templates[:TRACK] + 0.06 * np.random.default_rng(1).standard_normal((TRACK, DIMENSION), np.float32)
    return np.asarray(probes / np.linalg.norm(probes, axis=1, keepdims=True), np.float32)


def rivals(templates: Floats) -> dict[str, Search]:
    """Give the other ways to search the same templates exactly."""
    found: dict[str, Search] = {"numpy float32": lambda probes: np.nonzero(probes @ templates.T >= FLOOR)}
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        return found
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(templates)
    return found | {"faiss IndexFlatIP": lambda probes: flat.range_search(probes, FLOOR)}


def check(index: TemplateIndex, templates: Floats, probes: Floats) -> int:
    """Compare with float32 brute force, but for pairs so near the floor that float32 cannot tell; count the hits."""
    rows, columns, scores = index.above(probes, None, FLOOR)
    brute = probes @ templates.T
    hits = np.zeros(brute.shape, bool)
    hits[rows, columns] = True
    wrong = (hits != (brute >= FLOOR)) & (np.abs(brute - FLOOR) > 1e-6)
    if wrong.any() or not np.allclose(scores, brute[rows, columns], atol=1e-6, rtol=0):
        sys.exit(f"{int(wrong.sum())} pairs are not as brute force has them")
    return len(rows)


def measure(count: int) -> tuple[float, float]:
    """Compare all ways at one size; give the product's milliseconds for a probe alone, and for each of a track's."""
    templates = faces(count, seed=0)
    probes = seen(templates)
    index = TemplateIndex(templates)
    print(f"{count:,} templates: {check(index, templates, probes) / TRACK:.0f} reach {FLOOR} for a probe", flush=True)
    ways: dict[str, Search] = {"aegis": lambda p: index.above(p, None, FLOOR)} | rivals(templates)
    alone = lab.cpu_milliseconds(*(lambda way=way: way(probes[:1]) for way in ways.values()))
    together = lab.cpu_milliseconds(*(lambda way=way: way(probes) for way in ways.values()))
    for name, one, many in zip(ways, alone, together, strict=True):
        print(f"  {name:<18} {one:8.3f} ms a probe, {many / TRACK:8.3f} ms for each of {TRACK}", flush=True)
    return alone[0], together[0] / TRACK


def searching(path: Path) -> None:
    """Print what a process weighs that does nothing but search, after searches of every kind."""
    templates = np.fromfile(path, np.float32).reshape(-1, DIMENSION)
    index = TemplateIndex(templates)
    for probes in (templates[:1], templates[:TRACK], templates[: 2 * TRACK + 1]):
        for _ in range(5):
            index.above(probes, None, FLOOR)
    print(lab.resident())


def reading(count: int) -> float:
    """Give the milliseconds in which this machine reads a byte for each number of so many templates."""
    bytes_of_all = np.ones(count * DIMENSION // 8, np.int64)
    away = np.ones(1 << 27, np.int8)  # what a processor's cache would keep between two rounds
    return lab.cpu_milliseconds(bytes_of_all.sum, away.sum)[0]


def weight(count: int) -> float:
    """Give the MB of a process of its own that searches so many templates."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "templates.f32"
        faces(count, seed=0).tofile(path)
        command = [sys.executable, __file__, "--searching", str(path)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searching", type=Path, help=argparse.SUPPRESS)
    if path := parser.parse_args().searching:
        searching(path)
        return
    short, _ = measure(SHORT)
    long, track = measure(LONG)
    lab.table(
        "exact search of the watchlist, one thread",
        [
            (f"{SHORT:,} templates, a probe", short, "ms", 0.3, False),
            (f"{LONG:,} templates, a probe", long, "ms", 12, False),
            (f"{LONG:,} templates, each of {TRACK} probes", track, "ms", 12, False),
            (f"{LONG:,} templates, resident memory", weight(LONG), "MB", 700, False),
        ],
        to_read_a_byte_a_number=f"{reading(LONG):.1f} ms",
    )


if __name__ == "__main__":
    main()
