"""Reviews through the registry as a process: keys, votes and what is told of them, over crashes and races."""

import asyncio
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator

import pytest
from tests.bus import until
from tests.integration.match.world import Process, joined
from tests.integration.registry import desk as at_the_desk
from tests.integration.registry.desk import Desk, Person

from aegis.contracts import alerts, cloudevents, codec, reviews
from aegis.contracts.messages import ListAll, Remove
from aegis.contracts.people import AddUser, ShowAlert, Verdict, Vote
from aegis.contracts.reviews import ACKNOWLEDGED, CONFIRMED, DISMISSED, EXPIRED, Change
from aegis.registry.alerts import Alerts
from aegis.runtime import person_keys, tasks
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import ConflictError
from aegis.runtime.person_keys import PersonKey

POLICY = at_the_desk.POLICY


@pytest.fixture
async def desk(process: Process) -> AsyncIterator[Desk]:
    async with joined(process, Desk) as desk:
        yield desk


async def test_a_user_is_added_listed_and_removed(desk: Desk) -> None:
    ann = await desk.person("Ann")
    listed = {user["id"]: user for user in await desk.ask("user-list", ListAll())}
    assert listed[ann.id]["name"] == ann.name
    assert listed[ann.id]["public_key"] == ann.key.public
    sealed = await Bucket(desk.bus, "users").get(ann.id)
    assert sealed is not None
    assert b"Ann" not in sealed.value
    assert await desk.ask("user-remove", Remove(id=ann.id)) == listed[ann.id]
    assert ann.id not in {user["id"] for user in await desk.ask("user-list", ListAll())}
    assert f"there is no user {ann.id!r}" in await desk.refused("user-remove", Remove(id=ann.id))


async def test_nobody_is_two_users(desk: Desk) -> None:
    ann = await desk.person("Ann")
    other = PersonKey(person_keys.new_seed()).public
    assert "already; remove that one" in await desk.refused(
        "user-add", AddUser(name=ann.name.upper(), public_key=other)
    )
    same_key = AddUser(name="Another", public_key=ann.key.public)
    assert f"this key is {ann.name}'s already" in await desk.refused("user-add", same_key)


@pytest.mark.parametrize(
    ("name", "key", "problem"),
    [
        (" ", "", "a name is needed"),
        ("A\nB", "", "at most 100 letters"),
        ("A" * 101, "", "at most 100 letters"),
        ("Ann", "", "is no public key of a user"),
        ("Ann", "UÄ", "is no public key of a user"),
        ("Ann", "SUAGJ", "is no public key of a user"),
    ],
)
async def test_what_is_no_user_is_refused(desk: Desk, name: str, key: str, problem: str) -> None:
    assert problem in await desk.refused("user-add", AddUser(name=name, public_key=key))


async def test_a_mistyped_key_is_refused(desk: Desk) -> None:
    key = PersonKey(person_keys.new_seed()).public
    mistyped = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]
    assert "is mistyped" in await desk.refused("user-add", AddUser(name="Ann", public_key=mistyped))


async def test_acknowledged_confirmed_by_two_and_dismissed(desk: Desk) -> None:
    ann, bob, cem = [await desk.person(name) for name in ("Ann", "Bob", "Cem")]
    alert = await desk.alert()
    assert await ann.say(alert.alert, Verdict.ACK) == "acknowledged"
    assert await bob.say(alert.alert, Verdict.ACK) == "acknowledged"
    assert await ann.say(alert.alert, Verdict.CONFIRM) == "confirmed-once"
    assert await bob.say(alert.alert, Verdict.CONFIRM) == "confirmed-twice"
    for verdict in (Verdict.ACK, Verdict.CONFIRM):
        said = await cem.refused(alert.alert, verdict)
        assert said == f"{alert.reference}: two people have confirmed it already; it can only be dismissed"
    assert await ann.say(alert.alert, Verdict.DISMISS, "the twin sister") == "dismissed"
    assert f"{alert.reference}: it was dismissed already" in await cem.refused(alert.alert, Verdict.DISMISS, "me too")
    assert await desk.told(alert) == [
        (ACKNOWLEDGED, ann.name),
        (ACKNOWLEDGED, bob.name),
        (CONFIRMED, ann.name),
        (CONFIRMED, bob.name),
        (DISMISSED, ann.name),
    ]
    assert (await desk.review(alert)).history[-1].update.reason == "the twin sister"


