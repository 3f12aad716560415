"""What exists on the bus and who may do what there: one declaration for the embedded bus and for a cluster.

An ephemeral reader of a bucket or stream needs the right to make a consumer on it; nobody but ``admin`` may declare,
change or purge a stream. Integrators have an account of their own, with copies of the streams that are theirs to read:
whoever may ask JetStream for anything can have the answer sent to any subject of the same account.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import nats.errors
import nats.js.errors
from nats.js.api import (
    DiscardPolicy,
    ExternalStream,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)

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
SITE = "SITE"
PUBLIC = "PUBLIC"
"""The integrators' account: nothing in it leads back into ``SITE``."""
DECLARE_SECONDS = 10.0
"""How long making one stream may take: in a cluster its servers elect a leader for it first."""
MOST_READERS = 256
"""Consumers that integrators can have on a stream: each costs the bus memory and disk."""


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


def _forms(name: str, subject: str, age: float) -> StreamConfig:
    """Declare a stream of alerts in another form; a repeat is dropped even if its writer was away for long."""
    return StreamConfig(name=name, subjects=[subject], max_age=age, duplicate_window=DAY, allow_direct=True)


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
    _forms(subjects.CAP, f"{PREFIX}.cap.>", RETENTION),
    _forms(subjects.ONVIF, f"{PREFIX}.onvif.>", DAY),
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
    _bucket("users"),
    _bucket("votes", RETENTION),
)

PUBLISHED = (subjects.ALERTS, subjects.CAMERAS, subjects.CAP, subjects.ONVIF)
"""Streams of which integrators have copies."""

REGISTERED = ("cameras", "watchlist", "photos", "cohort", "impostors", "users", "votes")
"""Buckets that the registry writes, besides the policy, which every service may read; match alone adds to impostors."""


def declared(name: str) -> StreamConfig:
    """Give a stream by its name."""
    return next(stream for stream in STREAMS if stream.name == name)


def copy_of(stream: StreamConfig) -> StreamConfig:
    """Give the integrators' copy of a stream, which nobody can write to.

    What it has stored it tells under the same subject, so that who merely listens hears what was stored, once.
    """
    subject = (stream.subjects or [""])[0]
    return StreamConfig(
        name=stream.name,
        mirror=StreamSource(
            name=str(stream.name), external=ExternalStream(api=f"JS.{SITE}.API", deliver=f"aegis.copy.{stream.name}")
        ),
        republish=RePublish(src=subject, dest=subject),
        max_age=stream.max_age,
        max_bytes=stream.max_bytes,
        max_consumers=MOST_READERS,
        allow_direct=True,
    )


@dataclass(frozen=True, slots=True)
class Role:
    """What the holder of a key may publish and subscribe to in its account, besides its own inbox."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    account: str = SITE


def _reads(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.API.DIRECT.GET.{stream}.>",
    )


def _takes(stream: str) -> tuple[str, ...]:
    return (*_reads(stream), f"$JS.API.CONSUMER.INFO.{stream}.>", f"$JS.ACK.{stream}.>")


def _keeps(stream: str) -> tuple[str, ...]:
    """Give what it takes to have durable consumers of one's own on a copy."""
    return (
        *_takes(stream),
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
        f"$JS.API.CONSUMER.LIST.{stream}",
        f"$JS.API.CONSUMER.NAMES.{stream}",
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.FC.{stream}.>",
    )


def _leases(kind: str) -> tuple[str, ...]:
    return (*_reads("KV_leases"), f"$KV.leases.{kind}.>", f"$KV.leases.member.{kind}.>")


def _service(name: str, publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> Role:
    return Role(
        publish=(*publish, *_reads("KV_policy"), subjects.dead(name)),
        subscribe=(*subscribe, subjects.STATUS, subjects.TRACE_KEPT),
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
            subjects.TRACE_KEPT,
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
            subjects.alert("*", "*", "*"),
            subjects.delivery("*", "*", "*", "*"),
            f"{PREFIX}.cap.>",
            f"{PREFIX}.onvif.>",
            *_takes(subjects.ALERTS),
            *_takes(subjects.DELIVERIES),
            *_reads("KV_evidence"),
            *_reads("KV_watchlist"),
            *_reads("KV_photos"),
        ),
        (subjects.notify("*"),),
    ),
    "registry": _service(
        "registry",
        (
            *_leases("registry"),
            *(right for bucket in (*REGISTERED, "evidence") for right in _reads(f"KV_{bucket}")),
            *(f"$KV.{bucket}.>" for bucket in ("policy", *REGISTERED)),
            subjects.alert("*", "*", "*"),
            *_reads(subjects.ALERTS),
        ),
        (subjects.registry("*"),),
    ),
    "operator": Role(
        publish=(
            subjects.registry("*"),
            subjects.notify("*"),
            subjects.STATUS,
            *_reads(subjects.ALERTS),
            *_reads(subjects.SHADOW),
            *_reads(subjects.CAMERAS),
            *_reads("KV_policy"),
        ),
        subscribe=(),
    ),
    "integrator": Role(
        publish=("$JS.API.INFO", "$JS.API.STREAM.NAMES", *(right for name in PUBLISHED for right in _keeps(name))),
        subscribe=tuple(subject for name in PUBLISHED for subject in declared(name).subjects or ()),
        account=PUBLIC,
    ),
    "admin": Role(publish=(">",), subscribe=(">",)),
}


