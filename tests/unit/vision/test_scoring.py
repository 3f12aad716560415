from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aegis.vision.best_shot import BestShot
from aegis.vision.embedding import normalise
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import SINGLE_LOOK_MARGIN, Evidence, Gallery, Look, best_evidence, best_scores, fuse
from aegis.vision.search import BLOCK

Clips = dict[str, Any]
THRESHOLD = 0.5


def some_looks(count: int, seed: int = 0) -> list[Look]:
    random = np.random.default_rng(seed)
    vectors = normalise(random.normal(size=(count, 16)).astype(np.float32) + 0.5)
    return [Look(vector=v, weight=float(w)) for v, w in zip(vectors, random.uniform(0.1, 1, count), strict=True)]


def sent(clip: Any) -> list[Look]:
    """The looks that a track of this clip would send on."""
    choice = BestShot()
    return [
        Look(vector=s.vector, weight=s.quality.score)
        for s in clip.sightings
        if choice.offer(s.quality.score, s.quality.flaw is None, s.at)
    ]


@pytest.fixture(scope="module")
def gallery(clips: Clips) -> Gallery:
    """One frame of each clip, the first, as an entry of its own."""
    return Gallery.build({name: clip.sightings[0].vector[None] for name, clip in clips.items()})


def test_tracks_of_enrolled_people_separate_from_all_others(clips: Clips, gallery: Gallery) -> None:
    mated: list[float] = []
    other: list[float] = []
    for name, clip in clips.items():
        for entry, evidence in best_evidence(gallery, sent(clip)):
            if entry != name:
                (mated if clips[entry].person == clip.person else other).append(evidence.score)
    assert len(mated) == 16
    assert min(mated) > 0.7
    assert max(other) < 0.42


def test_a_track_that_changed_hands_accuses_no_third_and_still_finds_who_was_seen_well(
    clips: Clips, gallery: Gallery
) -> None:
    looks = {name: sent(clip) for name, clip in clips.items()}
    for one, first in clips.items():
        for two, second in clips.items():
            if first.person == second.person:
                continue
            excellent = max(looks[one], key=lambda look: look.weight)
            for entry, evidence in best_evidence(gallery, [excellent, *looks[two]]):
                person = clips[entry].person
                if person not in (first.person, second.person):
                    assert evidence.score < THRESHOLD - 0.05
                elif person == first.person and entry != one:
                    assert evidence.score >= THRESHOLD


def test_one_look_must_be_better_by_the_margin() -> None:
    gallery = Gallery.build({"a": np.eye(3, dtype=np.float32)[:1]})
    look = Look(vector=normalise(np.array([[1, 1, 0]], np.float32))[0], weight=0.5)
    [(entry, evidence)] = best_evidence(gallery, [look])
    assert entry == "a"
    assert evidence.looks == 1
    assert evidence.score == pytest.approx(0.5**0.5 - SINGLE_LOOK_MARGIN, abs=1e-6)


def test_several_looks_need_no_margin_and_their_noise_cancels() -> None:
    gallery = Gallery.build({"a": np.eye(3, dtype=np.float32)[:1]})
    pair = normalise(np.array([[1, 1, 0], [1, -1, 0]], np.float32))
    [(_, evidence)] = best_evidence(gallery, [Look(vector=v, weight=0.5) for v in pair])
    assert evidence.looks == 2
    assert evidence.score == pytest.approx(1, abs=1e-6)


@given(st.permutations(range(7)))
def test_fusing_is_free_of_order_to_the_last_bit(order: list[int]) -> None:
    looks = some_looks(7)
    shuffled = [looks[i] for i in order]
    assert fuse(looks).tobytes() == fuse(shuffled).tobytes()
    gallery = Gallery.build({"a": looks[0].vector[None], "b": some_looks(2, seed=1)[0].vector[None]})
    for (_, one), (_, two) in zip(best_evidence(gallery, looks), best_evidence(gallery, shuffled), strict=True):
        assert one.score == pytest.approx(two.score, abs=1e-6)


def test_fusing_weighs_by_quality() -> None:
    axes = np.eye(2, dtype=np.float32)
    fused = fuse([Look(vector=axes[0], weight=0.9), Look(vector=axes[1], weight=0.3)])
    np.testing.assert_allclose(fused, normalise(np.array([[3, 1]], np.float32))[0], atol=1e-6)


