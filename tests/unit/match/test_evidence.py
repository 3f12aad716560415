"""A track's evidence: order-free, idempotent, of one person, and forgotten."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.match.conftest import SIZE, at_cosine, entry, look, message, person, seen, unit

from aegis.contracts.messages import Category, EmbeddedLook
from aegis.match.core import FORGET_SECONDS, LOOKS_KEPT, Match, TrackEvidence, Watchlist, find, not_after

CATEGORIES = {"barred": Category(threshold=0.5)}
ADA, BEN = person(1), person(2)
LIST = Watchlist({"ada": entry("ada", ADA), "ben": entry("ben", BEN)}, 7)
POOR = [look(seen(at_cosine(ADA, 0.54), 0.7, n), n) for n in range(1, 7)]
"""Looks at Ada in bad light: each alone says too little."""
LOOKS = [look(seen(ADA, 0.7, n), n, at=1000 + n / 10, quality=0.3 + n / 20) for n in range(1, 9)]


def verdict(looks: list[EmbeddedLook], evidence: TrackEvidence | None = None) -> tuple[str, float, int] | None:
    """Give the last look's match, as (entry, score, looks)."""
    evidence = TrackEvidence() if evidence is None else evidence
    found: list[Match] = []
    for one in looks:
        found = find(LIST, CATEGORIES, message(one), evidence)
    return (found[0].entry.id, found[0].evidence.score, found[0].evidence.looks) if found else None


@given(st.permutations(LOOKS), st.lists(st.sampled_from(LOOKS), max_size=5))
def test_any_order_and_any_repetition_ends_in_the_same_verdict(
    order: list[EmbeddedLook], again: list[EmbeddedLook]
) -> None:
    expected = verdict(LOOKS)
    assert expected is not None
    assert expected[0] == "ada"
    assert expected[2] == len(LOOKS)
    assert verdict(order) == expected
    assert verdict([*order, *again]) == expected
    assert verdict([*again, *order]) == expected


def test_looks_in_one_message_and_in_many_are_the_same() -> None:
    together = find(LIST, CATEGORIES, message(*LOOKS), TrackEvidence())
    assert (together[-1].evidence.score, together[-1].look) == (verdict(LOOKS)[1], LOOKS[-1])  # type: ignore[index]


def test_several_poor_looks_say_what_none_alone_says() -> None:
    assert [verdict([one]) for one in POOR] == [None] * 6
    together = verdict(POOR)
    assert together is not None
    assert together[0] == "ada"


def test_whoever_takes_the_place_of_somebody_alike_is_not_taken_for_them() -> None:
    alike = at_cosine(ADA, 0.38)
    evidence = TrackEvidence()
    watchlist = Watchlist({"ada": entry("ada", ADA), "alike": entry("alike", alike)}, 7)
    for number, (who, name) in enumerate([(ADA, "ada"), (ADA, "ada"), (alike, "alike")], 1):
        (match,) = find(watchlist, CATEGORIES, message(look(who, number)), evidence)
        assert match.entry.id == name


def test_tracks_cameras_leases_and_template_versions_are_evidence_apart() -> None:
    evidence = TrackEvidence()
    for number, one in enumerate(POOR):
        others = [
            message(replace(one, track=number)),
            message(one, camera=f"camera-{number}"),
            message(one, lease=100 + number),
            message(one, embedder=f"model.{10 + number}"),
        ]
        for other in others:
            assert find(LIST, CATEGORIES, other, evidence) == []


def test_an_older_lease_is_outdated() -> None:
    evidence = TrackEvidence()
    assert not evidence.outdated(message(lease=5))
    assert not evidence.outdated(message(lease=5))
    assert evidence.outdated(message(lease=4))
    assert not evidence.outdated(message(lease=4, camera="door")), "each camera by itself"
    assert not evidence.outdated(message(lease=6))
    assert evidence.outdated(message(lease=5))


def test_a_silent_track_is_forgotten() -> None:
    evidence = TrackEvidence()
    verdict(LOOKS[:3], evidence)
    find(LIST, CATEGORIES, message(look(BEN, 1, track=2, at=1005)), evidence)
    evidence.forget(LOOKS[2].seen_at + FORGET_SECONDS)
    assert len(evidence) == 2
    evidence.forget(LOOKS[2].seen_at + FORGET_SECONDS + 0.1)
    assert len(evidence) == 1
    evidence.forget(1005 + FORGET_SECONDS + 0.1)
    assert len(evidence) == 0


