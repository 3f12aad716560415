"""From a folder of photos to vectors, by the same steps as the watchlist's photos and a camera's frames. Blocking."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.cli.errors import CommandError
from aegis.cli.state import models_dir
from aegis.runtime.enrolment import EnrolmentError, Extractor, merged, read_photo, views
from aegis.runtime.faces import FRAME_WIDTH, TRACKED
from aegis.runtime.inference import MAX_EMBED_BATCH
from aegis.runtime.models import ModelError
from aegis.runtime.progress import Progress
from aegis.vision.alignment import align
from aegis.vision.faces import Face
from aegis.vision.quality import assess
from aegis.vision.scoring import Look

EMBEDDER = "sface-2021dec"
"""What a site uses that names none."""
SUFFIXES = (".jpg", ".jpeg", ".png")
PHOTO, PERSON = "photo", "person"
"""Columns of a CSV that are no groups: the photo's path and, where folders do not say it, whom it shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A photo before it is opened."""

    path: Path
    person: str
    """Whom it shows; a photo that nothing says it of is a person of its own."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Column to value, for every column in which the photo has one."""
    in_csv: bool = False
    """Whether a line of a CSV names it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photo:
    """What the product makes of a photo, once as a photo to enrol and once as a camera's frame."""

    listed: Listed
    template: NDArray[np.float32] | None = None
    """(D,) as `aegis watchlist add` would enrol it."""
    refusal: str = ""
    """Why it would not."""
    looks: tuple[Look, ...] = ()
    """Every face that detect would have sent on, the one that the photo is of first."""
    flaws: tuple[str, ...] = ()
    """Why detect refuses each of the other faces that it finds."""


def listed(folder: Path, groups: Path | None = None) -> tuple[list[Listed], list[str]]:
    """List the photos of a folder ``<person>/<photo>``, or flat, or of a CSV alone; and say what is wrong with some.

    Raises:
        CommandError: there is no photo, or a file that cannot be read.

    """
    if folder.is_file():
        if _is_photo(folder):
            raise CommandError(f"{folder} is a photo; give the folder that it is in, or a CSV")
        folder, groups, photos = folder.parent, folder, []
    else:
        photos = _in_folder(folder)
    problems: list[str] = []
    if groups:
        photos = _with_rows(photos, groups, folder, problems)
    if not photos:
        raise _no_photo(folder)
    return photos, problems


def _with_rows(photos: Sequence[Listed], groups: Path, folder: Path, problems: list[str]) -> list[Listed]:
    """Add what a CSV says of the photos, and those that it names besides."""
    known = {photo.path: photo for photo in photos}
    rows = _rows(groups)
    for row in rows:
        if photo := _of_row(row, folder, known, problems):
            known[photo.path] = photo
    if rows and len(problems) == len(rows):
        to = f"the folder {folder}" if photos else "the CSV"
        raise CommandError(
            f"none of the {len(rows):,} photos that {groups} names is there; the paths are relative to {to}"
        )
    return list(known.values())


def _no_photo(folder: Path) -> CommandError:
    """Say where the photos are, or how they should lie."""
    deep = next((path for path in folder.glob("*/*/*") if _is_photo(path)), None)
    if deep:
        return CommandError(f"there is no photo in {folder}; photos are one folder deeper: {deep.parent.parent}")
    return CommandError(f"there is no photo in {folder}; it holds PERSON/PHOTO, as JPEG or PNG files")


def open_models() -> Extractor:
    """Open the models that the site's environment names, as its registry does.

    Raises:
        CommandError: one cannot be opened.

    """
    cards = os.environ.get("AEGIS_MODEL_CARDS_DIR")
    embedder, provider = os.environ.get("AEGIS_EMBEDDER", EMBEDDER), os.environ.get("AEGIS_PROVIDER", "auto")
    try:
        return Extractor(models_dir(), Path(cards) if cards else None, embedder, provider)
    except ModelError as error:
        raise CommandError(str(error), 2) from None


def extract(photos: Sequence[Listed], extractor: Extractor, label: str, progress: Progress) -> list[Photo]:
    """Find, judge and embed the faces of every photo; one that cannot be opened is refused like no picture."""
    done = []
    for number, photo in enumerate(photos):
        progress(label, number, len(photos))
        done.append(_extracted(photo, extractor))
    progress(label, len(photos), len(photos))
    return done


def templates(photos: Iterable[Photo]) -> dict[str, NDArray[np.float32]]:
    """Give each person's template (D,), of the first photo that can be enrolled."""
    found: dict[str, NDArray[np.float32]] = {}
    for photo in photos:
        if photo.template is not None:
            found.setdefault(photo.listed.person, photo.template)
    return found


