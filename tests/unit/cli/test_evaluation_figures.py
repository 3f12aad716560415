"""What is computed of vectors of which everything is known."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis.cli.errors import CommandError
from aegis.cli.evaluation import cells, command, figures, searches, words
from aegis.cli.evaluation.figures import Figures
from aegis.cli.evaluation.groups import AtThreshold, Comparison
from aegis.cli.evaluation.photos import Listed, Photo
from aegis.cli.evaluation.searches import Experiment, Search, assign, compared, experiment, held_out
from aegis.vision.error_rates import Rate, disparity
from aegis.vision.normalisation import MIN_PEOPLE
from aegis.vision.scoring import SINGLE_LOOK_MARGIN, Look

DIMENSION = 128
METHOD = {"Date": "2026-11-23", "Seed": 1}


def vector(direction: int, noise: float, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = np.random.default_rng(direction).normal(0, DIMENSION**-0.5, DIMENSION) + rng.normal(0, noise, DIMENSION)
    return (found / np.linalg.norm(found)).astype(np.float32)


def people(count: int, photos: int, *, noise: float = 0.05, first: int = 0, **groups: str) -> list[Photo]:
    """Make people, each with photos around a direction of its own."""
    rng = np.random.default_rng(first + count)
    found = []
    for person in range(first, first + count):
        for number in range(photos):
            made = vector(person, noise, rng)
            listed = Listed(path=Path(f"secret-{person}-{number}.jpg"), person=f"secret-{person}", groups=groups)
            found.append(Photo(listed=listed, template=made, looks=(Look(vector=made, weight=0.8),)))
    return found


def compute(photos: list[Photo], **given: Any) -> Figures:
    return figures.compute(
        photos, **{"size": 600, "only": None, "given": None, "seed": 1, "progress": lambda *_: None, **given}
    )[0]


def search(right: float, wrong: float, person: str = "p") -> Search:
    return Search(person=person, groups={}, right=right, wrong=wrong, pointed="", beside=None)


def made_of(mated: list[Search], non_mated: list[Search]) -> Experiment:
    return Experiment(enrolled=9, photos=1, looks=1, mated=mated, non_mated=non_mated)


def test_nobody_plays_two_parts() -> None:
    photos = people(40, 3) + people(300, 1, first=1000)
    roles = assign(photos, 30, None, np.random.default_rng(3), own_cohort=True)
    assert len(roles.gallery) == 30
    assert all(len(own) == 3 for own in roles.gallery.values()), "they have another photo"
    assert not set(roles.gallery) & set(roles.strangers)
    assert len(roles.gallery) + len(roles.strangers) == 340 - 62, "a fifth of the other people is set aside"
    assert roles.cohort is None, "62 people are too few for a cohort"
    large = assign(people(700, 1), 30, None, np.random.default_rng(3), own_cohort=True)
    assert large.cohort is not None
    assert len(large.cohort) >= MIN_PEOPLE
    assert len(large.gallery) == 30, "without second photos people are enrolled all the same"


def test_only_some_may_be_enrolled_and_the_rest_is_searched() -> None:
    photos = people(20, 2, age="adult") + people(20, 2, first=50, age="minor")
    roles = assign(photos, 600, ("age", "adult"), np.random.default_rng(3), own_cohort=False)
    assert {own[0].listed.groups["age"] for own in roles.gallery.values()} == {"adult"}
    assert len(roles.strangers) == 20


def test_the_first_photo_that_can_be_enrolled_is() -> None:
    photos = [replace(photo, template=None, refusal="several faces") for photo in people(3, 1)] + people(3, 1)
    roles = assign(photos, 600, None, np.random.default_rng(3), own_cohort=False)
    assert all(own[0].template is not None and len(own) == 2 for own in roles.gallery.values())


def test_a_search_finds_its_person_and_no_stranger() -> None:
    roles = assign(people(20, 2, noise=0.01), 10, None, np.random.default_rng(3), own_cohort=False)
    found = experiment(roles, None)
    assert (len(found.mated), len(found.non_mated)) == (10, 20)
    assert all(search.right == pytest.approx(1 - SINGLE_LOOK_MARGIN, abs=0.03) for search in found.mated)
    assert found.fnir(0.5) == Rate(0, 10)
    assert found.fpir(0.9) == Rate(0, 20)


def test_what_one_draw_says_stands_beside_what_others_say() -> None:
    found = compute(people(120, 3, noise=0.12) + people(300, 1, first=1000), size=60)
    spread = {drawn.wanted: drawn for drawn in found.redrawn}
    assert list(spread) == [0.01, 0.003], "there are too few searches for a lower FPIR"
    one = found.identification[-1].points[0].fnir.value
    assert one is not None
    assert spread[0.01].least <= one <= spread[0.01].most
    assert 0 < spread[0.01].least < spread[0.01].median < spread[0.01].most < 1
    assert compute(people(120, 3, noise=0.12) + people(300, 1, first=1000), size=60).redrawn == found.redrawn
    assert not compute(people(300, 1)).redrawn, "without second photos nothing is missed"


def test_faces_beside_the_person_are_no_errors() -> None:
    photos = people(20, 2, noise=0.01)
    roles = assign(photos, 10, None, np.random.default_rng(3), own_cohort=False)
    enrolled = next(iter(roles.gallery.values()))[0].looks[0]
    crowd = {name: [replace(p, looks=(*p.looks, enrolled)) for p in own] for name, own in roles.strangers.items()}
    found = experiment(replace(roles, strangers=crowd), None)
    assert found.fpir(0.9).errors == 0
    assert found.beside(0.9) == Rate(20, 20)


def test_rates_at_a_threshold_are_counted_by_hand() -> None:
    found = made_of(
        [search(0.9, -np.inf), search(0.45, -np.inf), search(-np.inf, 0.7), search(-np.inf, -np.inf)],
        [search(-np.inf, score) for score in (0.1, 0.2, 0.3, 0.4, 0.6)],
    )
    assert found.fnir(0.5) == Rate(3, 4), "below the threshold, a wrong name, and no look at all"
    assert found.misnamed(0.5) == Rate(1, 4)
    assert found.fpir(0.5, 0.2) == Rate(1, 5, 1.0)
    assert 0.4 < found.threshold(0.2) < 0.6


def test_a_threshold_of_one_half_is_tried_on_the_other() -> None:
    # The people of the first half score higher, so their threshold lets nobody of the second through.
    non_mated = [search(-np.inf, 0.8 if n % 2 == 0 else 0.3, f"s{n}") for n in range(20)]
    mated = [search(0.5, -np.inf, f"m{n}") for n in range(20)]
    false, missed = held_out(made_of(mated, non_mated), 0.0)
    assert (false.errors, false.trials) == (10, 20)
    assert (missed.errors, missed.trials) == (10, 20)


def test_more_photos_and_looks_are_compared_on_the_same_people() -> None:
    photos = people(60, 4, noise=0.12)
    roles = assign(photos, 25, None, np.random.default_rng(3), own_cohort=False)
    found = compared(roles, None, 25)
    assert [(e.photos, e.looks) for e in found] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {len({search.person for search in e.mated}) for e in found} == {25}
    assert [len(e.mated) for e in found] == [50, 25, 50, 25]
    mean = [float(np.mean([search.right for search in e.mated])) for e in found]
    assert mean[0] < mean[1] < mean[3], "more evidence is better evidence"
    assert compared(assign(people(60, 2), 25, None, np.random.default_rng(3), own_cohort=False), None, 25) == []


def test_groups_are_measured_apart_and_together() -> None:
    red, grey = people(40, 2, first=0, hair="red", age="adult"), people(40, 2, first=300, hair="grey", age="adult")
    few = people(2, 2, first=600, hair="green", age="minor")
    found = {group.name: group for group in compute(red + grey + few).groups}
    assert set(found) == {"age", "hair", "age and hair"}
    assert found["hair"].people == {"grey": 40, "red": 40}
    assert found["hair"].small == {"green": 2}
    assert list(found["age and hair"].people) == ["adult, grey", "adult, red"]
    assert found["hair"].no_look.rates["red"] == Rate(0, 80)
    pairs = found["hair"].pairs[0].false.rates["red"]
    assert pairs.trials == 80 * 79 // 2 - 40


def test_a_column_with_one_value_is_no_group(tmp_path: Path) -> None:
    photos = people(40, 2, hair="red", age="adult") + people(40, 2, first=300, hair="grey", age="adult")
    found = compute([*photos, *people(10, 1, first=600)])
    assert [group.name for group in found.groups] == ["hair"]
    assert found.uniform == ["age"]
    page = command.write(found, METHOD, tmp_path).read_text()
    assert "Only one value, so nothing to compare: age." in page
    assert "By age" not in page
    alone = compute(people(40, 2, age="adult"))
    assert alone.groups == []
    assert "nothing to compare: age." in list(words.summary(alone))[-1]


def test_one_large_group_has_nothing_to_compare_with(tmp_path: Path) -> None:
    found = compute(people(60, 2, hair="red") + people(5, 2, first=300, hair="grey"), size=20)
    page = command.write(found, METHOD, tmp_path).read_text()
    text = "Only one group is large enough, so there is nothing to compare."
    assert text in list(words.summary(found))[-1]
    assert page.count(text) == 2, "in plain words and beside the table"
    assert "No group has an error" not in page
    assert "Worst against" not in page


def test_who_is_worse_off_is_told_with_threshold_and_counts() -> None:
    assert words.worse(groups_at(0.25, red=Rate(6, 20, 5.0), grey=Rate(3, 20, 5.0)), 0.5) == (
        "At a much lower threshold than a category has unless it sets one, 0.25 instead of 0.50, so that there are"
        " errors to compare, people labelled red were wrongly pointed at 1.3 times as often as the mean of the groups"
        " and 2.0 times as often as those labelled grey (6 of 20 searches against 3 of 20). The intervals of these two"
        " overlap: it may be chance."
    )
    assert words.worse(groups_at(0.55, red=Rate(60, 99), grey=Rate(0, 99)), 0.5) == (
        "At the threshold 0.55, people labelled red were wrongly pointed at 2.0 times as often as the mean of the"
        " groups, and those labelled grey not at all (60 of 99 searches against 0 of 99)."
    )
    alike = words.worse_pairs(groups_at(0.36, red=Rate(50, 100), grey=Rate(49, 100)))
    assert alike.endswith("no difference was found (red and grey: 50 of 100 pairs against 49 of 100).")


def groups_at(threshold: float, **rates: Rate) -> AtThreshold:
    false = Comparison(rates=rates, disparity=disparity(rates))
    return AtThreshold(threshold=threshold, why="", false=false, missed=None, told=True)


def test_columns_that_the_summary_does_not_tell_of_are_named() -> None:
    photos = [
        replace(photo, listed=replace(photo.listed, groups={name: "ab"[n // step % 2] for name, step in steps}))
        for steps in [(("one", 1), ("two", 2), ("four", 4))]
        for n, photo in enumerate(people(400, 1, noise=0.1))
    ]
    texts = list(words.summary(compute(photos, size=100)))
    told = {name for text in texts[:-1] for name in re.findall(r"^For whom it is worse, by (.*?)\.", text)}
    assert texts[-1].startswith("For whom it is worse, further below. Groups were also measured by ")
    others = texts[-1].removesuffix(".").partition(" measured by ")[2].split("; by ")
    assert told
    assert told | set(others) == {"one", "two", "four", "four and one", "four and two", "one and two"}
    assert "FPIR" not in " ".join(texts)


def test_the_lowest_fpir_expects_five_errors_in_every_group() -> None:
    photos = people(100, 1, hair="red") + people(500, 1, first=1000, hair="grey")
    (found,) = compute(photos, size=60).groups
    counts = [rate.trials for rate in found.searches[0].false.rates.values()]
    assert found.lowest_fpir == pytest.approx(5 / min(counts))
    assert all(rate.supported for rate in found.searches[0].false.rates.values())
    assert not all(rate.supported for rate in found.searches[-1].false.rates.values())


def test_the_table_of_thresholds_says_what_is_supported() -> None:
    # All of "red" resemble each other, so they are taken for one another at thresholds that "grey" never reaches.
    alike = [replace(p, listed=replace(p.listed, person=f"r{n}")) for n, p in enumerate(people(1, 150, noise=0.09))]
    red = [replace(p, listed=replace(p.listed, groups={"hair": "red"})) for p in alike]
    found = compute(red + people(150, 1, first=500, hair="grey"), size=60)
    rows = {row.threshold: row for row in found.fairness}
    assert rows[0.4].group == "red"
    assert rows[0.4].worst_over_mean == pytest.approx(2.0, abs=0.2)
    assert rows[0.4].supported
    assert rows[0.4].unsupported == []


def test_a_photo_that_is_there_twice_is_left_out() -> None:
    photos = people(30, 1, noise=0.05)
    again = replace(photos[0], listed=replace(photos[0].listed, person="somebody else"))
    found = compute([*photos, again])
    assert found.acquisition.copies == 1
    assert found.photos == 30


def test_the_same_seed_gives_the_same_figures() -> None:
    photos = people(80, 3, noise=0.1, hair="red")
    assert compute(photos) == compute(photos)
    assert compute(photos, size=20) != compute(photos, size=20, seed=2)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_hardly_anything_is_reported_too(kept: int, tmp_path: Path) -> None:
    blind = [replace(photo, template=None, looks=(), refusal="no face") for photo in people(3, 2)]
    found = compute([*people(kept, 2, first=50), *blind])
    assert found.acquisition.people_lost == 3
    assert command.write(found, METHOD, tmp_path).exists()


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.14, "14 %"), (0.037, "3.7 %"), (0.0021, "0.21 %"), (1e-5, "0.0010 %"), (1.0, "100 %")],
)
def test_a_share_has_two_digits(share: float, text: str) -> None:
    assert searches.percent(share) == text


def test_the_summary_counts_a_year() -> None:
    found = compute(people(60, 4, noise=0.1, hair="red") + people(60, 1, first=500, hair="grey"), size=30)
    text = " ".join(words.summary(with_default(found, Rate(9, 1000), Rate(20, 100))))
    assert "point wrongly at about 810 of them a year (370 to 1,500)." in text
    assert "Of 100 visits of people on the list, about 20 (13 to 29) would go unnoticed" in text
    assert "With a list of 30 people" in text
    assert "For whom it is worse" in text
    text = " ".join(words.summary(with_default(found, Rate(0, 6000), Rate(2, 200))))
    assert "point wrongly at none of them a year (none to 55). Only 0 of 6,000 searches did." in text
    assert "Of 100 visits of people on the list, about 1 (less than one to 4) would go unnoticed" in text


def test_a_small_set_says_first_that_it_is() -> None:
    found = compute(people(60, 2), size=30)
    alarms, misses, *_ = words.summary(with_default(found, Rate(0, 27), Rate(1, 20)))
    assert alarms.startswith(
        "Wrongly pointed at: the set is too small to say how often, anything from none to as many as 11,000 a year. "
    )
    assert "it was 0 of 27 searches" in alarms
    assert "To tell one in 1,000, about 5,000 such searches are needed: 5,000 people with one photo each" in alarms
    assert misses.startswith("Missed: the set is too small to say how often, anything from less than one to 25 of 100 ")
    assert "To tell 5 in 100, about 100 such searches are needed" in misses


def test_many_people_under_two_names_are_warned_of_first() -> None:
    several = [replace(p, listed=replace(p.listed, person=f"p{n}")) for n, p in enumerate(people(30, 4, noise=0.05))]
    found = compute(several, size=30)
    assert next(iter(words.summary(found))).startswith(f"Check the names first. {found.doubtful} pairs of people ")
    few = replace(found, doubtful=2)
    assert next(iter(words.summary(few))).startswith("Wrongly pointed at")


def test_the_terminal_counts_what_could_not_be_used() -> None:
    blind = [replace(photo, template=None, looks=(), refusal="no face") for photo in people(3, 1, first=900)]
    crowd = [replace(photo, template=None, refusal="several faces") for photo in people(2, 1, first=950)]
    few = people(2, 1, first=600, hair="green", age="adult")
    found = compute([*people(40, 2, hair="red", age="adult"), *few, *blind, *crowd])
    assert list(words.notes(found)) == [
        "5 of 87 photos could not be enrolled: 3 no face, 2 several faces",
        "1 group with fewer than 20 people left uncompared: green (2)",
        "left out of the groups: Only one value, so nothing to compare: age.",
    ]
    assert list(words.notes(compute(people(3, 2)))) == []


def with_default(found: Figures, fpir: Rate, fnir: Rate) -> Figures:
    """Give figures with other rates at the default threshold."""
    product = found.identification[-1]
    changed = replace(product, default=replace(product.default, fpir=fpir, fnir=fnir))
    return replace(found, identification=[*found.identification[:-1], changed])


def test_the_report_stands_by_itself_and_names_nobody(tmp_path: Path) -> None:
    found = compute(people(60, 4, noise=0.1, hair="<b>red") + people(60, 1, first=500, hair="grey"), size=30)
    page = command.write(found, METHOD, tmp_path).read_text()
    data = (tmp_path / "report.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert "secret" not in page + data, "people and photos are not named"
    assert "&lt;b&gt;red" in page
    assert "<b>red" not in page
    assert not re.search(r"""(src|href)=["'](?!#)|@import|url\((?!#)""", page), "it loads nothing"
    assert Counter(re.findall(r' id="([^"]+)"', page)).most_common(1)[0][1] == 1, "names in it are unique"
    assert page.count("<svg") >= 3
    table = json.loads(data)
    assert table["method"] == METHOD
    rate = table["figures"]["identification"][0]["default"]["fpir"]
    assert set(rate) == {"rate", "errors", "trials", "low", "high", "expected", "supported"}
    assert {"threshold", "worst_over_mean", "supported"} <= set(table["figures"]["fairness"][0])