def test_a_look_that_comes_late_does_not_make_a_track_older() -> None:
    evidence = TrackEvidence()
    verdict([LOOKS[7], LOOKS[0]], evidence)
    evidence.forget(LOOKS[7].seen_at + FORGET_SECONDS - 0.01)
    assert len(evidence) == 1


def test_the_newest_look_counts_among_many_better_ones() -> None:
    evidence = TrackEvidence()
    for number in range(1, LOOKS_KEPT + 5):
        assert (
            find(LIST, CATEGORIES, message(look(seen(person(3), 0.8, 100 + number), number, quality=0.95)), evidence)
            == []
        )
    (match,) = find(LIST, CATEGORIES, message(look(ADA, LOOKS_KEPT + 5, quality=0.05)), evidence)
    assert (match.entry.id, match.evidence.looks) == ("ada", 1)
    (match,) = find(LIST, CATEGORIES, message(look(BEN, 1, quality=0.05)), evidence)
    assert match.entry.id == "ben", "also where its number is the lowest of all"


def test_a_track_keeps_only_so_many_looks() -> None:
    evidence = TrackEvidence()
    for number in range(1, 100):
        find(LIST, CATEGORIES, message(look(seen(ADA, 0.8, number), number)), evidence)
    (track,) = evidence._tracks.values()
    assert sorted(track.looks) == list(range(100 - LOOKS_KEPT, 100))


def test_looks_of_two_people_in_one_track_are_not_fused() -> None:
    evidence = TrackEvidence()
    for number in range(1, 7):
        find(LIST, CATEGORIES, message(look(seen(person(3), 0.8, 100 + number), number, quality=0.95)), evidence)
    poor = [replace(one, look=one.look + 10, quality=0.2) for one in POOR]
    found = [find(LIST, CATEGORIES, message(one), evidence) for one in poor]
    assert found[-1]
    assert (found[-1][0].entry.id, found[-1][0].evidence.looks) == ("ada", len(POOR))
    alone = verdict(poor)
    assert alone is not None
    assert found[-1][0].evidence.score == alone[1]


def test_two_people_of_the_list_in_one_track_are_both_found() -> None:
    evidence = TrackEvidence()
    found = []
    for number, who in enumerate([ADA, ADA, BEN, BEN], 1):
        found += find(LIST, CATEGORIES, message(look(seen(who, 0.8, number), number)), evidence)
    assert [match.entry.id for match in found] == ["ada", "ada", "ben", "ben"]


BAD = {
    "not unit": ("vector", (ADA * 1.01).tobytes()),
    "zero": ("vector", bytes(4 * SIZE)),
    "empty": ("vector", b""),
    "not numbers": ("vector", ADA.tobytes()[:-1]),
    "NaN": ("vector", np.full(SIZE, np.nan, "<f4").tobytes()),
    "one NaN": ("vector", np.where(np.arange(SIZE) == 3, np.nan, ADA).astype("<f4").tobytes()),
    "infinite": ("vector", np.full(SIZE, np.inf, "<f4").tobytes()),
    "another dimension": ("vector", unit(np.ones(SIZE // 2)).tobytes()),
    "quality above one": ("quality", 1.5),
    "quality NaN": ("quality", float("nan")),
    "quality infinite": ("quality", float("inf")),
    "time NaN": ("seen_at", float("nan")),
    "time beyond all years": ("captured_at", 1e18),
    "time before all": ("first_captured_at", -1e18),
}


@pytest.mark.parametrize("case", BAD)
def test_a_look_that_is_wrong_is_refused_by_name_and_is_no_evidence(case: str) -> None:
    field, value = BAD[case]
    evidence = TrackEvidence()
    bad = replace(LOOKS[1], **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"looks\.{field}: "):
        find(LIST, CATEGORIES, message(LOOKS[0], bad), evidence)
    assert len(evidence) == 0
    assert verdict(LOOKS, evidence) == verdict(LOOKS)


def test_a_clock_that_is_ahead_does_not_write_into_the_time_to_come() -> None:
    ahead = message(look(ADA, at=2000), look(BEN, at=900))
    assert [one.seen_at for one in not_after(ahead, 1000).looks] == [1000, 900]
