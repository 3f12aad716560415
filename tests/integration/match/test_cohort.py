"""Match follows the cohort that the policy names, and adds up what it learns."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bus import Server, until
from tests.integration.match.people import VERSION, Person, person_known
from tests.integration.match.world import SITE, Process, World

from aegis.contracts import codec
from aegis.contracts.messages import Category, CohortPart, CohortRecord, EntryRecord, ImpostorRecord, Template
from aegis.match.comparison import Comparison
from aegis.match.core import EndedTrack
from aegis.match.learning import LISTS, VISIT_SECONDS, Learning
from aegis.runtime import metrics, policy, sealing, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus
from aegis.runtime.policy import Policy
from aegis.runtime.service import Health, background
from aegis.vision.embedding import normalise
from aegis.vision.impostors import ImpostorHistogram


def people(count: int, seed: int) -> NDArray[np.float32]:
    return normalise(np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32))


async def cohort(world: World, name: str, vectors: NDArray[np.float32], *, embedder: str = VERSION) -> None:
    """Keep a cohort as the registry does: its parts, then its record."""
    halves = np.array_split(vectors, 2)
    for number, half in enumerate(halves):
        part = CohortPart(cohort=name, number=number, embedder=embedder, vectors=half.astype("<f4").tobytes())
        await world.seal("cohort", f"{name}.{number}", part)
    record = CohortRecord(id=name, embedder=embedder, built_at=1.0, size=len(vectors), parts=2)
    await world.seal("cohort", name, record)


async def size_is(world: World, size: int) -> None:
    async def known() -> bool:
        return bool((await world.status())["detail"].get("cohort_size") == size)

    await until(known, f"a cohort of {size}", 5)


async def enrolled(world: World) -> Person:
    person = Person(world)
    await person.enrol()
    await person_known(world, person)
    return person


async def test_scores_follow_the_cohort_that_the_policy_names(world: World) -> None:
    """Somebody whom the whole cohort resembles a little is no match any more; another one still is."""
    ada, ben = await enrolled(world), await enrolled(world)
    direction = np.frombuffer(ada.vector, "<f4")
    await ada.walk_by()
    assert (await ada.alerted()).cohort == ""
    alike = normalise(people(130, 1) + direction)
    await cohort(world, "c1", np.concatenate([people(150, 2), alike]))
    strict = replace(SITE, cohort="c1", categories={"barred": Category(threshold=0.85)})
    await world.site(strict)
    await size_is(world, 280)
    await ben.walk_by()
    seen = await ben.alerted()
    assert (seen.cohort, seen.threshold) == ("c1", 0.85)
    cora = await enrolled(world)
    await world.site(SITE)
    await size_is(world, 0)
    await cora.walk_by()
    assert ((await cora.alerted()).cohort, (await cora.alerted()).threshold) == ("", 0.5)


async def test_thresholds_wait_for_the_cohort_that_they_were_derived_for(world: World) -> None:
    ada = await enrolled(world)
    await world.site(replace(SITE, cohort="late", categories={"barred": Category(threshold=1.5)}))

    async def noticed() -> bool:
        return "the cohort late is not all here yet" in world.process.log

    await until(noticed, "match has seen the policy")
    await ada.walk_by()
    assert (await ada.alerted()).threshold == 0.5
    await cohort(world, "late", people(120, 3))
    await size_is(world, 120)
    ben = await enrolled(world)
    await ben.walk_by()
    dropped = await world.metric('aegis_matches_total{outcome="not matched"}')

    async def compared() -> bool:
        await ben.walk_by(look=2)
        return await world.metric('aegis_matches_total{outcome="not matched"}') > dropped

    await until(compared, "a look was compared under the new threshold")
    assert await ben.told() == []


@pytest.mark.parametrize("case", ["not sealed", "too small", "another embedder"])
async def test_a_cohort_that_cannot_be_used_is_done_without(world: World, case: str) -> None:
    if case == "not sealed":
        await Bucket(world.bus, "cohort").put("c9", b"nonsense")
    else:
        few = people(100 if case == "another embedder" else 3, 4)
        await cohort(world, "c9", few, embedder=VERSION if case == "too small" else "model.9")
    await world.site(replace(SITE, cohort="c9", categories={"barred": Category(threshold=0.6)}))
    person: list[Person] = []

    async def alerted() -> bool:
        person.append(await enrolled(world))
        await person[-1].walk_by()
        seen = await person[-1].alerted()
        assert seen.cohort == ""
        return seen.threshold == 0.6

    await until(alerted, "faces are compared by plain cosines and the new threshold")
    if case != "another embedder":
        assert "so scores are plain cosines" in world.process.log


class Counting:
    """Two replicas' learning on one bus, with an entry on the list."""

    def __init__(self, bus: Bus, sealer: sealing.Sealer) -> None:
        self.bus = bus
        self.sealer = sealer
        self.policy = Policy(bus, "test", "")
        self.comparison = Comparison(bus, sealer, self.policy, "test", Health())
        self.replicas = (
            Learning(bus, sealer, self.comparison, lambda: 1000.0),
            Learning(bus, sealer, self.comparison, lambda: 900.0),
        )

    async def enrol(self, name: str, category: str = "barred") -> None:
        vector = people(1, 7)[0].astype("<f4").tobytes()
        entry = EntryRecord(
            id=name, name=name, category=category, embedder=VERSION, added_at=1.0,
            templates=(Template(vector=vector, photo="p"),),
        )  # fmt: skip
        await Bucket(self.bus, "watchlist").put(name, self.sealer.seal("watchlist", name, codec.encode(entry)))
        await until(lambda: name in self.comparison.watchlist.entries, f"{name} is on the list")

    async def kept(self, name: str) -> ImpostorRecord | None:
        entry = await Bucket(self.bus, "impostors").get(name)
        return codec.decode(ImpostorRecord, self.sealer.open("impostors", name, entry.value)) if entry else None