def test_a_curve_says_where_chance_begins(tmp_path: Path) -> None:
    found = compute(people(60, 4, noise=0.1) + people(40, 5, first=500, noise=0.2), size=60)
    least = searches.percent(5 / found.identification[-1].non_mated)
    page = command.write(found, METHOD, tmp_path).read_text()
    assert f"Below FPIR {least} the curve rests on fewer than five errors: not supported." in page


def test_a_threshold_that_the_set_cannot_give_says_what_it_needs(tmp_path: Path) -> None:
    found = compute(people(60, 4, noise=0.1) + people(200, 1, first=500), size=60)
    wanted, *rare = found.identification[-1].points
    assert wanted.threshold < 1
    assert [(point.threshold, point.needed, point.fpir.value) for point in rare] == [
        (np.inf, 334, None),
        (np.inf, 1000, None),
    ]
    page = command.write(found, METHOD, tmp_path).read_text()
    assert "<td>needs at least 1,000 searches</td><td>&ndash;</td>" in page
    assert "<td>needs at least 2,000 searches</td>" in page, "where each half asks for its own"
    points = json.loads((tmp_path / "report.json").read_text())["figures"]["identification"][0]["points"]
    assert [point["threshold"] for point in points[1:]] == [None, None]
    assert points[1]["fpir"]["supported"] is False
    assert compute(people(20, 2)).verification.at[-1].needed == 100_000  # type: ignore[union-attr]


