"""What the registry decides, pure: where a camera goes and whether a photo may be enrolled."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from aegis.contracts.messages import AddCamera, CameraRecord, EntryRecord, SiteRecord
from aegis.contracts.subjects import PARTITIONS
from aegis.vision.faces import Face

MIN_INTEROCULAR = 16.0
"""Pixels between the eyes below which a face says too little to be looked for."""
BYSTANDER = 0.4
"""A second face at least this share of the largest one's size makes it unclear who is meant."""
POOR_QUALITY = 0.45


class EnrolmentError(ValueError):
    """A photo that cannot be enrolled, and what to do."""


def least_used(taken: Iterable[int]) -> int:
    """Give the partition with the fewest cameras, the lowest of several."""
    used = Counter(taken)
    return min(range(PARTITIONS), key=lambda partition: (used[partition], partition))


def camera_key(record: CameraRecord) -> str:
    """Give the key of a camera: its partition stands outside the seal, for those who must share the work."""
    return f"{record.partition}.{record.id}"


def place_camera(added: AddCamera, known: Mapping[str, CameraRecord], origin: str) -> CameraRecord:
    """Make the record of a camera; one that is known keeps its partition."""
    old = known.get(added.camera)
    return CameraRecord(
        id=added.camera,
        partition=old.partition if old else least_used(record.partition for record in known.values()),
        url=added.url,
        name=added.name or added.camera,
        fps=added.fps,
        loop=added.loop,
        transport=added.transport,
        token=added.token,
        origin=origin,
    )


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What has to change so that the cameras are those of the site file, besides those that people added."""

    write: tuple[CameraRecord, ...]
    remove: tuple[CameraRecord, ...]


def plan_cameras(wanted: Sequence[AddCamera], known: Mapping[str, CameraRecord]) -> SitePlan:
    """Compare the site file's cameras with what is there."""
    seen = dict(known)
    write = []
    for camera in wanted:
        record = place_camera(camera, seen, "site")
        if seen.get(record.id) != record:
            write.append(record)
        seen[record.id] = record
    names = {camera.camera for camera in wanted}
    remove = tuple(record for record in known.values() if record.origin == "site" and record.id not in names)
    return SitePlan(write=tuple(write), remove=remove)


def merge_site(wanted: SiteRecord, known: SiteRecord | None) -> SiteRecord:
    """Take the site file's record; a state that people set later in the same run stays."""
    if known is None or not wanted.run or known.run != wanted.run:
        return wanted
    return SiteRecord(
        id=wanted.id,
        name=wanted.name,
        kind=wanted.kind,
        jurisdiction=wanted.jurisdiction,
        state=known.state,
        run=wanted.run,
        categories=wanted.categories,
    )


def choose_face(faces: Sequence[Face], photo: str) -> tuple[Face, list[Face]]:
    """Give the face that a photo is of, and the smaller ones beside it.

    Raises:
        EnrolmentError: there is none, there are several of similar size, or it is too small.

    """
    if not faces:
        raise EnrolmentError(f"{photo}: no face was found; give a photo in which the face is upright, sharp and lit")
    ordered = sorted(faces, key=lambda face: -face.box[2] * face.box[3])
    largest = ordered[0]
    rivals = [face for face in ordered[1:] if face.box[2] >= BYSTANDER * largest.box[2]]
    if rivals:
        raise EnrolmentError(f"{photo}: {1 + len(rivals)} faces were found; crop it to the one person who is meant")
    if largest.interocular < MIN_INTEROCULAR:
        raise EnrolmentError(
            f"{photo}: the face is too small ({largest.interocular:.0f} pixels between the eyes, "
            f"at least {MIN_INTEROCULAR:.0f} are needed); give a larger photo"
        )
    return largest, ordered[1:]


def listed_camera(record: CameraRecord) -> dict[str, Any]:
    """Show a camera without what is secret in its address."""
    parts = urlsplit(record.url)
    shown = record.url
    if parts.netloc:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    listed = {key: value for key, value in asdict(record).items() if key not in ("token", "url")}
    return {**listed, "url": shown}


def listed_entry(entry: EntryRecord) -> dict[str, Any]:
    """Show an entry of the watchlist without its templates."""
    return {
        "id": entry.id,
        "name": entry.name,
        "category": entry.category,
        "photos": len(entry.templates),
        "added_at": entry.added_at,
        "embedder": entry.embedder,
    }
