"""Accuracy in ten folds on 6,000 pairs of LFW, half of them of one person, beside OpenCV's own recogniser.

Both see the same photos in the same run; the pairs are drawn by a seed, and no person is in two folds.

    python benchmarks/accuracy.py [FOLDER]
"""

import argparse
import sys
from pathlib import Path

import lab
from tests.integration.evaluation.opencv import accuracies

from aegis.cli.evaluation import photos
from aegis.cli.evaluation.command import prepare
from aegis.cli.state import models_dir
from aegis.runtime.progress import progress_bar

PAIRS, SEED = 6000, 1
POINTS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=lab.data() / "lfw", help="PERSON/PHOTO")
    extractor = prepare()
    listed, _ = photos.listed(parser.parse_args().folder)
    bar = progress_bar(sys.stderr, lambda number: f"{number:,} photos")
    found = photos.extract(listed, extractor, f"looking at {len(listed):,} photos", bar)
    print("the same photos once more, by OpenCV", file=sys.stderr)
    ours, theirs = accuracies(found, models_dir(), PAIRS, SEED)
    lab.table(
        "Verification in ten folds",
        [("points below OpenCV", 100 * (theirs.mean - ours.mean), "points", POINTS, False)],
        aegis=f"{100 * ours.mean:.2f} %, standard deviation {100 * ours.deviation:.2f} points",
        opencv=f"{100 * theirs.mean:.2f} %, standard deviation {100 * theirs.deviation:.2f} points",
        pairs=ours.errors.trials,
    )


if __name__ == "__main__":
    main()
