"""What the registry decides, pure: where a camera goes, what the site file changes, what is shown."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import AddCamera, CameraRecord, Category, CohortRecord, EntryRecord, SiteRecord, SiteState
from aegis.contracts.subjects import EDGE_PARTITIONS, MOST_EDGES, PARTITIONS

SAME_PERSON = 0.6
"""From this cosine on two photos are taken for the same person's; strangers reach it about once in a million pairs."""

ROWS = 512
"""Templates that are compared with all others at a time, to bound memory."""


class RequestError(ValueError):
    """A request that cannot be done; its text is the answer."""


def least_used(taken: Iterable[int], among: Iterable[int] = range(PARTITIONS)) -> int:
    """Give the partition with the fewest cameras, the lowest of several."""
    used = Counter(taken)
    return min(among, key=lambda partition: (used[partition], partition))


def partition_for(edge: str, known: Iterable[CameraRecord]) -> int:
    """Give the partition for one more camera: an edge has partitions of its own, behind those of the centre."""
    records = list(known)
    if not edge:
        return least_used(record.partition for record in records)
    others = {record.partition for record in records if record.edge and record.edge != edge}
    if len({record.edge for record in records if record.edge} | {edge}) > MOST_EDGES:
        raise RequestError(f"there can be {MOST_EDGES} edges, and {edge!r} would be one more")
    blocks = (range(first, first + EDGE_PARTITIONS) for first in itertools.count(PARTITIONS, EDGE_PARTITIONS))
    own = next(block for block in blocks if not others & set(block))
    return least_used((record.partition for record in records), own)


def camera_key(record: CameraRecord) -> str:
    """Give the key of a camera: what those must know who share the work stands outside the seal."""
    return ".".join([str(record.partition), record.id, *([record.edge] if record.edge else [])])


def place_camera(added: AddCamera, known: Mapping[str, CameraRecord], origin: str) -> CameraRecord:
    """Make the record of a camera; one that is known keeps its partition, unless it went to another edge."""
    old = known.get(added.camera)
    stays = old is not None and old.edge == added.edge
    return CameraRecord(
        id=added.camera,
        partition=old.partition if old and stays else partition_for(added.edge, known.values()),
        url=added.url,
        name=added.name or added.camera,
        fps=added.fps,
        loop=added.loop,
        transport=added.transport,
        token=added.token,
        origin=origin,
        edge=added.edge,
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
    gone = [record for record in known.values() if record.origin == "site" and record.id not in names]
    moved = [record for record in known.values() if camera_key(record) != camera_key(seen[record.id])]
    return SitePlan(write=tuple(write), remove=(*gone, *moved))


def merge_site(wanted: SiteRecord, known: SiteRecord | None, now: float) -> SiteRecord:
    """Take the site file's record; a state that people set later in the same run stays."""
    if known is None:
        return replace(wanted, state_since=now)
    kept = replace(
        wanted,
        state=known.state,
        state_since=known.state_since,
        cohort=known.cohort,
        categories={
            name: _carried(category, known.categories.get(name)) for name, category in wanted.categories.items()
        },
    )
    same_run = bool(wanted.run) and known.run == wanted.run
    return kept if same_run else in_state(kept, wanted.state, now)


def _carried(wanted: Category, known: Category | None) -> Category:
    """Give a category of the site file; what was derived for it stays until it is derived anew."""
    if known is None or wanted.accepted is None or known.accepted is None:
        return wanted
    return replace(known, severity=wanted.severity, accepted=wanted.accepted, canary=wanted.canary)


def in_state(site: SiteRecord, state: SiteState, now: float) -> SiteRecord:
    """Give the site in a state that it has had since ``now``, or for longer where it already is in it."""
    return site if site.state is state else replace(site, state=state, state_since=now)


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


def namesakes(entry: EntryRecord, others: Iterable[EntryRecord]) -> list[str]:
    """Give the ids of the other entries of a name, however it is written in capitals."""
    return [other.id for other in others if other.id != entry.id and other.name.casefold() == entry.name.casefold()]


def listed_cohort(record: CohortRecord) -> dict[str, Any]:
    """Show a cohort without its templates."""
    return {"size": record.size, "embedder": record.embedder, "built_at": record.built_at}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """Whom of those that were offered a cohort takes, and how many it does not."""

    templates: NDArray[np.float32]
    """(M, D)."""
    listed: int
    """Left out because they resemble somebody of the watchlist as the same person would."""
    twice: int
    """Left out because they resemble one that is taken as the same person would."""


def choose_cohort(offered: NDArray[np.float32], listed: NDArray[np.float32]) -> Chosen:
    """Choose of templates (N, D) those of people who stand neither on the list, by its templates (T, D), nor twice."""
    strangers = offered[~resembling(offered, listed)]
    taken = np.zeros(len(strangers), bool)
    for start in range(0, len(strangers), ROWS):
        alike = strangers[start : start + ROWS] @ strangers.T >= SAME_PERSON
        for row, same in enumerate(alike):
            taken[start + row] = not (same & taken).any()
    return Chosen(
        templates=strangers[taken], listed=len(offered) - len(strangers), twice=len(strangers) - int(taken.sum())
    )


def resembling(templates: NDArray[np.float32], listed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which of the templates (N, D) resemble one of the list's (T, D) as the same person would, (N,)."""
    same = np.zeros(len(templates), bool)
    for start in range(0, len(listed), ROWS):
        same |= (templates @ listed[start : start + ROWS].T >= SAME_PERSON).any(axis=1)
    return same