@pytest.fixture
async def counting(tmp_path: Path) -> AsyncIterator[Counting]:
    server = Server(tmp_path)
    server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.kill)
        bus = await stack.enter_async_context(server.connect())
        await topology.declare(bus)
        await Bucket(bus, policy.BUCKET).put(policy.SITE, codec.encode(SITE))
        made = Counting(bus, sealing.load_or_create(tmp_path / "site.key"))
        start = await stack.enter_async_context(background())
        for work in (made.policy.run, made.comparison.follow_watchlist, made.comparison.follow_cohort):
            start(work())
        start(made.comparison.run())
        yield made


def track(score: float, *matched: str, entries: tuple[str, ...] = ("ada",)) -> EndedTrack:
    best = np.full(len(entries), score, np.float32)
    return EndedTrack(embedder=VERSION, entries=entries, best=best, matched=frozenset(matched))


async def test_what_replicas_have_counted_is_added_up(counting: Counting) -> None:
    await counting.enrol("ada")
    first, second = counting.replicas
    first.add([track(0.1), track(0.2)])
    second.add([track(0.3), track(0.9, "ada")])
    await asyncio.gather(first.flush(), second.flush())
    first.add([track(0.1)])
    await first.flush()
    await second.flush()
    record = await counting.kept("ada")
    assert record is not None
    expected = ImpostorHistogram()
    expected.add(np.array([0.1, 0.1, 0.2, 0.3], np.float32))
    assert record == ImpostorRecord(embedder=VERSION, cohort="", since=900.0, histogram=bytes(expected))
    sealed = await Bucket(counting.bus, "impostors").get("ada")
    assert sealed is not None
    assert bytes(expected) not in sealed.value


async def test_a_track_soon_after_a_match_is_not_counted_for_whom_was_matched(counting: Counting) -> None:
    """One person in view is often several tracks, of which only some are good enough to be recognised."""
    for name in ("ada", "ben"):
        await counting.enrol(name)
    clock = [1000.0]
    learning = Learning(counting.bus, counting.sealer, counting.comparison, lambda: clock[0])
    both = ("ada", "ben")
    learning.add([track(0.9, "ada", entries=both)])
    clock[0] += VISIT_SECONDS - 1
    learning.add([track(0.48, entries=both)])
    clock[0] += 2
    learning.add([track(0.1, entries=both)])
    await learning.flush()
    for name, scores in (("ada", [0.1]), ("ben", [0.9, 0.48, 0.1])):
        record, expected = await counting.kept(name), ImpostorHistogram()
        expected.add(np.array(scores, np.float32))
        assert record is not None
        assert record.histogram == bytes(expected)


