"""What exists on the bus and who may do what there: one declaration for the embedded bus and for a cluster.

An ephemeral reader of a bucket or stream needs the right to make a consumer on it; nobody but ``admin`` may declare,
change or purge a stream.
"""

from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from aegis.contracts import subjects
from aegis.contracts.subjects import PREFIX
from aegis.runtime.bus import Bus
from aegis.runtime.leases import TIME_TO_LIVE

DAY = 86_400.0
RETENTION = 30 * DAY
"""How long an alert, its pictures and its deliveries are kept."""
LOOK_SECONDS = 5.0
"""A look or a vector that waited longer is worthless."""
SHADOW_RETENTION = 14 * DAY
"""How long what would have been alerts is kept: two weeks show whether a rate per week holds."""
QUEUE_BYTES = 256 * 2**20
TEXT_BYTES = 64 * 2**20


def _queue(name: str, subject: str) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=[subject],
        storage=StorageType.MEMORY,
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.OLD,
        max_age=LOOK_SECONDS,
        max_msgs_per_subject=4,
        max_bytes=QUEUE_BYTES,
        duplicate_window=LOOK_SECONDS,
    )


def _story(name: str, subject: str, age: float = RETENTION, size: int = -1) -> StreamConfig:
    return StreamConfig(name=name, subjects=[subject], max_age=age, max_bytes=size, allow_direct=True)


def _bucket(name: str, age: float = 0) -> StreamConfig:
    return StreamConfig(
        name=f"KV_{name}",
        subjects=[f"$KV.{name}.>"],
        max_msgs_per_subject=1,
        discard=DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_direct=True,
        max_age=age,
        duplicate_window=min(age, 120) if age else 120,
    )


STREAMS = (
    _queue(subjects.FACES, subjects.face_detected("*", "*")),
    _queue(subjects.VECTORS, subjects.face_embedded("*", "*")),
    _story(subjects.ALERTS, f"{PREFIX}.alert.>"),
    _story(subjects.SHADOW, f"{PREFIX}.shadow.>", age=SHADOW_RETENTION, size=TEXT_BYTES),
    _story(subjects.CAMERAS, f"{PREFIX}.camera.>", age=7 * DAY, size=TEXT_BYTES),
    _story(subjects.DELIVERIES, f"{PREFIX}.delivery.>"),
    _story(subjects.DEAD, f"{PREFIX}.dead.>", age=7 * DAY, size=TEXT_BYTES),
    _bucket("leases", TIME_TO_LIVE),
    _bucket("policy"),
    _bucket("cameras"),
    _bucket("watchlist"),
    _bucket("photos"),
    _bucket("cohort"),
    _bucket("impostors"),
    _bucket("evidence", RETENTION),
)

REGISTERED = ("cameras", "watchlist", "photos", "cohort", "impostors")
"""Buckets that the registry writes, besides the policy, which every service may read; match alone adds to impostors."""


@dataclass(frozen=True, slots=True)
class Role:
    """What the holder of a key may publish and subscribe to, besides its own inbox."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _reads(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.API.DIRECT.GET.{stream}.>",
    )


def _takes(stream: str) -> tuple[str, ...]:
    return (*_reads(stream), f"$JS.API.CONSUMER.INFO.{stream}.>", f"$JS.ACK.{stream}.>")


def _leases(kind: str) -> tuple[str, ...]:
    return (*_reads("KV_leases"), f"$KV.leases.{kind}.>", f"$KV.leases.member.{kind}.>")


def _service(name: str, publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> Role:
    return Role(
        publish=(*publish, *_reads("KV_policy"), subjects.dead(name)),
        subscribe=(*subscribe, subjects.STATUS),
    )


ROLES: dict[str, Role] = {
    "ingest": _service(
        "ingest",
        (
            subjects.frame_captured("*", "*"),
            subjects.camera("*", "*"),
            *_leases("ingest"),
            *_reads("KV_cameras"),
            *_reads(subjects.CAMERAS),
        ),
    ),
    "detect": _service(
        "detect",
        (subjects.face_detected("*", "*"), *_leases("detect"), *_reads("KV_cameras")),
        (subjects.frame_captured("*", "*"), subjects.look_requested("*", "*")),
    ),
    "embed": _service("embed", (subjects.face_embedded("*", "*"), *_takes(subjects.FACES))),
    "match": _service(
        "match",
        (
            subjects.alert("*", "*", "*"),
            subjects.shadow("*", "*", "*"),
            subjects.look_requested("*", "*"),
            *_leases("match"),
            *_takes(subjects.VECTORS),
            *_reads(subjects.ALERTS),
            *_reads(subjects.SHADOW),
            *_reads("KV_cameras"),
            *_reads("KV_watchlist"),
            *_reads("KV_cohort"),
            *_reads("KV_impostors"),
            "$KV.impostors.>",
            "$KV.evidence.>",
        ),
    ),
    "notify": _service(
        "notify",
        (
            subjects.delivery("*", "*", "*"),
            *_takes(subjects.ALERTS),
            *_reads(subjects.DELIVERIES),
            *_reads("KV_evidence"),
            *_reads("KV_watchlist"),
            *_reads("KV_photos"),
        ),
    ),
    "registry": _service(
        "registry",
        (
            *_leases("registry"),
            *(right for bucket in (*REGISTERED, "evidence") for right in _reads(f"KV_{bucket}")),
            *(f"$KV.{bucket}.>" for bucket in ("policy", *REGISTERED)),
        ),
        (subjects.registry("*"),),
    ),
    "operator": Role(
        publish=(
            subjects.registry("*"),
            subjects.STATUS,
            *_reads(subjects.ALERTS),
            *_reads(subjects.SHADOW),
            *_reads(subjects.CAMERAS),
            *_reads("KV_policy"),
        ),
        subscribe=(),
    ),
    "integrator": Role(
        publish=(*_reads(subjects.ALERTS), *_reads(subjects.CAMERAS)),
        subscribe=(subjects.alert("*", "*", "*"), subjects.camera("*", "*")),
    ),
    "admin": Role(publish=(">",), subscribe=(">",)),
}


def inbox(role: str) -> str:
    """Give the prefix of a role's inbox; nobody else may listen there."""
    return f"_INBOX_{role}"


async def declare(bus: Bus) -> None:
    """Make every stream and bucket as declared, or bring it there; needs the ``admin`` role."""
    jetstream = bus.client.jetstream(timeout=5)
    for stream in STREAMS:
        try:
            await jetstream.add_stream(stream)
        except nats.js.errors.BadRequestError:
            await jetstream.update_stream(stream)


def server_permissions() -> dict[str, dict[str, object]]:
    """Give each role's permissions as nats-server's configuration writes them."""
    return {
        name: {
            "publish": {"allow": list(role.publish)},
            "subscribe": {"allow": [*role.subscribe, f"{inbox(name)}.>"]},
            "allow_responses": {"max": 1, "expires": "10s"},
        }
        for name, role in ROLES.items()
    }