def test_looks_that_cancel_out_or_are_none_cannot_be_fused() -> None:
    axis = np.eye(2, dtype=np.float32)[0]
    with pytest.raises(ValueError, match="zero"):
        fuse([Look(vector=axis, weight=0.5), Look(vector=-axis, weight=0.5)])
    with pytest.raises(ValueError, match="no looks"):
        fuse([])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_look_without_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Look(vector=np.ones(2, np.float32), weight=weight)


def test_scores_take_the_best_template_of_each_entry_best_first() -> None:
    axes = np.eye(3, dtype=np.float32)
    gallery = Gallery.build({"b": axes[[2, 0]] * 7, "a": axes[:1], "c": axes[1:2]})
    assert len(gallery) == 3
    assert gallery.scores(axes[0]) == [("a", 1.0), ("b", 1.0), ("c", 0.0)]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 99))
def test_scores_equal_the_plain_definition(counts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    entries = {f"e{i}": normalise(random.normal(size=(n, 8)).astype(np.float32)) for i, n in enumerate(counts)}
    probe = normalise(random.normal(size=(1, 8)).astype(np.float32))[0]
    found = Gallery.build(entries).scores(probe)
    joined = {name: [*rows, normalise(rows.mean(axis=0)[None])[0]] for name, rows in entries.items()}
    expected = {name: max(float(row @ probe) for row in rows) for name, rows in joined.items()}
    assert dict(found) == pytest.approx(expected, abs=1e-6)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.integers(0, 99))