def test_misses_are_as_good_as_their_threshold() -> None:
    found = compute(people(60, 4, noise=0.1) + people(200, 1, first=500), size=60).identification[-1]
    many = Rate(19, 145)
    at_default, at_fpir = replace(found.default, fnir=many), replace(found.points[0], fnir=many)
    assert cells.MARK not in cells.missed(at_default), "a site sets it, whatever its FPIR is"
    assert cells.MARK in cells.missed(at_fpir), "two false alarms set it"
    assert cells.MARK not in cells.missed(replace(at_fpir, fpir=Rate(5, 500, 5.0)))
    assert cells.MARK in cells.missed(replace(at_default, fnir=Rate(4, 145)))


def test_without_a_curve_nothing_is_said_of_one(tmp_path: Path) -> None:
    page = command.write(compute(people(60, 2, noise=0.01), size=20), METHOD, tmp_path).read_text()
    assert "There are too few errors for a curve." in page
    assert "the curve rests on" not in page.partition("On pairs of photos")[0]


def test_who_is_also_searched_is_left_out_of_a_cohort_that_is_given() -> None:
    photos, others = people(40, 2, noise=0.02), people(120, 1, first=900)
    found = compute(photos, given=[*others, *people(5, 1, noise=0.02)])
    assert (found.cohort_people, found.cohort_left_out) == (120, 5)
    assert compute(photos, given=others[:99]).cohort_people == 0


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CommandError, match="the report cannot be written to"):
        command.write(compute(people(5, 2)), METHOD, tmp_path / "taken")