async def test_a_review_that_comes_again_changes_nothing(desk: Desk) -> None:
    ann = await desk.person("Ann")
    alert = await desk.alert()
    for verdict, state in ((Verdict.ACK, "acknowledged"), (Verdict.CONFIRM, "confirmed-once")):
        request = ann.signed(alert.alert, verdict)
        for _ in range(3):
            assert (await desk.ask("alert-review", request))["state"] == state
        assert await ann.say(alert.alert, verdict) == state
    assert await desk.told(alert) == [(ACKNOWLEDGED, ann.name), (CONFIRMED, ann.name)]


async def test_the_first_of_two_confirmations_cannot_be_told_from_an_acknowledgement(desk: Desk) -> None:
    ann, bob, cem = [await desk.person(name) for name in ("Ann", "Bob", "Cem")]
    confirmed, acked = await desk.alert("armed"), await desk.alert("armed")
    assert await ann.say(confirmed.alert, Verdict.CONFIRM) == "waits"
    assert await ann.say(acked.alert, Verdict.ACK) == "acknowledged"
    stories = []
    for alert in (confirmed, acked):
        assert await desk.told(alert) == [(ACKNOWLEDGED, ann.name)]
        assert await bob.sees(alert.reference) == []
        assert await bob.say(alert.alert, Verdict.ACK) == "acknowledged"
        shown = await desk.ask("alert-show", ShowAlert(reference=alert.reference))
        for name in ("alert", "reference", "entry", "raised_at", "expires_at"):
            shown.pop(name)
        for told in shown["history"]:
            assert told.pop("updated_at") > 0
            for name in ("alert", "reference", "entry", "expires_at"):
                told.pop(name)
        stories.append(shown)
    assert stories[0] == stories[1]
    assert await ann.sees(confirmed.reference) == [ann.name]
    assert await ann.say(confirmed.alert, Verdict.CONFIRM) == "waits"
    assert await bob.say(confirmed.alert, Verdict.CONFIRM) == "confirmed-twice"
    told = [(ACKNOWLEDGED, ann.name), (ACKNOWLEDGED, bob.name), (CONFIRMED, ann.name), (CONFIRMED, bob.name)]
    assert await desk.told(confirmed) == told
    assert set(await cem.sees(confirmed.reference)) == {ann.name, bob.name}


async def test_after_its_time_it_can_only_be_dismissed(desk: Desk) -> None:
    ann, bob = await desk.person("Ann"), await desk.person("Bob")
    alert = await desk.alert("armed", left=-1)
    for verdict in (Verdict.ACK, Verdict.CONFIRM):
        assert "it is history" in await ann.refused(alert.alert, verdict)
    assert await desk.told(alert) == []
    assert await bob.say(alert.alert, Verdict.DISMISS, "not him") == "dismissed"


async def test_a_kept_confirmation_that_came_too_late_is_shown_and_does_not_count(desk: Desk) -> None:
    ann, bob = await desk.person("Ann"), await desk.person("Bob")
    alert = await desk.alert("armed")
    assert await ann.say(alert.alert, Verdict.CONFIRM) == "waits"
    await desk.add(alert, EXPIRED)

    async def expired() -> bool:
        state: str = (await desk.ask("alert-show", ShowAlert(reference=alert.reference)))["state"]
        return state == "expired"

    await until(expired, "the registry has read of it")
    assert "it is history" in await bob.refused(alert.alert, Verdict.CONFIRM)
    assert await desk.told(alert) == [(ACKNOWLEDGED, ann.name), (EXPIRED, "")]
    assert await bob.sees(alert.reference) == [ann.name]