def complaints(photos: Sequence[Photo]) -> list[str]:
    """Name the photos in which nothing was found and the people of whom nothing can be used."""
    unread = [f"{photo.listed.path}: cannot be read as a picture" for photo in photos if photo.refusal == "no picture"]
    total = Counter(photo.listed.person for photo in photos)
    useless = Counter(photo.listed.person for photo in photos if photo.template is None and not photo.looks)
    absent = [f"{person}: no usable face in any photo" for person, count in useless.items() if count == total[person]]
    return unread + absent


def _in_folder(folder: Path) -> list[Listed]:
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder}")
    paths = sorted(path for depth in ("*", "*/*") for path in folder.glob(depth) if _is_photo(path))
    of = {path: path if path.parent == folder else path.parent for path in paths}
    return [Listed(path=path, person=str(person.relative_to(folder))) for path, person in of.items()]


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        raise CommandError(f"there is no file {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="", restkey="")
            rows = [{(key or "").strip(): str(value).strip() for key, value in row.items()} for row in reader]
            columns = [name.strip() for name in reader.fieldnames or ()]
    except UnicodeDecodeError:
        raise CommandError(f"{file}: is no folder, and no CSV file in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise CommandError(f"{file}: cannot be read as a CSV file: {error}") from None
    if PHOTO not in columns or len(columns) != len(set(columns)):
        raise CommandError(f"{file}: its first line must name the columns, each once and one of them {PHOTO!r}")
    return rows


def _of_row(row: Mapping[str, str], folder: Path, known: Mapping[Path, Listed], problems: list[str]) -> Listed | None:
    path = folder / row[PHOTO]
    if path not in known and not (row[PHOTO] and path.is_file()):
        problems.append(f"{row[PHOTO] or 'a line without a photo'}: the CSV names it and it is not there")
        return None
    photo = known.get(path) or Listed(path=path, person=row[PHOTO])
    values = {name: value for name, value in row.items() if name not in (PHOTO, PERSON, "") and value}
    return replace(photo, person=row.get(PERSON) or photo.person, groups=values, in_csv=True)


def _extracted(photo: Listed, extractor: Extractor) -> Photo:
    name = photo.path.name
    try:
        image = read_photo(photo.path.read_bytes(), name)
    except (EnrolmentError, OSError):
        return Photo(listed=photo, refusal="no picture")
    chips, weights, flaws = _usable(image, extractor)
    refusal = ""
    enrolled: tuple[NDArray[np.uint8], ...] = ()
    try:
        enrolled = views(extractor.portrait(image, name).chip)
    except EnrolmentError as error:
        refusal = error.reason
    # The face to enrol is usually one of those in the frame, to the pixel.
    distinct = {chip.tobytes(): chip for chip in (*chips, *enrolled)}
    vectors = dict(zip(distinct, _embed(list(distinct.values()), extractor), strict=True))
    return Photo(
        listed=photo,
        template=merged(np.stack([vectors[view.tobytes()] for view in enrolled])) if enrolled else None,
        refusal=refusal,
        looks=tuple(
            Look(vector=vectors[chip.tobytes()], weight=weight) for chip, weight in zip(chips, weights, strict=True)
        ),
        flaws=flaws,
    )


def _usable(
    image: NDArray[np.uint8], extractor: Extractor
) -> tuple[list[NDArray[np.uint8]], list[float], tuple[str, ...]]:
    """Look at an image as at a camera's frame: chips and weights of the usable faces, flaws of the others."""
    chips, weights, flaws = [], [], []
    middle = image.shape[1] / 2, image.shape[0] / 2
    found = extractor.search(image, FRAME_WIDTH, TRACKED)
    for face in sorted(found, key=lambda face: -_meant(face, middle)):
        try:
            chip = align(image, face.landmarks)
        except ValueError:
            flaws.append("landmarks")
            continue
        quality = assess(face, chip, image.shape)
        if quality.flaw:
            flaws.append(quality.flaw)
        else:
            chips.append(chip)
            weights.append(quality.score)
    return chips, weights, tuple(flaws)


def _meant(face: Face, middle: tuple[float, float]) -> float:
    """How likely a photo is labelled with this face: large, and near the middle.

    Source: the alignment script of Sandberg's FaceNet, as InsightFace took it over.
    """
    return face.box[2] * face.box[3] - 2 * math.dist(face.centre, middle) ** 2


def _embed(chips: Sequence[NDArray[np.uint8]], extractor: Extractor) -> list[NDArray[np.float32]]:
    batches = (chips[start : start + MAX_EMBED_BATCH] for start in range(0, len(chips), MAX_EMBED_BATCH))
    return [vector for batch in batches for vector in extractor.embed(batch)]
