"""The cohort and the thresholds that follow from it, asked of the registry as the command line asks."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.integration.registry.conftest import Registry, write_site
from tests.integration.registry.test_service import stored

from aegis.contracts import codec
from aegis.contracts.messages import (
    MAX_COHORT,
    AddEntry,
    CohortPart,
    CohortRecord,
    EntryRecord,
    ImpostorRecord,
    ListAll,
    Remove,
    SiteRecord,
    UseCohort,
)
from aegis.runtime import policy
from aegis.runtime.buckets import Bucket
from aegis.vision.embedding import normalise
from aegis.vision.impostors import ImpostorHistogram

VERSION = "sface-2021dec.1"
DERIVED = "categories: {barred: {false_alerts_per_week: 1}}\ncalibration: {visits_per_week: 1000}\n"


def people(count: int, seed: int = 1) -> NDArray[np.float32]:
    return normalise(np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32))


def part(vectors: NDArray[np.float32], number: int = 0) -> CohortPart:
    return CohortPart(cohort="c1", number=number, embedder=VERSION, vectors=vectors.astype("<f4").tobytes())


async def send(registry: Registry, *parts: NDArray[np.float32]) -> Any:
    for number, vectors in enumerate(parts):
        await registry.ask("cohort-part", part(vectors, number))
    return await registry.ask("cohort-use", UseCohort(cohort="c1", parts=len(parts)))


async def site(registry: Registry) -> SiteRecord:
    entry = await Bucket(registry.bus, policy.BUCKET).get(policy.SITE)
    assert entry is not None
    return codec.decode(SiteRecord, entry.value)


@pytest.fixture(autouse=True)
async def derived(registry: Registry) -> AsyncIterator[None]:
    """Run with a category whose threshold is derived, and leave nothing behind."""
    write_site(registry.process.directory, DERIVED)
    await registry.restart()
    yield
    for entry in await registry.ask("watchlist-list", ListAll()):
        await registry.ask("watchlist-remove", Remove(id=entry["id"]))
    if (await site(registry)).cohort:
        await registry.ask("cohort-remove", ListAll())
    write_site(registry.process.directory)
    await registry.restart()


async def test_a_cohort_comes_in_parts_lies_sealed_without_names_and_goes(registry: Registry) -> None:
    offered = people(150)
    assert await registry.ask("cohort-show", ListAll()) == {}
    kept = await send(registry, offered[:100], np.concatenate([offered[100:], offered[3:5]]))
    assert (kept["size"], kept["twice"], kept["listed"], kept["embedder"]) == (150, 2, 0, VERSION)
    identity = (await site(registry)).cohort
    lying = await stored(registry, "cohort")
    assert sorted(lying) == [identity, f"{identity}.0"]
    sealer = registry.process.sealer
    record = codec.decode(CohortRecord, sealer.open("cohort", identity, lying[identity]))
    assert (record.size, record.parts) == (150, 1)
    held = codec.decode(CohortPart, sealer.open("cohort", f"{identity}.0", lying[f"{identity}.0"]))
    assert held.vectors == offered.astype("<f4").tobytes()
    assert offered[0].tobytes() not in lying[f"{identity}.0"]
    await registry.restart()
    shown = await registry.ask("cohort-show", ListAll())
    assert (shown["size"], shown["built_at"]) == (150, record.built_at)
    await send(registry, people(120, seed=2))
    assert len(await stored(registry, "cohort")) == 2, "the one before is gone"
    await registry.ask("cohort-remove", ListAll())
    assert await stored(registry, "cohort") == {}
    assert (await site(registry)).cohort == ""
    assert await registry.refused("cohort-remove", ListAll()) == "there is no cohort"


async def test_a_cohort_that_cannot_be_is_refused_and_the_one_in_use_stays(registry: Registry) -> None:
    await send(registry, people(120))
    before = await site(registry)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"embedder": "other.1"}, "the cohort's templates are of other.1, the site's of sface-2021dec.1"),
        ({"vectors": bytes(500)}, "500 bytes are no templates of 128 numbers"),
        ({"vectors": bytes(512)}, "not of unit length"),
        ({"vectors": np.full(128, np.nan, "<f4").tobytes()}, "not of unit length"),
    ]
    for change, problem in changes:
        assert problem in await registry.refused("cohort-part", replace(part(people(1)), **change))
    await registry.ask("cohort-part", part(people(200)))
    assert "did not arrive whole" in await registry.refused("cohort-use", UseCohort(cohort="c1", parts=2))
    assert "did not arrive whole" in await registry.refused("cohort-use", UseCohort(cohort="c2", parts=1))
    await registry.ask("cohort-part", part(people(99)))
    use = UseCohort(cohort="c1", parts=1)
    assert "at least 100 people, not 99" in await registry.refused("cohort-use", use)
    share = MAX_COHORT // 10
    for number in range(10):
        await registry.ask("cohort-part", part(people(share), number))
    assert f"at most {MAX_COHORT} people" in await registry.refused("cohort-part", part(people(1), 10))
    assert await site(registry) == before


async def test_a_threshold_follows_list_and_cohort(registry: Registry, photo: bytes) -> None:
    found = await registry.ask("calibrate", ListAll())
    assert (found["scores"], found["cohort"], found["categories"]["barred"]["threshold"]) == ("plain", None, 0.5)
    added = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo,)))
    found = await registry.ask("calibrate", ListAll())
    assert "There is no cohort" in found["categories"]["barred"]["problem"]
    assert "There is no cohort" in registry.process.log
    await send(registry, people(300))
    barred = (await site(registry)).categories["barred"]
    assert (barred.problem, barred.accepted) == ("", 1.0)
    assert barred.upper is not None
    assert barred.upper <= 1
    assert barred.threshold < 0.5, "random directions are never alike"
    found = await registry.ask("calibrate", ListAll())
    assert (found["scores"], found["cohort"]["size"]) == ("normalised", 300)
    dismissed = found["categories"]["barred"].pop("dismissed")
    assert found["categories"]["barred"] == {**codec.to_plain(barred), "entries": 1}
    assert dismissed["count"] == 0
    assert found["visits_per_week"] == {"assumed": 1000.0, "learnt": None}
    await registry.restart()
    assert (await site(registry)).categories["barred"] == barred
    await registry.ask("cohort-remove", ListAll())
    barred = (await site(registry)).categories["barred"]
    assert (barred.threshold, barred.expected) == (0.5, None)
    await registry.ask("watchlist-remove", Remove(id=added["id"]))
    assert (await site(registry)).categories["barred"].problem == ""


async def test_who_is_enrolled_later_leaves_the_cohort(registry: Registry, photo: bytes) -> None:
    added = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo,)))
    entry = await template(registry, added["id"])
    kept = await send(registry, np.concatenate([people(150), entry]))
    assert (kept["size"], kept["listed"]) == (150, 1)
    await registry.ask("watchlist-remove", Remove(id=added["id"]))
    kept = await send(registry, np.concatenate([people(150), entry]))
    assert (kept["size"], kept["listed"]) == (151, 0)
    before = await site(registry)
    added = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo,)))
    assert added["warnings"] == ["1 of the cohort's faces resembled this person's too much and was taken out of it"]
    after = await site(registry)
    assert after.cohort != before.cohort
    assert (await registry.ask("cohort-show", ListAll()))["size"] == 150
    assert len(await stored(registry, "cohort")) == 2


async def template(registry: Registry, identity: str) -> NDArray[np.float32]:
    sealed = (await stored(registry, "watchlist"))[identity]
    entry = codec.decode(EntryRecord, registry.process.sealer.open("watchlist", identity, sealed))
    return np.frombuffer(entry.templates[0].vector, "<f4")[None]


async def test_what_was_learnt_counts_in_its_own_scale_and_goes_with_the_entry(
    registry: Registry, photo: bytes
) -> None:
    added = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo,)))
    await send(registry, people(300))
    histogram = ImpostorHistogram()
    histogram.add(np.random.default_rng(1).normal(0.35, 0.05, 2000))
    days = 2 * 86_400
    record = ImpostorRecord(
        embedder=VERSION, cohort=(await site(registry)).cohort, since=time.time() - days, histogram=bytes(histogram)
    )
    before = (await site(registry)).categories["barred"].threshold
    await registry.seal("impostors", added["id"], replace(record, cohort="another"))
    await registry.ask("calibrate", ListAll())
    assert (await site(registry)).categories["barred"].threshold == before
    await registry.seal("impostors", added["id"], record)
    found = await registry.ask("calibrate", ListAll())
    assert found["categories"]["barred"]["basis"] == "learnt"
    assert found["categories"]["barred"]["threshold"] > before
    assert found["learnt"]["visits"] == 2000
    assert found["visits_per_week"]["learnt"] == pytest.approx(7000, rel=0.01)
    await registry.ask("watchlist-remove", Remove(id=added["id"]))
    assert await stored(registry, "impostors") == {}