async def test_the_canary_is_no_traffic(counting: Counting) -> None:
    categories = {**SITE.categories, "staff": Category(canary=True)}
    await Bucket(counting.bus, policy.BUCKET).put(policy.SITE, codec.encode(replace(SITE, categories=categories)))
    await until(lambda: "staff" in counting.comparison.categories, "the category is known")
    await counting.enrol("ada")
    await counting.enrol("sam", "staff")
    learning, both = counting.replicas[0], ("ada", "sam")
    learning.add([track(0.9, "sam", entries=both), track(0.1, entries=both)])
    await learning.flush()
    record = await counting.kept("ada")
    assert record is not None
    assert len(ImpostorHistogram.from_bytes(record.histogram)) == 1


async def test_the_canary_does_not_count_as_somebody_who_can_be_matched(counting: Counting) -> None:
    categories = {**SITE.categories, "staff": Category(canary=True)}
    await Bucket(counting.bus, policy.BUCKET).put(policy.SITE, codec.encode(replace(SITE, categories=categories)))
    await until(lambda: "staff" in counting.comparison.categories, "the category is known")
    await counting.enrol("sam", "staff")
    assert metrics.REGISTRY.get_sample_value("aegis_gallery_entries") == 0
    await counting.enrol("ada")
    assert metrics.REGISTRY.get_sample_value("aegis_gallery_entries") == 1


async def test_lists_that_change_often_lose_nothing_that_was_counted(counting: Counting) -> None:
    await counting.enrol("ada")
    learning = counting.replicas[0]
    for number in range(2 * LISTS):
        learning.add([track(0.1, entries=("ada", f"other-{number}")), track(0.2, entries=("ada",))])
    await learning.flush()
    record = await counting.kept("ada")
    assert record is not None
    assert len(ImpostorHistogram.from_bytes(record.histogram)) == 4 * LISTS
    assert record.since == 1000.0


async def test_who_is_not_listed_or_was_counted_otherwise_is_not_mixed_in(counting: Counting) -> None:
    learning = counting.replicas[0]
    learning.add([track(0.1, entries=("nobody",))])
    await learning.flush()
    assert await counting.kept("nobody") is None
    await counting.enrol("ada")
    old = ImpostorHistogram()
    old.add(np.array([0.5] * 9))
    for record in (
        ImpostorRecord(embedder=VERSION, cohort="c1", since=1.0, histogram=bytes(old)),
        ImpostorRecord(embedder="model.9", cohort="", since=1.0, histogram=bytes(old)),
        ImpostorRecord(embedder=VERSION, cohort="", since=1.0, histogram=b"xyz"),
    ):
        sealed = counting.sealer.seal("impostors", "ada", codec.encode(record))
        await Bucket(counting.bus, "impostors").put("ada", sealed)
        learning.add([track(0.1)])
        await learning.flush()
        kept = await counting.kept("ada")
        assert kept is not None
        assert (kept.embedder, kept.cohort, kept.since) == (VERSION, "", 1000.0)
        assert len(ImpostorHistogram.from_bytes(kept.histogram)) == 1


async def test_a_running_match_learns_of_who_walks_by(process: Process, world: World) -> None:
    """Its own rights suffice: what has walked by is handed over within a minute or so."""
    ada, ben = await enrolled(world), Person(world)
    began = time.time()
    await ben.walk_by()

    async def learnt() -> bool:
        entry = await Bucket(world.bus, "impostors").get(ada.id)
        if entry is None:
            return False
        record = codec.decode(ImpostorRecord, process.sealer.open("impostors", ada.id, entry.value))
        return len(ImpostorHistogram.from_bytes(record.histogram)) == 1 and record.since >= began

    await until(learnt, "what was seen is learnt", 90)
    assert await ada.told() == []
