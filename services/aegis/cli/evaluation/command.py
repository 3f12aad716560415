"""``aegis evaluate``: measure error rates on a folder of photos and write a report for people and one for programs."""

import argparse
import dataclasses
import datetime as dt
import importlib.metadata
import importlib.util
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from aegis.cli.errors import CommandError
from aegis.cli.evaluation import figures, photos, words
from aegis.cli.evaluation.figures import Figures
from aegis.cli.evaluation.words import NAMED
from aegis.runtime.enrolment import Extractor
from aegis.runtime.progress import progress_bar
from aegis.vision.error_rates import Rate

NEEDED = ("matplotlib", "scipy")


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure, and write ``report.html`` and ``report.json``.

    Raises:
        CommandError: naming what is missing or cannot be read.

    """
    _can_hold_a_report(arguments.out)
    extractor = prepare()
    listed, problems = photos.listed(arguments.folder, arguments.groups)
    only = _only(arguments.enrol, listed)
    cohort = photos.listed(arguments.cohort)[0] if arguments.cohort else None
    bar = progress_bar(sys.stderr, lambda number: f"{number:,} photos")
    found = photos.extract(listed, extractor, f"looking at {len(listed):,} photos", bar)
    given = (
        photos.extract(cohort, extractor, f"looking at {len(cohort):,} photos of the cohort", bar) if cohort else None
    )
    _name_problems(problems + photos.complaints(found))
    draws = progress_bar(sys.stderr, lambda number: f"{number} draws")
    computed, doubtful = figures.compute(
        found, size=arguments.gallery, only=only, given=given, seed=arguments.seed, progress=draws
    )
    _name_doubtful(doubtful)
    for text in (*_without_line(listed, arguments), *words.notes(computed)):
        print(f"note: {text}", file=sys.stderr)
    written = write(computed, _method(arguments, extractor), arguments.out)
    for text in words.summary(computed):
        print(text)
    print(f"report: {written}")


def prepare() -> Extractor:
    """Open the models that the site runs.

    Raises:
        CommandError: something is not installed, or a model cannot be opened.

    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"an evaluation needs {' and '.join(missing)}; run: pip install 'aegis-watch[evaluation]'")
    return photos.open_models()


def write(computed: Figures, method: Mapping[str, object], out: Path) -> Path:
    """Write both reports, or neither; gives the path of the one for people.

    Raises:
        CommandError: they cannot be written.

    """
    # matplotlib takes a second to import, which no other command should pay.
    from aegis.cli.evaluation import report  # noqa: PLC0415

    contents = {
        "report.json": json.dumps({"method": method, "figures": _plain(computed)}, indent=1, ensure_ascii=False),
        "report.html": report.page(computed, method),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".report-") as work:
            for name, text in contents.items():
                (Path(work) / name).write_text(text, encoding="utf-8")
            for name in contents:
                (Path(work) / name).replace(out / name)
    except OSError as error:
        raise CommandError(f"the report cannot be written to {out}: {error.strerror or error}") from None
    return out / "report.html"


def _can_hold_a_report(out: Path) -> None:
    """Refuse what is no folder before minutes of computing."""
    there = next((path for path in (out, *out.parents) if path.exists()), out)
    if there.exists() and not there.is_dir():
        raise CommandError(f"the report cannot be written to {out}: {there} is a file")


def _only(wanted: str | None, listed: Sequence[photos.Listed]) -> tuple[str, str] | None:
    if not wanted:
        return None
    column, _, value = wanted.partition("=")
    if not any(photo.in_csv for photo in listed):
        raise CommandError(f"--enrol {wanted}: give the CSV that says so with --groups")
    if not any(photo.groups.get(column) == value for photo in listed):
        raise CommandError(f"--enrol {wanted}: no photo has {value!r} in a column {column!r}")
    return column, value


def _without_line(listed: Sequence[photos.Listed], arguments: argparse.Namespace) -> list[str]:
    """Count the photos of a folder that its CSV does not name."""
    count = sum(not photo.in_csv for photo in listed)
    return (
        [f"{count:,} of {len(listed):,} photos have no line in {arguments.groups}"]
        if arguments.groups and count
        else []
    )


def _name_problems(problems: Sequence[str]) -> None:
    for text in problems[:NAMED]:
        print(f"left out: {text}", file=sys.stderr)
    if len(problems) > NAMED:
        print(f"left out: {len(problems) - NAMED:,} more", file=sys.stderr)


def _name_doubtful(doubtful: Sequence[str]) -> None:
    if not doubtful:
        return
    print(
        f"{len(doubtful):,} pairs of people look like one person under two names, and count as errors of the system;"
        f" a CSV's column {photos.PERSON!r} can say who is who:",
        file=sys.stderr,
    )
    for text in doubtful[:NAMED]:
        print(f"  {text}", file=sys.stderr)


def _method(arguments: argparse.Namespace, extractor: Extractor) -> dict[str, object]:
    """Give the facts of this run; nothing that names a person or this machine."""
    models = {model.card.id: model for model in (extractor.detector, extractor.embedder)}
    return {
        "Date": dt.datetime.now(dt.UTC).date().isoformat(),
        "Seed": arguments.seed,
        "Gallery asked for": arguments.gallery,
        **{f"Model {name}": f"{model.card.sha256}, on {model.provider}" for name, model in models.items()},
        "Template version": extractor.card.template_version,
        "Versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}"
            for name in ("aegis-watch", "onnxruntime", "opencv-python-headless", "numpy", "scipy")
        )
        + f", Python {platform.python_version()}",
        "Machine": f"{platform.system()} {platform.machine()}, {_processor()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _plain(value: object) -> object:
    """Give a figure as JSON has it; a rate with everything that follows from it."""
    if isinstance(value, Rate):
        low, high = value.interval
        return {
            "rate": value.value,
            "errors": value.errors,
            "trials": value.trials,
            "low": low,
            "high": high,
            "expected": value.expected,
            "supported": value.supported,
        }
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
