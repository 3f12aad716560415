"""Whom evidence shows: the best entry that reaches its category's threshold."""

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.match.conftest import SIZE, VERSION, Vector, at_cosine, entry, look, message, person, seen, unit

from aegis.contracts.messages import Category, EntryRecord, Severity, Template
from aegis.match.core import TrackEvidence, Watchlist, find
from aegis.vision.scoring import SINGLE_LOOK_MARGIN, Look

ADA, BEN = person(1), person(2)
CATEGORIES = {"barred": Category(threshold=0.5), "missing": Category(threshold=0.4, severity=Severity.LOW)}


def watchlist(*entries: EntryRecord) -> Watchlist:
    return Watchlist({one.id: one for one in entries}, 7)


def best(listed: Watchlist, *vectors: Vector, embedder: str = VERSION) -> str | None:
    looks = [Look(vector=vector, weight=0.8) for vector in vectors]
    passing = listed.passing(embedder, looks, CATEGORIES)
    return passing[0][0] if passing else None


@pytest.mark.parametrize(("category", "threshold"), [("barred", 0.5), ("missing", 0.4)])
def test_each_category_has_its_own_threshold(category: str, threshold: float) -> None:
    listed = watchlist(entry("ada", ADA, category=category))
    needed = threshold + SINGLE_LOOK_MARGIN
    assert best(listed, at_cosine(ADA, needed + 0.01)) == "ada"
    assert best(listed, at_cosine(ADA, needed - 0.01)) is None
    together = [at_cosine(ADA, needed - 0.01)] * 2
    assert best(listed, *together) == "ada", "two looks need no margin"


def test_a_lower_threshold_of_others_lets_nobody_in() -> None:
    """The one whose category asks for less is found, though another one is more alike."""
    listed = watchlist(entry("near", at_cosine(ADA, 0.5)), entry("far", at_cosine(ADA, 0.47), category="missing"))
    looks = [Look(vector=ADA, weight=0.8)]
    assert [name for name, _ in listed.passing(VERSION, looks, CATEGORIES)] == ["far"]
    assert listed.passing(VERSION, looks, {"barred": CATEGORIES["barred"]}) == []
    assert listed.passing(VERSION, looks, {}) == []


def test_a_category_that_is_not_known_never_matches() -> None:
    assert best(watchlist(entry("ada", ADA, category="gone")), ADA) is None
    both = watchlist(entry("ada", ADA, category="gone"), entry("ben", at_cosine(ADA, 0.7)))
    assert best(both, ADA) == "ben"


def test_a_template_of_another_version_never_matches() -> None:
    listed = watchlist(entry("ada", ADA, embedder="model.2"), entry("ben", BEN))
    assert best(listed, ADA) is None
    assert best(listed, ADA, embedder="model.2") == "ada"
    assert best(listed, ADA, embedder="model.3") is None


def test_the_best_of_several_photos_counts() -> None:
    listed = watchlist(entry("ada", person(3), ADA, person(4)))
    assert best(listed, seen(ADA, 0.8, 1)) == "ada"
    assert best(listed, seen(person(4), 0.8, 1)) == "ada"
    assert best(listed, seen(BEN, 0.8, 1)) is None


def test_the_most_alike_wins_whatever_its_category() -> None:
    listed = watchlist(entry("near", at_cosine(ADA, 0.8)), entry("far", at_cosine(ADA, 0.75), category="missing"))
    assert best(listed, ADA) == "near"


def test_who_was_removed_is_not_matched() -> None:
    assert best(watchlist(entry("ada", ADA), entry("ben", BEN)), ADA) == "ada"
    assert best(watchlist(entry("ben", BEN)), ADA) is None
    assert best(watchlist(), ADA) is None


def test_nobody_is_matched_by_no_look() -> None:
    assert best(watchlist(entry("ada", ADA))) is None


BROKEN = {
    "no templates": (),
    "empty": (b"",),
    "zero": (bytes(4 * SIZE),),
    "NaN": (np.full(SIZE, np.nan, "<f4").tobytes(),),
    "half a number": (ADA.tobytes()[:-1],),
    "another dimension": (unit(np.ones(64)).tobytes(),),
    "two dimensions": (ADA.tobytes(), unit(np.ones(64)).tobytes()),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_broken_template_keeps_nobody_else_from_being_matched(case: str) -> None:
    broken = replace(entry("broken"), templates=tuple(Template(vector=v, photo="p") for v in BROKEN[case]))
    listed = watchlist(entry("ada", ADA), broken, entry("ben", BEN))
    assert list(listed.unusable) == ["broken"]
    assert listed.usable().total() == len(listed.entries) - 1
    assert listed.unusable["broken"]
    assert best(listed, ADA) == "ada"
    assert best(listed, BEN) == "ben"
    assert listed.dimension(VERSION) == SIZE


def test_the_dimension_is_known_once_somebody_is_enrolled() -> None:
    assert watchlist().dimension(VERSION) is None
    assert watchlist(entry("ada", ADA)).dimension(VERSION) == SIZE
    assert watchlist(entry("ada", ADA)).dimension("model.2") is None


def test_a_canary_who_is_more_alike_hides_nobody() -> None:
    categories = {**CATEGORIES, "staff": Category(threshold=0.5, canary=True)}
    both = watchlist(entry("ada", at_cosine(ADA, 0.8)), entry("sam", ADA, category="staff"))
    (found,) = find(both, categories, message(look(ADA)), TrackEvidence())
    assert found.entry.id == "ada"
    alone = watchlist(entry("sam", ADA, category="staff"))
    (found,) = find(alone, categories, message(look(ADA)), TrackEvidence())
    assert (found.entry.id, found.category.canary) == ("sam", True)
