"""What the integrators' key may not do, made from the declarations, so that what is added is tried too."""

import contextlib
import inspect
import itertools
import json

import nats.errors
import nats.js.errors
import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.client import JetStreamContext
from tests.bus import Server, until
from tests.integration.integrators.conftest import integrator

from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus

STREAMS = {str(stream.name) for stream in topology.STREAMS}
INTERNAL = STREAMS - set(topology.PUBLISHED)
INBOXES = {f"{topology.inbox(role)}.x" for role in topology.ROLES if role != "integrator"} | {"_INBOX.x"}
CALLS = ("CONSUMER.CREATE.{}.x", "CONSUMER.CREATE.{}", "CONSUMER.MSG.NEXT.{}.x", "DIRECT.GET.{}", "STREAM.INFO.{}")
OWNERS = (
    "STREAM.CREATE.{}",
    "STREAM.UPDATE.{}",
    "STREAM.DELETE.{}",
    "STREAM.PURGE.{}",
    "STREAM.MSG.DELETE.{}",
    "STREAM.SNAPSHOT.{}",
    "STREAM.RESTORE.{}",
    "CONSUMER.PAUSE.{}.x",
)


def subjects_of_the_bus() -> set[str]:
    """Give one subject of each kind that the code knows."""
    found = {subjects.STATUS}
    for name, function in inspect.getmembers(subjects, inspect.isfunction):
        if name not in ("token", "partition_of"):
            found.add(function(*(["3"] * len(inspect.signature(function).parameters))))
    return found


PUBLIC = ("aegis.v1.alert.", "aegis.v1.camera.", "aegis.v1.cap.", "aegis.v1.onvif.")
"""Written out, so that a right that is declared by mistake is found."""


def not_to_publish() -> set[str]:
    keys = {f"$KV.{name.removeprefix('KV_')}.a" for name in STREAMS if name.startswith("KV_")}
    reads = {f"$JS.API.{call.format(stream)}" for call, stream in itertools.product(CALLS, INTERNAL)}
    owns = {f"$JS.API.{call.format(stream)}" for call, stream in itertools.product(OWNERS, STREAMS | {"NEW"})}
    through = {"JS.SITE.API.CONSUMER.CREATE.ALERTS", "JS.PUBLIC.API.STREAM.UPDATE.ALERTS", "aegis.copy.ALERTS.x"}
    acks = {f"$JS.ACK.{stream}.x.1.1.1.1.0" for stream in INTERNAL}
    others = {"$SYS.REQ.SERVER.PING", "$JS.API.ACCOUNT.PURGE.PUBLIC", "anything"}
    return subjects_of_the_bus() | keys | reads | owns | through | acks | INBOXES | others


def not_to_hear() -> set[str]:
    internal = {subject for subject in subjects_of_the_bus() if not subject.startswith(PUBLIC)}
    wide = {
        ">",
        "*.>",
        "aegis.>",
        "aegis.v1.>",
        "aegis.v1.*.>",
        "aegis.copy.>",
        "$KV.>",
        "$JS.>",
        "$JS.API.>",
        "$SYS.>",
    }
    return internal | wide | {"_INBOX.>", *(inbox.removesuffix("x") + ">" for inbox in INBOXES)}


async def test_everything_else_is_refused(bus: Bus, server: Server) -> None:
    async with integrator(server) as (mine, _, refused):
        for subject in not_to_publish():
            await mine.client.publish(subject, b"{}")
        for subject in not_to_hear():
            await mine.client.subscribe(subject)

        def allowed() -> list[str]:
            text = "\n".join(refused)
            publish = {s for s in not_to_publish() if f'publish to "{s.lower()}"' not in text}
            return sorted(publish | {s for s in not_to_hear() if f'subscription to "{s.lower()}"' not in text})

        with contextlib.suppress(AssertionError):
            await until(lambda: not allowed(), "all is refused", 5)
        assert allowed() == []


def test_deliveries_votes_and_users_are_among_them() -> None:
    assert {"DELIVERIES", "KV_votes", "KV_users", "KV_evidence", "KV_watchlist", "SHADOW"} <= INTERNAL
    assert {"$KV.votes.a", "$JS.API.DIRECT.GET.DELIVERIES", "aegis.v1.registry.3"} <= not_to_publish()
    assert {"aegis.v1.delivery.3.3.3.3", "aegis.v1.shadow.3.3.3", "_INBOX_notify.>"} <= not_to_hear()


async def test_no_internal_stream_can_even_be_seen(bus: Bus, server: Server) -> None:
    async with integrator(server) as (mine, _, _refused):
        answer = json.loads((await mine.client.request("$JS.API.STREAM.NAMES", b"", timeout=2)).data)
        assert set(answer["streams"]) == set(topology.PUBLISHED)