async def test_who_may_not_review_is_told_why(desk: Desk) -> None:
    ann, eve = await desk.person("Ann"), Person(desk, "Eve")
    alert = await desk.alert()
    assert f"no user has the key {eve.key.public!r}" in await eve.refused(alert.alert, Verdict.ACK)
    for late in (61.0, -61.0):
        assert "off the registry's clock" in await ann.refused(alert.alert, Verdict.ACK, late=late)
    forged = ann.signed(alert.alert, Verdict.ACK)
    unset = dataclasses.replace(forged, at=float("nan"))
    assert "off the registry's clock" in await desk.refused("alert-review", unset)
    for wrong in ({"verdict": Verdict.CONFIRM}, {"signature": b""}, {"signature": bytes(64)}):
        changed = dataclasses.replace(forged, **wrong)
        assert f"the signature is not {ann.name}'s" in await desk.refused("alert-review", changed)
    asked = ShowAlert(reference=alert.reference, at=time.time(), public_key=ann.key.public, signature=bytes(64))
    assert "the signature is not" in await desk.refused("alert-show", asked)
    await desk.ask("user-remove", Remove(id=ann.id))
    assert "no user has the key" in await ann.refused(alert.alert, Verdict.ACK)
    assert await desk.told(alert) == []


async def test_what_cannot_be_said_is_refused(desk: Desk) -> None:
    ann = await desk.person("Ann")
    alert = await desk.alert()
    assert "there is no alert nowhere" in await ann.refused("nowhere", Verdict.ACK)
    assert "there is no alert K2K" in await desk.refused("alert-show", ShowAlert(reference="K2K"))
    assert "a dismissal needs a reason" in await ann.refused(alert.alert, Verdict.DISMISS)
    for reason in ("a" * 501, "not\nhim"):
        assert "at most 500 letters" in await ann.refused(alert.alert, Verdict.DISMISS, reason)
    assert await desk.told(alert) == []


async def test_the_vote_of_a_person_who_was_removed_does_not_count(desk: Desk) -> None:
    ann, bob, cem = [await desk.person(name) for name in ("Ann", "Bob", "Cem")]
    alert = await desk.alert("armed")
    assert await ann.say(alert.alert, Verdict.CONFIRM) == "waits"
    await desk.ask("user-remove", Remove(id=ann.id))
    assert await bob.say(alert.alert, Verdict.CONFIRM) == "waits"
    assert await cem.say(alert.alert, Verdict.CONFIRM) == "confirmed-twice"
    assert (await desk.review(alert)).confirmed_by == (bob.name, cem.name)


async def test_many_at_once_are_told_once_each_while_others_write_too(desk: Desk) -> None:
    """Sightings of match come between, so that expected sequences are wrong again and again."""
    people = [await desk.person(f"P{number}") for number in range(5)]
    alert = await desk.alert("armed")
    done = asyncio.Event()

    async def sight() -> None:
        while not done.is_set():
            event = alerts.event(alerts.SIGHTED, secrets.token_hex(8), alert)
            await desk.bus.store(desk.subject(alert), cloudevents.dump(event))

    async def confirm(person: Person) -> str:
        request = person.signed(alert.alert, Verdict.CONFIRM)
        answers = [desk._reply("alert-review", codec.encode(request)) for _ in range(2)]
        return str([(reply.problem or json.loads(reply.body)["state"]) for reply in await asyncio.gather(*answers)])

    sighting = asyncio.create_task(sight())
    said = await asyncio.gather(*(confirm(person) for person in people))
    done.set()
    await sighting
    review = await desk.review(alert)
    assert review.state is reviews.AlertState.CONFIRMED_TWICE
    assert len(set(review.confirmed_by)) == 2
    assert len(await desk.told(alert)) == 3
    assert sum("two people have confirmed it already" in text for text in said) == 3


