"""What is left of a track that has ended: its best score with everybody, and whom it was taken for."""

import numpy as np
import pytest
from tests.unit.match.conftest import Vector, at_cosine, entry, look, message, person, seen

from aegis.contracts.messages import Category
from aegis.match import core
from aegis.match.core import FORGET_SECONDS, SETS_KEPT, EndedTrack, TrackEvidence, Watchlist, find
from aegis.vision.scoring import SINGLE_LOOK_MARGIN

ADA, BEN = person(1), person(2)
CATEGORIES = {"barred": Category(threshold=0.5), "missing": Category(threshold=0.3)}
BOTH = Watchlist({"ada": entry("ada", ADA), "ben": entry("ben", BEN)}, 1)
LATER = 1000.0 + FORGET_SECONDS + 1


def ended(*looks: Vector, lists: Watchlist = BOTH, then: Watchlist | None = None) -> list[EndedTrack]:
    """Give what is left of a track of such looks; before the last of them the list becomes ``then``."""
    evidence = TrackEvidence()
    for number, vector in enumerate(looks, 1):
        known = then if then and number == len(looks) else lists
        find(known, CATEGORIES, message(look(vector, number)), evidence)
    return evidence.forget(LATER)


def best(track: EndedTrack) -> dict[str, float]:
    return dict(zip(track.entries, track.best.tolist(), strict=True))


def test_the_best_of_a_track_stays_when_later_looks_are_worse() -> None:
    (track,) = ended(at_cosine(ADA, 0.45), at_cosine(ADA, 0.44), at_cosine(ADA, 0.1))
    assert best(track)["ada"] == pytest.approx(0.445, abs=0.01)
    assert track.matched == frozenset()
    assert track.embedder == "model.1"


def test_what_the_first_looks_showed_together_stays_when_many_others_follow() -> None:
    """An alert could have come of it, so it is the visit's best."""
    first = [seen(at_cosine(ADA, 0.6), 0.8, n) for n in range(4)]
    (track,) = ended(*first)
    (longer,) = ended(*first, *[seen(at_cosine(ADA, 0.35), 0.8, 50 + n) for n in range(20)])
    assert best(longer)["ada"] >= best(track)["ada"] - 1e-6


def test_a_look_that_comes_again_and_again_is_weighed_once() -> None:
    evidence = TrackEvidence()
    for _ in range(3 * SETS_KEPT):
        find(BOTH, CATEGORIES, message(look(at_cosine(ADA, 0.4))), evidence)
    (track,) = evidence._tracks.values()
    assert len(track.weighed) == 1
    for number in range(2, 3 * SETS_KEPT):
        find(BOTH, CATEGORIES, message(look(seen(ADA, 0.8, number), number)), evidence)
    assert len(track.weighed) == SETS_KEPT


def test_of_a_very_long_list_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "LEARNT_ENTRIES", 1)
    assert ended(ADA) == []


def test_a_single_look_counts_as_it_was_compared() -> None:
    (track,) = ended(at_cosine(ADA, 0.4))
    assert best(track)["ada"] == pytest.approx(0.4 - SINGLE_LOOK_MARGIN, abs=1e-5)


def test_whom_it_was_taken_for_is_remembered_also_when_somebody_else_was_more_alike() -> None:
    near = Watchlist({"ada": entry("ada", ADA), "twin": entry("twin", at_cosine(ADA, 0.9))}, 1)
    (track,) = ended(ADA, lists=near)
    assert track.matched == {"ada", "twin"}
    (track,) = ended(ADA)
    assert track.matched == {"ada"}


def test_a_list_that_changes_begins_anew_but_forgets_no_match() -> None:
    alone = Watchlist({"ben": entry("ben", BEN)}, 2)
    (track,) = ended(at_cosine(BEN, 0.9), at_cosine(BEN, 0.2), then=alone)
    assert track.entries == ("ben",)
    assert track.matched == {"ben"}


def test_a_track_that_lives_or_was_compared_with_nobody_leaves_nothing() -> None:
    evidence = TrackEvidence()
    find(BOTH, CATEGORIES, message(look(ADA)), evidence)
    assert evidence.forget(1000.0 + FORGET_SECONDS - 1) == []
    assert len(evidence.forget(LATER)) == 1
    assert evidence.forget(LATER) == []
    assert ended(ADA, lists=Watchlist({}, 1)) == []


def test_what_is_left_is_a_number_for_each_entry_and_no_vector() -> None:
    (track,) = ended(at_cosine(ADA, 0.4), at_cosine(BEN, 0.3))
    assert track.best.shape == (2,)
    assert np.isfinite(track.best).all()
