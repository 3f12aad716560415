"""Match as a process: vectors and a watchlist in, alerts and their pictures out, and nothing else."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.bus import until
from tests.integration.match.people import (
    NUMBERS,
    SUBJECT,
    VERSION,
    Person,
    Somebody,
    control,
    entries,
    person_known,
)
from tests.integration.match.world import MALFORMED, SITE, World

from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    LookFound,
    LookRequested,
    SiteState,
    Template,
)
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Msg

DROPPED = 'aegis_matches_total{outcome="dropped"}'
NOT_MATCHED = 'aegis_matches_total{outcome="not matched"}'


@pytest.fixture
def somebody(world: World) -> Somebody:
    return lambda: Person(world)


@pytest.fixture(autouse=True)
async def nobody_listed(world: World) -> None:
    bucket = Bucket(world.bus, "watchlist")
    for number in range(1, next(NUMBERS)):
        await bucket.delete(f"person{number}")
    await entries(world, 0)


async def test_who_is_enrolled_while_in_view_is_alerted_and_who_is_removed_is_not(
    world: World, somebody: Somebody
) -> None:
    ada, ben = somebody(), somebody()
    await ada.walk_by()

    async def compared() -> bool:
        return await world.metric(NOT_MATCHED) == 1

    await until(compared, "the first look is compared")
    await ada.enrol()
    await ben.enrol()
    await entries(world, 2)
    assert await ada.told() == []
    await ada.walk_by()
    seen = await ada.alerted()
    assert (seen.person, seen.entry, seen.camera_name, seen.category) == (ada.id.title(), ada.id, "Gate", "barred")
    assert seen.score == pytest.approx(1.0 - 0.05, abs=0.06)
    assert seen.threshold == 0.5
    assert (seen.site, seen.drill, seen.embedder) == ("north", True, VERSION)
    assert seen.track == f"gate.1.{ada.track}"
    await ben.remove()
    await entries(world, 1, patience=1.0)
    await ben.walk_by()
    await control(world, somebody)
    assert await ben.told() == []


async def test_the_picture_is_sealed_and_nothing_but_alert_and_evidence_is_written(
    world: World, somebody: Somebody
) -> None:
    asked: list[LookRequested] = []

    async def picture(message: Msg) -> bytes:
        asked.append(codec.decode(LookRequested, message.data))
        return codec.encode(LookFound(chip_png=b"the probe", frame_jpeg=b"the frame"))

    served = await world.bus.serve(subjects.look_requested(7, "hall"), picture)
    ada, stranger = somebody(), somebody()
    await ada.enrol()
    await person_known(world, ada)
    before = await world.written()
    for number in range(1, 6):
        await stranger.walk_by(camera="hall", look=number)
        await ada.walk_by(camera="hall", look=number)
    seen = await ada.alerted()

    async def kept() -> bool:
        return (await world.written())["KV_evidence"] == before["KV_evidence"] + 2

    await until(kept, "chip and frame are kept")
    await served.unsubscribe()
    (request,) = asked
    assert (request.camera, request.lease, request.track) == ("hall", 1, ada.track)
    sealer = world.process.sealer
    for key, plain in ((seen.chip, b"the probe"), (seen.frame, b"the frame")):
        entry = await Bucket(world.bus, "evidence").get(key)
        assert entry is not None
        assert plain not in entry.value
        assert sealer.open("evidence", key, entry.value) == plain
    expected = {subjects.ALERTS: 1, "KV_evidence": 2, subjects.VECTORS: 10}
    after = await world.written()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == expected
    assert stranger.id not in world.process.log


async def test_an_alert_does_not_wait_for_its_picture(world: World, somebody: Somebody) -> None:
    ada = somebody()
    await ada.enrol()
    await person_known(world, ada)
    began = time.monotonic()
    await ada.walk_by()
    await ada.alerted()
    assert time.monotonic() - began < 2, "nobody answers for the picture"
    await world.unharmed()


async def test_vectors_of_a_lower_lease_are_dropped(world: World, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    await ada.enrol()
    await ben.enrol()
    await person_known(world, ben)
    await ada.walk_by(camera="door", lease=20)
    await ada.alerted()
    await ben.walk_by(camera="door", lease=19)
    await control(world, somebody)
    assert await ben.told() == []
    await ben.walk_by(camera="door", lease=20)
    await ben.alerted()


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_message_that_cannot_be_read_is_put_aside_and_the_next_is_handled(
    world: World, somebody: Somebody, case: str
) -> None:
    body, problem = MALFORMED[case]
    before = len([letter for letter in await world.dead_letters() if letter.subject == SUBJECT])
    await world.bus.store(SUBJECT, body)
    assert problem in await world.dead_letter(SUBJECT, before + 1)
    ada = somebody()
    await ada.enrol()
    await person_known(world, ada)
    await ada.walk_by()
    await ada.alerted()
    await world.unharmed()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vector", np.full(128, np.nan, "<f4").tobytes()),
        ("vector", (np.ones(64) / 8).astype("<f4").tobytes()),
        ("vector", b"123"),
        ("quality", float("nan")),
        ("seen_at", float("nan")),
        ("first_captured_at", 1e300),
        ("captured_at", -1e300),
    ],
    ids=["NaN", "another dimension", "no numbers", "quality NaN", "time NaN", "time too late", "time too early"],
)
async def test_a_look_that_is_wrong_is_put_aside_by_name(
    world: World, somebody: Somebody, field: str, value: Any
) -> None:
    ada = somebody()
    await ada.enrol()
    await person_known(world, ada)
    before = len([letter for letter in await world.dead_letters() if letter.subject == SUBJECT])
    await ada.walk_by(**{field: value})
    assert f"looks.{field}" in await world.dead_letter(SUBJECT, before + 1)
    assert await ada.told() == []
    await ada.walk_by()
    await ada.alerted()
    await world.unharmed()


async def test_a_clock_that_is_ahead_hides_no_later_visit(world: World, somebody: Somebody) -> None:
    ada = somebody()
    await ada.enrol()
    await person_known(world, ada)
    await ada.walk_by(ago=-3600)
    seen = await ada.alerted()
    assert seen.captured_at <= time.time()


async def test_one_broken_entry_keeps_nobody_else_from_being_matched(world: World, somebody: Somebody) -> None:
    ada = somebody()
    await ada.enrol()
    for vector in (b"", b"123", bytes(512), (np.ones(64) / 8).astype("<f4").tobytes()):
        broken = somebody()
        await broken.enrol(templates=(Template(vector=vector, photo="p"),))
        await person_known(world, broken)
        assert broken.id in world.process.log
    nonsense = somebody()
    await Bucket(world.bus, "watchlist").put(nonsense.id, b"not sealed")
    await person_known(world, nonsense)
    await ada.walk_by()
    await ada.alerted()
    await world.unharmed()


async def test_what_is_old_or_comes_while_disarmed_alerts_nobody(world: World, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    await ada.enrol()
    await ben.enrol()
    await person_known(world, ben)
    await ada.walk_by(ago=11)
    await world.site(replace(SITE, state=SiteState.DISARMED))
    stranger = somebody()
    before = await world.metric(DROPPED)

    async def disarmed() -> bool:
        await stranger.walk_by()
        return await world.metric(DROPPED) > before

    await until(disarmed, "nothing is matched any more", 5)
    await ben.walk_by()
    await world.site()
    await control(world, somebody)
    assert await ada.told() == await ben.told() == []