def test_a_cohort_takes_the_same_off_every_way_to_score(counts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    cohort = Cohort.build(random.normal(size=(100, 16)).astype(np.float32))
    gallery = Gallery.build(
        {f"e{i}": random.normal(size=(n, 16)).astype(np.float32) for i, n in enumerate(counts)}, cohort
    )
    [look] = some_looks(1, seed)
    cosines = gallery.templates @ look.vector - cohort.offsets(gallery.templates) - cohort.offsets(look.vector[None])
    ends = [*gallery.starts[1:], len(cosines)]
    expected = {f"e{i}": float(cosines[a:b].max()) for i, (a, b) in enumerate(zip(gallery.starts, ends, strict=True))}
    assert dict(gallery.scores(look.vector)) == pytest.approx(expected, abs=1e-6)
    alone = {entry: evidence.score + SINGLE_LOOK_MARGIN for entry, evidence in best_evidence(gallery, [look])}
    assert alone == pytest.approx(expected, abs=1e-6)


def test_only_what_reaches_the_score_that_is_asked_for_is_given() -> None:
    gallery = Gallery.build({f"e{i}": some_looks(1, seed=i)[0].vector[None] for i in range(30)})
    looks = some_looks(3, seed=50)
    everything = best_evidence(gallery, looks)
    middle = everything[10][1].score
    assert best_evidence(gallery, looks, at_least=middle) == everything[:11]
    scores = gallery.scores(looks[0].vector)
    assert gallery.scores(looks[0].vector, at_least=scores[4][1]) == scores[:5]
    assert best_evidence(gallery, looks, at_least=1.1) == []


def plain_evidence(gallery: Gallery, looks: list[Look], at_least: float) -> dict[str, Evidence]:
    """Weigh looks for everybody, by the whole table of scores."""
    single = gallery.matrix(np.stack([look.vector for look in looks])).max(axis=0) - SINGLE_LOOK_MARGIN
    fused = gallery.matrix(fuse(looks)[None])[0] if len(looks) > 1 else np.full_like(single, -np.inf)
    return {
        name: Evidence(score=float(max(one, all_)), looks=len(looks) if all_ >= one else 1)
        for name, one, all_ in zip(gallery.entries, single, fused, strict=True)
        if max(one, all_) >= at_least
    }


@given(st.integers(1, 5), st.lists(st.integers(1, 3), min_size=1, max_size=30), st.booleans(), st.integers(0, 99))
def test_evidence_equals_the_plain_definition(count: int, photos: list[int], normalised: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    cohort = Cohort.build(random.normal(size=(100, 16)).astype(np.float32)) if normalised else None
    templates = {f"e{i}": random.normal(size=(n, 16)).astype(np.float32) for i, n in enumerate(photos)}
    gallery, looks = Gallery.build(templates, cohort), some_looks(count, seed)
    for at_least in (-np.inf, 0.1234, 0.4321):
        found = dict(best_evidence(gallery, looks, at_least=at_least))
        expected = plain_evidence(gallery, looks, at_least)
        assert {n: e.looks for n, e in found.items()} == {n: e.looks for n, e in expected.items()}
        assert {n: e.score for n, e in found.items()} == pytest.approx(
            {n: e.score for n, e in expected.items()}, abs=1e-6
        )


def test_a_long_list_is_searched_like_a_short_one() -> None:
    random = np.random.default_rng(5)
    rows = normalise(random.normal(size=(BLOCK + 500, 16)).astype(np.float32))
    gallery = Gallery.build({f"e{i}": row[None] for i, row in enumerate(rows)})
    looks = [
        Look(vector=v, weight=0.5) for v in normalise(rows[7] + 0.1 * random.normal(size=(3, 16)).astype(np.float32))
    ]
    found, expected = best_evidence(gallery, looks, at_least=0.8), plain_evidence(gallery, looks, 0.8)
    assert found[0][0] == "e7"
    assert dict(found).keys() == expected.keys()
    assert {n: e.score for n, e in found} == pytest.approx({n: e.score for n, e in expected.items()}, abs=1e-6)


def test_looking_back_gives_everybody_the_best_of_all_that_was_weighed() -> None:
    gallery = Gallery.build({f"e{i}": some_looks(1, seed=i)[0].vector[None] for i in range(20)})
    looks = some_looks(6, seed=40)
    sets = [looks[:1], looks[:3], looks[2:6]]
    expected = [max(plain_evidence(gallery, some, -np.inf)[name].score for some in sets) for name in gallery.entries]
    np.testing.assert_allclose(best_scores(gallery, sets), expected, atol=1e-6)


def test_nobody_reaches_what_is_infinite() -> None:
    gallery = Gallery.build({"a": np.ones((1, 16), np.float32)})
    assert best_evidence(gallery, some_looks(2), at_least=np.inf) == []


def test_several_photos_are_joined_by_their_mean_and_each_stays() -> None:
    """The mean is nearer to a face than its photos are, unless one of them is poor."""
    face, *noise = normalise(np.eye(4, dtype=np.float32))
    photos = normalise(np.stack([face + part for part in noise]))
    gallery = Gallery.build({"a": photos})
    assert gallery.templates.shape == (4, 4)
    assert gallery.scores(face)[0][1] == pytest.approx(0.866, abs=1e-3)
    assert gallery.scores(photos[0])[0][1] == pytest.approx(1, abs=1e-6)


def test_photos_that_cancel_out_have_no_mean() -> None:
    axis = np.eye(3, dtype=np.float32)[:1]
    gallery = Gallery.build({"a": np.concatenate([axis, -axis])})
    assert gallery.templates.shape == (2, 3)
    assert gallery.scores(axis[0]) == [("a", 1.0)]


def test_an_empty_gallery_and_no_looks_give_nothing() -> None:
    empty = Gallery.build({})
    assert len(empty) == 0
    assert empty.scores(np.ones(4, np.float32)) == []
    assert best_evidence(empty, some_looks(3)) == []
    assert best_evidence(Gallery.build({"a": np.ones((1, 16), np.float32)}), []) == []


def test_a_gallery_does_not_change_with_the_arrays_it_was_built_from() -> None:
    templates: NDArray[np.float32] = np.eye(3, dtype=np.float32)[:1]
    gallery = Gallery.build({"a": templates})
    templates[:] = 0
    assert gallery.scores(np.eye(3, dtype=np.float32)[0]) == [("a", 1.0)]


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 3)), np.full((1, 3), np.nan), np.ones((1, 4)), np.ones((0, 3)), np.ones(3)]
)
def test_an_entry_with_bad_templates_is_named(bad: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="entry 'eve'"):
        Gallery.build({"adam": np.ones((1, 3), np.float32), "eve": bad.astype(np.float32)})


def test_an_entry_that_does_not_fit_the_cohort_is_named() -> None:
    cohort = Cohort.build(np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32))
    with pytest.raises(ValueError, match="entry 'adam': 3 dimensions, not 4"):
        Gallery.build({"adam": np.ones((1, 3), np.float32)}, cohort)
    assert len(Gallery.build({}, cohort)) == 0