async def test_what_was_told_meanwhile_is_read_before_anything_is_added(desk: Desk) -> None:
    """A former leader, say, that has stood still: it cannot write over what it has not read."""
    alert = await desk.alert()
    follower = Alerts(desk.bus, "test-alerts")
    following = asyncio.create_task(follower.run())
    await follower.synced.wait()
    review = follower.find(alert.reference.lower())
    assert review == follower.get(alert.alert) == await desk.review(alert)
    await tasks.end([following])
    await desk.add(alert, EXPIRED)
    ann = await desk.person("Ann")
    vote = Vote(user=ann.id, name=ann.name, at=time.time(), review=ann.signed(alert.alert, Verdict.ACK))
    change = reviews.proposed(review, vote)
    with pytest.raises(ConflictError):
        await follower.add(change)
    following = asyncio.create_task(follower.run())
    await follower.read_on(change)
    assert follower.get(alert.alert) == await desk.review(alert)
    assert await desk.told(alert) == [(EXPIRED, "")]
    await tasks.end([following])


async def test_a_registry_that_died_between_vote_and_event_tells_it_at_its_next_start(desk: Desk) -> None:
    ann, bob = await desk.person("Ann"), await desk.person("Bob")
    alone, both, late = await desk.alert(), await desk.alert("armed"), await desk.alert()
    desk.process.stop()
    for alert, person, verdict, reason in (
        (alone, ann, Verdict.DISMISS, "not him"),
        (both, ann, Verdict.CONFIRM, ""),
        (both, bob, Verdict.CONFIRM, ""),
        (late, bob, Verdict.ACK, ""),
    ):
        signed = person.signed(alert.alert, verdict, reason)
        vote = Vote(user=person.id, name=person.name, at=time.time(), review=signed)
        await desk.seal("votes", f"{alert.alert}.{person.id}.{verdict.value}", vote)
    # Of one of the two it was told before the registry died.
    first = Vote(user=ann.id, name=ann.name, at=time.time(), review=ann.signed(both.alert, Verdict.CONFIRM))
    change: Change = reviews.proposed(await desk.review(both), first)
    await desk.bus.store(desk.subject(both), cloudevents.dump(change.event()))
    await desk.add(late, EXPIRED)
    desk.process.start()
    await desk.ready()

    async def finished() -> bool:
        return len(await desk.told(alone)) == 1 and len(await desk.told(both)) == 2

    await until(finished, "what was kept is told")
    assert await desk.told(alone) == [(DISMISSED, ann.name)]
    assert await desk.told(both) == [(CONFIRMED, ann.name), (CONFIRMED, bob.name)]
    assert await desk.told(late) == [(EXPIRED, "")]
    await desk.read(both.reference)
    assert await ann.say(both.alert, Verdict.CONFIRM) == "confirmed-twice"


async def test_dismissals_stand_beside_what_is_accepted(desk: Desk) -> None:
    ann = await desk.person("Ann")
    before = (await desk.ask("calibrate", ListAll()))["categories"]
    one, other = await desk.alert(), await desk.alert()
    await ann.say(one.alert, Verdict.DISMISS, "not him")
    await ann.say(other.alert, Verdict.DISMISS, "not him")
    found = (await desk.ask("calibrate", ListAll()))["categories"]
    assert found["barred"]["dismissed"]["count"] == before["barred"]["dismissed"]["count"] + 2
    assert found["barred"]["dismissed"]["entries"][one.entry] == 1
    assert found["barred"]["dismissed"]["a_week"] is None, "there has been somebody who could for seconds"
    assert found["armed"]["dismissed"] == before["armed"]["dismissed"] | {
        "seconds": found["armed"]["dismissed"]["seconds"]
    }