async def test_what_is_answered_to_another_subject_changes_nothing(bus: Bus, server: Server) -> None:
    """JetStream answers to whatever subject a request names, and hands messages to it, with its own rights."""
    story = subjects.alert("north", "barred", "somebody")
    targets = [
        "$KV.policy.site",
        "$KV.watchlist.p1",
        "$KV.votes.a1",
        subjects.shadow("north", "barred", "somebody"),
        subjects.alert("north", "barred", "else"),
        subjects.camera("north", "lobby"),
        subjects.delivery("email", "a1", "e1", "r1"),
        subjects.dead("match"),
        "JS.SITE.API.CONSUMER.CREATE.ALERTS",
    ]
    ours = bus.client.jetstream()
    await Bucket(bus, "policy").put("site", b"genuine")
    await bus.store(story, b"alert")
    before = {stream: (await ours.stream_info(stream)).state.messages for stream in STREAMS}
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(str(getattr(message, "subject", "")))

    for target in targets:
        await bus.subscribe(target, hear)
    async with integrator(server) as (mine, jetstream, _refused):
        await until(lambda: _copied(jetstream, 1), "it is copied")
        headers_only = ConsumerConfig(name="r", ack_policy=AckPolicy.NONE, headers_only=True)
        await jetstream.add_consumer("ALERTS", headers_only)
        for number, target in enumerate(targets):
            for request, body in (
                ("CONSUMER.CREATE.ALERTS.q", b'{"nonsense": 1}'),
                ("CONSUMER.MSG.NEXT.ALERTS.r", b'{"batch": 1}'),
                ("DIRECT.GET.ALERTS", json.dumps({"last_by_subj": story}).encode()),
                ("STREAM.NAMES", b""),
            ):
                await mine.client.publish(f"$JS.API.{request}", body, reply=target)
            pushed = ConsumerConfig(name=f"push-{number}", ack_policy=AckPolicy.NONE, deliver_subject=target)
            with contextlib.suppress(nats.js.errors.Error):
                await jetstream.add_consumer("ALERTS", pushed)
        await mine.flush()
        # What was asked before is done by the time that this is answered.
        assert (await jetstream.stream_info("ALERTS")).state.messages == 1
        await bus.store(story, b"another")
        await until(lambda: _copied(jetstream, 2), "the copy goes on")
    await bus.flush()
    after = {stream: (await ours.stream_info(stream)).state.messages for stream in STREAMS}
    assert after == {**before, "ALERTS": 2}
    assert heard == []
    entry = await Bucket(bus, "policy").get("site")
    assert entry is not None
    assert entry.value == b"genuine"


async def _copied(jetstream: JetStreamContext, count: int) -> bool:
    return (await jetstream.stream_info("ALERTS")).state.messages == count


async def test_a_copy_that_they_lose_by_a_trick_is_made_again(bus: Bus, server: Server) -> None:
    """A status that JetStream sends has no body, which is how a stream is deleted: among integrators alone."""
    story = subjects.alert("north", "barred", "somebody")
    await bus.store(story, b"alert")
    async with integrator(server) as (mine, jetstream, _refused):
        await jetstream.add_consumer("ALERTS", ConsumerConfig(name="r", ack_policy=AckPolicy.NONE))
        pull = "$JS.API.CONSUMER.MSG.NEXT.ALERTS.r"
        await mine.client.publish(pull, b'{"batch": 9, "no_wait": true}', reply="$JS.API.STREAM.DELETE.ALERTS")
        await mine.flush()
        await until(lambda: _gone(jetstream), "the copy is gone")
        await bus.store(story, b"another")
        await topology.declare(bus)
        await until(lambda: _copied(jetstream, 2), "it is there again, with all that was kept")


async def _gone(jetstream: JetStreamContext) -> bool:
    try:
        await jetstream.stream_info("ALERTS")
    except nats.js.errors.NotFoundError:
        return True
    return False


async def test_a_copy_cannot_be_written_to(bus: Bus, server: Server) -> None:
    async with integrator(server) as (mine, jetstream, _refused):
        with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
            await mine.client.request(subjects.alert("north", "barred", "else"), b"forged", timeout=0.5)
        assert (await jetstream.stream_info("ALERTS")).state.messages == 0


async def test_the_number_of_readers_has_a_limit(bus: Bus, server: Server) -> None:
    async with integrator(server) as (_, jetstream, _refused):
        assert (await jetstream.stream_info("ALERTS")).config.max_consumers == topology.MOST_READERS
