"""Who may do what on the bus: each role does its work with its key, and is refused everybody else's."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from tests.bus import Server, until

from aegis.contracts import subjects
from aegis.runtime import status, tasks, topology
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import Bus, BusUnavailableError, Msg
from aegis.runtime.consumers import consume
from aegis.runtime.leases import Leases

SERVICES = ("ingest", "detect", "embed", "match", "notify", "registry")
LIMITED = (*SERVICES, "operator", "integrator")

FRAME = "aegis.v1.frame.captured.3.lobby"
FACE = "aegis.v1.face.detected.3.lobby"
VECTOR = "aegis.v1.face.embedded.3.lobby"
LOOK = "aegis.v1.look.requested.3.lobby"
ALERT = "aegis.v1.alert.north.barred.somebody"
SHADOW = "aegis.v1.shadow.north.barred.somebody"
CAMERA = "aegis.v1.camera.north.lobby"
DELIVERY = "aegis.v1.delivery.email.a1.e1.r1"
CAP = "aegis.v1.cap.north.barred.somebody"
ONVIF = "aegis.v1.onvif.north.onvif-ej.RuleEngine.Recognition.Face.&lobby.barred"
REQUEST = "aegis.v1.registry.add-entry"
ASK_NOTIFY = "aegis.v1.notify.test"

# Written out and not taken from the declaration, so that a right that it grants by mistake is found.
PUBLISHES = {
    "ingest": {FRAME, CAMERA, "aegis.v1.dead.ingest", "$KV.leases.ingest.lobby", "$KV.leases.member.ingest.0"},
    "detect": {FACE, "aegis.v1.dead.detect", "$KV.leases.detect.p3", "$KV.leases.member.detect.0"},
    "embed": {VECTOR, "aegis.v1.dead.embed"},
    "match": {
        ALERT,
        SHADOW,
        LOOK,
        "aegis.v1.dead.match",
        "$KV.leases.match.p3",
        "$KV.leases.member.match.0",
        "$KV.evidence.a1",
        "$KV.impostors.p1",
    },
    "notify": {DELIVERY, ALERT, CAP, ONVIF, "aegis.v1.dead.notify"},
    "registry": {
        "aegis.v1.dead.registry",
        "$KV.leases.registry.leader",
        "$KV.leases.member.registry.0",
        "$KV.policy.site",
        "$KV.cameras.3.lobby",
        "$KV.watchlist.p1",
        "$KV.photos.p1",
        "$KV.cohort.c1.0",
        "$KV.impostors.p1",
        "$KV.users.u1",
        "$KV.votes.a1.u1.confirm",
        ALERT,
    },
    "operator": {REQUEST, ASK_NOTIFY, "aegis.v1.status.requested"},
    "integrator": set[str](),
}
EVERY_SUBJECT = set().union(*PUBLISHES.values())
LISTENS = {
    "ingest": {subjects.STATUS},
    "detect": {subjects.STATUS, FRAME, LOOK},
    "embed": {subjects.STATUS},
    "match": {subjects.STATUS},
    "notify": {subjects.STATUS, ASK_NOTIFY},
    "registry": {subjects.STATUS, REQUEST},
    "operator": set[str](),
    "integrator": {ALERT, CAMERA, CAP, ONVIF},
}
READS = {
    "ingest": {"KV_policy", "KV_cameras", "KV_leases", "CAMERAS"},
    "detect": {"KV_policy", "KV_cameras", "KV_leases"},
    "embed": {"KV_policy", "FACES"},
    "match": {
        "KV_policy",
        "KV_cameras",
        "KV_leases",
        "KV_watchlist",
        "KV_cohort",
        "KV_impostors",
        "ALERTS",
        "SHADOW",
        "VECTORS",
    },
    "notify": {"KV_policy", "KV_evidence", "KV_watchlist", "KV_photos", "ALERTS", "DELIVERIES"},
    "registry": {
        "KV_policy",
        "KV_cameras",
        "KV_leases",
        "KV_watchlist",
        "KV_photos",
        "KV_evidence",
        "KV_cohort",
        "KV_impostors",
        "KV_users",
        "KV_votes",
        "ALERTS",
    },
    "operator": {"KV_policy", "ALERTS", "SHADOW", "CAMERAS"},
    "integrator": {"ALERTS", "CAMERAS", "CAP", "ONVIF"},
}
OWNS = {"integrator": READS["integrator"]}
"""Copies in an account of their own, on which consumers are theirs."""
STREAMS = {stream.name or "" for stream in topology.STREAMS}
READ_CALLS = ("CONSUMER.CREATE.{}.x", "CONSUMER.MSG.NEXT.{}.x", "DIRECT.GET.{}.a")
ADMIN_CALLS = (
    "STREAM.CREATE.{}",
    "STREAM.UPDATE.{}",
    "STREAM.DELETE.{}",
    "STREAM.PURGE.{}",
    "STREAM.MSG.DELETE.{}",
    "STREAM.MSG.GET.{}",
    "STREAM.SNAPSHOT.{}",
    "STREAM.RESTORE.{}",
    "STREAM.LEADER.STEPDOWN.{}",
    "CONSUMER.DELETE.{}.x",
    "CONSUMER.DURABLE.CREATE.{}.x",
)


def call(pattern: str, stream: str) -> str:
    return "$JS.API." + pattern.format(stream)


def forbidden(role: str) -> set[str]:
    """Give every subject on which a role must not publish: others' work, others' streams, and all administration."""
    reads = {call(pattern, stream) for pattern, stream in itertools.product(READ_CALLS, STREAMS - READS[role])}
    admin = {call(pattern, stream) for pattern, stream in itertools.product(ADMIN_CALLS, STREAMS)}
    admin -= {call("CONSUMER.DELETE.{}.x", stream) for stream in OWNS.get(role, ())}
    inboxes = {f"{topology.inbox(other)}.x" for other in topology.ROLES if other != role}
    others = {"$SYS.REQ.SERVER.PING", "anything", "aegis.v2.alert.x"}
    if role not in OWNS:
        others |= {"$JS.API.INFO", "$JS.API.STREAM.NAMES"}
    return (EVERY_SUBJECT - PUBLISHES[role]) | reads | admin | inboxes | others


def forbidden_to_hear(role: str) -> set[str]:
    inboxes = {f"{topology.inbox(other)}.>" for other in topology.ROLES if other != role}
    wide = {">", "*.>", "aegis.>", "aegis.v1.>", "$KV.>", "$JS.>", "_INBOX.>", "*.*.>", "$SYS.>"}
    return (EVERY_SUBJECT - LISTENS[role]) | inboxes | wide


@contextlib.asynccontextmanager
async def watched(server: Server, role: str) -> AsyncIterator[tuple[Bus, list[str]]]:
    """Connect in a role; the list fills with what the server refuses."""
    refused: list[str] = []
    async with server.connect(role) as bus:
        tell = bus.client._error_cb

        async def note(error: Exception) -> None:
            refused.append(str(error).lower())
            await tell(error)

        bus.client._error_cb = note
        yield bus, refused


async def nothing_refused(bus: Bus, refused: list[str]) -> None:
    """Refusals come when they come, so one that is sure to come is waited for."""
    await bus.client.publish("anything", b"")
    await until(lambda: bool(refused), "the last one is refused")
    assert len(refused) == 1, refused
    assert '"anything"' in refused[0]


@pytest.mark.parametrize("role", LIMITED)
async def test_a_role_is_refused_what_is_not_its_own(bus: Bus, server: Server, role: str) -> None:
    async with watched(server, role) as (mine, refused):
        for subject in forbidden(role):
            await mine.client.publish(subject, b"{}")
        for subject in forbidden_to_hear(role):
            await mine.client.subscribe(subject)

        def allowed() -> list[str]:
            text = "\n".join(refused)
            publish = {s for s in forbidden(role) if f'publish to "{s.lower()}"' not in text}
            hear = {s for s in forbidden_to_hear(role) if f'subscription to "{s.lower()}"' not in text}
            return sorted(publish | hear)

        with contextlib.suppress(AssertionError):
            await until(lambda: not allowed(), "all is refused", 5)
        assert allowed() == []
    info = {stream.config.name for stream in await bus.client.jetstream().streams_info()}
    assert info == STREAMS, "and nothing came of it"


@pytest.mark.parametrize("role", LIMITED)
async def test_a_role_may_do_its_own_work(bus: Bus, server: Server, role: str) -> None:
    async with watched(server, role) as (mine, refused):
        for subject in PUBLISHES[role]:
            await mine.client.publish(subject, b"")
        for subject in LISTENS[role]:
            await mine.client.subscribe(subject)
        for stream in READS[role]:
            if stream not in (subjects.FACES, subjects.VECTORS):
                assert await mine.last(stream, "no-such-subject") is None
            config = ConsumerConfig(name="reader", ack_policy=AckPolicy.EXPLICIT)
            async with consume(mine, stream, config) as consumer:
                await consumer.next(wait=2)
                assert consumer.remade == 1
        await nothing_refused(mine, refused)


def test_the_lists_of_these_tests_are_complete() -> None:
    assert set(LIMITED) == set(topology.ROLES) - {"admin"} == set(PUBLISHES) == set(LISTENS) == set(READS)


@pytest.mark.parametrize("kind", ["ingest", "detect", "match", "registry"])
async def test_who_holds_leases_can_take_and_give_them(bus: Bus, server: Server, kind: str) -> None:
    async with watched(server, kind) as (mine, refused):

        async def hold(_: object) -> None:
            await asyncio.Event().wait()

        leases = Leases(mine, kind, "0", hold)
        leases.want(("one",))
        task = asyncio.create_task(leases.run())
        await until(lambda: "one" in leases.held, "it is held")
        await tasks.end([task])
        assert await Bucket(bus, "leases").get(f"{kind}.one") is None
        await nothing_refused(mine, refused)


@pytest.mark.parametrize("role", SERVICES)
async def test_every_service_follows_the_policy_and_answers_the_operator(bus: Bus, server: Server, role: str) -> None:
    async with watched(server, role) as (mine, refused), server.connect("operator") as operator:

        async def answer(_: Msg) -> bytes:
            return b'{"service": "x", "replica": "0"}'

        await mine.serve(subjects.STATUS, answer)
        await mine.flush()
        assert await status.collect(operator, wait=5, enough=1) == [{"service": "x", "replica": "0"}]
        mirror = Mirror(mine, "policy", role)
        task = asyncio.create_task(mirror.run())
        await asyncio.wait_for(mirror.synced.wait(), 3)
        revision = await Bucket(bus, "policy").put("site", b"new")
        await asyncio.wait_for(mirror.reached(revision), 3)
        await tasks.end([task])
        await nothing_refused(mine, refused)


async def test_detect_answers_match_and_nobody_else_can(bus: Bus, server: Server) -> None:
    async with server.connect("detect") as detect, server.connect("match") as match:

        async def answer(_: Msg) -> bytes:
            return b"here"

        await detect.serve(subjects.look_requested("*", "*"), answer)
        await detect.flush()
        assert await match.request(LOOK, b"") == b"here"
    async with server.connect("embed") as embed:
        with pytest.raises(BusUnavailableError):
            await embed.request(LOOK, b"", patience=0.3)


async def test_a_work_is_taken_and_acknowledged(bus: Bus, server: Server) -> None:
    for role, stream, subject in (("embed", "FACES", FACE), ("match", "VECTORS", VECTOR), ("notify", "ALERTS", ALERT)):
        await bus.store(subject, b"work")
        config = ConsumerConfig(durable_name=role, ack_policy=AckPolicy.EXPLICIT, ack_wait=30)
        async with watched(server, role) as (mine, refused), consume(mine, stream, config) as consumer:
            messages: list[Msg] = []
            while not messages:
                messages = await consumer.next(wait=2)
            await messages[0].ack()
            await mine.flush()
            info = await bus.client.jetstream().consumer_info(stream, role)
            assert (info.num_ack_pending, info.num_pending) == (0, 0)
            await nothing_refused(mine, refused)
