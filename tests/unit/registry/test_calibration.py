"""Thresholds from entries, cohort, traffic and what was learnt."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aegis.contracts.messages import Category, EntryRecord, Severity, SiteRecord
from aegis.registry import calibration, core
from aegis.registry.calibration import Learnt
from aegis.runtime.site_categories import Calibration
from aegis.vision.embedding import normalise
from aegis.vision.impostors import ImpostorHistogram
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

SIZE = 32


def people(count: int, seed: int, size: int = SIZE) -> NDArray[np.float32]:
    return normalise(np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32))


COHORT = Cohort.build(people(400, 1))
LISTED = people(12, 2)
CATEGORIES = {
    "barred": Category(accepted=1.0),
    "fixed": Category(threshold=0.55),
    "empty": Category(accepted=1.0, severity=Severity.LOW, threshold=0.6),
}
SETTINGS = Calibration(visits_per_week=100)


def gallery(count: int = 12, cohort: Cohort | None = COHORT) -> Gallery:
    return Gallery.build({f"p{n}": LISTED[n : n + 1] for n in range(count)}, cohort)


def counted(*scores: float) -> ImpostorHistogram:
    histogram = ImpostorHistogram()
    histogram.add(np.array(scores))
    return histogram


def derived(
    cohort: Cohort | None = COHORT, learnt: dict[str, ImpostorHistogram] | None = None, **changes: float
) -> dict[str, Category]:
    found = {"barred": gallery(cohort=cohort), "fixed": gallery(3, cohort)}
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return calibration.calibrate(CATEGORIES, found, cohort, learnt or {}, settings)


def test_each_category_is_told_what_its_threshold_comes_to() -> None:
    found = derived()
    barred, fixed, empty = found["barred"], found["fixed"], found["empty"]
    assert barred.upper is not None
    assert barred.expected is not None
    assert 0 < barred.expected < barred.upper <= 1.0
    assert (barred.accepted, barred.problem) == (1.0, "")
    assert barred.basis in {"measured", "extrapolated"}
    assert fixed.threshold == 0.55
    assert fixed.upper is not None
    assert fixed.upper > 0
    assert empty == CATEGORIES["empty"], "nobody is listed, so nothing is promised and nothing is wrong"


def test_more_people_and_more_visits_need_a_higher_threshold() -> None:
    few = calibration.calibrate(CATEGORIES, {"barred": gallery(1)}, COHORT, {}, SETTINGS)["barred"].threshold
    assert few < derived()["barred"].threshold < derived(visits_per_week=10_000)["barred"].threshold


def test_without_a_cohort_the_stricter_of_default_and_last_stays_and_the_reason_is_told() -> None:
    for last, kept in ((0.35, 0.5), (0.62, 0.62)):
        category = Category(accepted=1.0, threshold=last, expected=0.5, upper=0.9, basis="measured")
        found = calibration.calibrate({"barred": category}, {"barred": gallery(cohort=None)}, None, {}, SETTINGS)
        assert (found["barred"].threshold, found["barred"].expected, found["barred"].basis) == (kept, None, "")
        assert "There is no cohort" in found["barred"].problem
    assert derived(cohort=None)["fixed"] == CATEGORIES["fixed"]


def test_what_was_learnt_is_believed_once_it_is_enough() -> None:
    scores = np.random.default_rng(3).normal(0.1, 0.05, 2000)
    enough = {"barred": counted(*scores), "fixed": counted(*scores)}
    found = derived(learnt=enough)
    assert (found["barred"].basis, found["fixed"].basis) == ("learnt", "learnt")
    assert found["barred"].threshold < derived()["barred"].threshold
    assert derived(learnt={name: counted(*scores[:900]) for name in enough}) == derived()


def test_a_category_s_histogram_has_every_high_score_of_its_entries() -> None:
    one, two = counted(0.41, 0.1, 0.1, 0.1), counted(0.3, 0.1, 0.1, 0.1)
    both = calibration.of_category([one, two])
    assert len(both) == 4
    assert np.array_equal(both.counts, counted(0.41, 0.3, 0.1, 0.1).counts)
    assert np.array_equal(calibration.of_category([one]).counts, one.counts)


def test_entries_that_have_seen_more_count_by_their_share() -> None:
    many, few = counted(*[0.41] * 3, *[0.1] * 27), counted(*[0.1] * 10)
    both = calibration.of_category([many, few])
    assert len(both) == 10
    assert both.counts[(np.arange(400) + 1) / 200 - 1 > 0.405].sum() == 1
    assert len(calibration.of_category([many, ImpostorHistogram()])) == 0
    assert len(calibration.of_category([])) == 0


def test_traffic_is_told_from_a_day_on() -> None:
    learnt = {"a": Learnt(histogram=counted(*[0.1] * 20), since=1000.0), "b": Learnt(histogram=counted(), since=5.0)}
    assert calibration.traffic(learnt, 1000.0 + 3600) == (20, 3600.0, None)
    visits, seconds, weekly = calibration.traffic(learnt, 1000.0 + 2 * 86_400)
    assert (visits, seconds) == (20, 2 * 86_400.0)
    assert weekly == pytest.approx(70)
    assert calibration.traffic({}, 5.0) == (0, 0.0, None)


def test_no_threshold_becomes_lower_before_an_entry_is_listed() -> None:
    now = {"a": Category(threshold=0.6), "b": Category(threshold=0.4)}
    then = {"a": Category(threshold=0.5, accepted=1.0), "b": Category(threshold=0.5), "c": Category(threshold=0.3)}
    found = calibration.stricter(now, then)
    assert {name: category.threshold for name, category in found.items()} == {"a": 0.6, "b": 0.5, "c": 0.3}
    assert found["a"].accepted == 1.0


def test_who_resembles_more_people_than_almost_everybody_is_named() -> None:
    middle = people(1, 6)
    alike = normalise(middle + people(30, 7))
    cohort = Cohort.build(np.concatenate([COHORT.templates, alike]))
    assert calibration.resembling_many({"many": middle, "few": LISTED[:1]}, cohort) == {"many"}


def test_a_cohort_has_nobody_of_the_list_and_nobody_twice() -> None:
    offered = people(50, 4, 128)
    again = normalise(offered[7:8] + 0.5 * people(1, 5, 128))
    chosen = core.choose_cohort(np.concatenate([offered, again]), offered[[3, 30]])
    assert (len(chosen.templates), chosen.listed, chosen.twice) == (48, 2, 1)
    assert np.array_equal(chosen.templates, np.delete(offered, [3, 30], axis=0))
    assert core.choose_cohort(offered, np.empty((0, 128), np.float32)).listed == 0


def test_what_was_derived_outlives_a_restart_with_the_same_demand() -> None:
    known = Category(accepted=1.0, threshold=0.61, expected=0.4, upper=0.9, basis="measured")
    site = SiteRecord(id="s", name="S", kind="venue", categories={"barred": known, "fixed": known}, cohort="c1")
    wanted = {"barred": Category(severity=Severity.LOW, accepted=2.0), "fixed": Category(threshold=0.45)}
    merged = core.merge_site(replace(site, categories=wanted, cohort=""), site, 5.0)
    assert merged.cohort == "c1"
    assert merged.categories == {
        "barred": replace(known, severity=Severity.LOW, accepted=2.0),
        "fixed": Category(threshold=0.45),
    }


def test_entries_of_one_category_are_one_gallery() -> None:
    def entry(name: str, category: str) -> EntryRecord:
        return EntryRecord(id=name, name=name, category=category, embedder="e", added_at=1.0, templates=())

    entries = {"a": entry("a", "x"), "b": entry("b", "y"), "c": entry("c", "x"), "broken": entry("broken", "x")}
    templates = {"a": LISTED[:1], "b": LISTED[1:2], "c": LISTED[2:4]}
    found = calibration.galleries(entries, templates, COHORT)
    assert {category: one.entries for category, one in found.items()} == {"x": ("a", "c"), "y": ("b",)}