def mqtt_permissions() -> dict[str, object]:
    """Give what may be done over MQTT: to hear what is published, and nothing else.

    The ``#`` of MQTT also takes in the level above it, as a subject of its own.
    """
    heard = [subject for name in PUBLISHED for subject in declared(name).subjects or ()]
    above = [subject.removesuffix(".>") for subject in heard]
    return {"publish": {"deny": [">"]}, "subscribe": {"allow": [*heard, *above]}}


def inbox(role: str) -> str:
    """Give the prefix of a role's inbox; nobody else may listen there."""
    return f"_INBOX_{role}"


async def declare(bus: Bus, replicas: int = 1) -> None:
    """Make every stream, bucket and copy as declared, or bring it there; needs the ``admin`` role.

    ``replicas`` is on how many servers each is kept: 1, or 3 or 5 in a cluster of as many.
    """
    ours = bus.client.jetstream(timeout=DECLARE_SECONDS)
    theirs = bus.client.jetstream(timeout=DECLARE_SECONDS, prefix=f"JS.{PUBLIC}.API")
    for jetstream, streams in ((ours, STREAMS), (theirs, tuple(copy_of(declared(name)) for name in PUBLISHED))):
        for stream in (replace(stream, num_replicas=replicas) for stream in streams):
            try:
                await jetstream.add_stream(stream)
            except nats.js.errors.BadRequestError:
                await jetstream.update_stream(stream)


def server_accounts(nkeys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Give each account as nats-server's configuration writes it; ``nkeys`` are the public keys of the roles.

    ``PUBLIC`` may have ``SITE`` send it the streams that it copies; ``SITE`` may declare the copies. Nothing else
    passes.
    """
    copied = [f"$JS.API.CONSUMER.CREATE.{name}" for name in PUBLISHED]
    flow = [f"$JS.FC.{name}.>" for name in PUBLISHED]
    sent = [f"aegis.copy.{name}.>" for name in PUBLISHED]
    makes = [f"$JS.API.STREAM.{verb}.{name}" for name in PUBLISHED for verb in ("CREATE", "UPDATE")]
    return {
        SITE: {
            "users": _users(SITE, nkeys),
            "jetstream": "enabled",
            "exports": [
                *({"service": subject, "accounts": [PUBLIC]} for subject in (*copied, *flow)),
                *({"stream": subject, "accounts": [PUBLIC]} for subject in sent),
            ],
            "imports": [_service_import(PUBLIC, subject) for subject in makes],
        },
        PUBLIC: {
            "users": _users(PUBLIC, nkeys),
            "jetstream": "enabled",
            "exports": [{"service": subject, "accounts": [SITE]} for subject in makes],
            "imports": [
                *(_service_import(SITE, subject) for subject in copied),
                *({"service": {"account": SITE, "subject": subject}} for subject in flow),
                *({"stream": {"account": SITE, "subject": subject}} for subject in sent),
            ],
        },
    }


def _service_import(account: str, subject: str) -> dict[str, object]:
    """Import a request to an account's JetStream under a name that says whose it is."""
    return {"service": {"account": account, "subject": subject}, "to": subject.replace("$JS.", f"JS.{account}.", 1)}


def _users(account: str, nkeys: Mapping[str, str]) -> list[dict[str, object]]:
    permissions = server_permissions()
    own = [name for name, role in ROLES.items() if role.account == account]
    return [{"nkey": nkeys[name], "permissions": permissions[name]} for name in own]


def server_permissions() -> dict[str, dict[str, Any]]:
    """Give each role's permissions as nats-server's configuration writes them."""
    return {
        name: {
            "publish": {"allow": list(role.publish)},
            "subscribe": {"allow": [*role.subscribe, f"{inbox(name)}.>"]},
            "allow_responses": {"max": 1, "expires": "10s"},
        }
        for name, role in ROLES.items()
    }


def key_variable(role: str) -> str:
    """Give the environment variable that tells a cluster's bus the public key of a role."""
    return f"AEGIS_NKEY_{role.upper()}"
