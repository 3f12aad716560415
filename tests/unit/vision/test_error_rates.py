"""Rates, thresholds and differences, by hand."""

import numpy as np
import pytest

from aegis.vision.error_rates import (
    Histogram,
    Rate,
    clopper_pearson,
    disparity,
    fold_accuracy,
    fold_pairs,
    pair_scores,
    reaching,
    threshold_at,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),  # 1 - 0.025 ** (1 / 10)
        (10, 10, 0.6915, 1.0),
        (1, 10, 0.0025, 0.4450),  # tables of Clopper and Pearson
        (5, 100, 0.0164, 0.1128),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_exact_interval(errors: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(errors, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_bounds_leave_a_fortieth_on_each_side() -> None:
    low, high = clopper_pearson(1, 10)
    assert 1 - (1 - low) ** 10 == pytest.approx(0.025)
    assert (1 - high) ** 10 + 10 * high * (1 - high) ** 9 == pytest.approx(0.025)


def test_a_rate_is_supported_from_five_expected_errors_on() -> None:
    assert Rate(5, 100).supported
    assert not Rate(4, 100).supported
    assert Rate(0, 500, 5.0).supported
    assert not Rate(9, 500, 4.9).supported
    assert Rate(0, 0).value is None


def test_a_threshold_lets_no_more_through_than_its_rate() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9])
    assert reaching(scores, threshold_at(scores, 0.3)) == 3
    assert 0.7 < threshold_at(scores, 0.3 - 1e-3) < 0.9
    assert reaching(scores, threshold_at(scores, 0.1)) == 0, "two equal scores cannot be let through one by one"
    assert reaching(scores, threshold_at(scores, 0.0)) == 0
    assert reaching(scores, threshold_at(scores, 1.0)) == 10
    assert threshold_at(np.array([]), 0.1) == float("inf")


def test_a_histogram_counts_as_the_scores_do(rng: np.random.Generator) -> None:
    scores = rng.uniform(-1, 1, 5000)
    counted = Histogram()
    counted.add(scores[:2000])
    counted.add(scores[2000:])
    assert counted.total == 5000
    for rate in (0.5, 0.01, 0.001):
        threshold = counted.threshold_at(rate)
        assert reaching(scores, threshold) == counted.reaching(threshold) <= rate * 5000
        assert threshold == pytest.approx(threshold_at(scores, rate), abs=0.01)


def test_pairs_are_all_pairs_once(rng: np.random.Generator) -> None:
    people = np.repeat(np.arange(300), 3)
    vectors = rng.normal(size=(900, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mated, non_mated = pair_scores(vectors, people)
    one, other = np.triu_indices(900, 1)
    cosines, same = (vectors @ vectors.T)[one, other], people[one] == people[other]
    assert mated.total == same.sum() == 900
    assert non_mated.total == 900 * 899 // 2 - 900
    # Nobody stands at the edge of a step, so both count the same.
    assert mated.reaching(0.12345) == pytest.approx(reaching(cosines[same], 0.12345), abs=1)
    assert non_mated.reaching(0.12345) == pytest.approx(reaching(cosines[~same], 0.12345), abs=30)


def test_groups_are_compared_with_the_best_and_with_the_mean() -> None:
    found = disparity({"a": Rate(30, 1000), "b": Rate(10, 1000), "c": Rate(20, 1000), "nobody": Rate(0, 0)})
    assert found
    assert (found.worst, found.best) == ("a", "b")
    assert (found.worst_over_best, found.worst_over_mean) == pytest.approx((3.0, 1.5))
    assert found.supported


def test_a_group_without_errors_has_no_ratio_and_a_rare_one_no_support() -> None:
    found = disparity({"a": Rate(6, 1000), "b": Rate(0, 1000)})
    assert found
    assert found.worst_over_best is None
    assert found.worst_over_mean == pytest.approx(2.0)
    assert not found.supported
    none = disparity({"a": Rate(0, 10), "b": Rate(0, 10)})
    assert none
    assert none.worst_over_mean is None
    assert disparity({"a": Rate(1, 10)}) is None


def test_accuracy_in_folds_takes_its_threshold_from_the_others() -> None:
    mated = np.array([True, True, False, False])
    good = (np.array([0.9, 0.8, 0.2, 0.1]), mated)
    bad = (np.array([0.9, 0.3, 0.2, 0.6]), mated)  # at .5, the best of the good folds, two of four are wrong
    found = fold_accuracy([good, good, good, bad])
    assert found.mean == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert found.deviation == pytest.approx(np.std([1, 1, 1, 0.5]))
    assert (found.errors.errors, found.errors.trials) == (2, 16)


def test_folds_share_no_person_and_are_balanced(rng: np.random.Generator) -> None:
    photos = {f"p{n}": list(range(10 * n, 10 * n + 1 + n % 4)) for n in range(200)}
    folds = fold_pairs(photos, 400, 10, rng)
    person_of = {photo: person for person, own in photos.items() for photo in own}
    people = [{person_of[photo] for one, other, _ in fold for photo in (one, other)} for fold in folds]
    assert all(not one & other for place, one in enumerate(people) for other in people[:place])
    for fold in folds:
        assert len(fold) == len(set(fold)) == 40
        assert sum(mated for *_, mated in fold) == 20
        assert all((person_of[one] == person_of[other]) == mated for one, other, mated in fold)


def test_the_same_seed_draws_the_same_folds() -> None:
    photos = {f"p{n}": [2 * n, 2 * n + 1] for n in range(60)}
    one, same, other = (fold_pairs(photos, 60, 10, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_too_few_people_give_no_folds(rng: np.random.Generator) -> None:
    assert fold_pairs({"a": [0, 1], "b": [2, 3]}, 6000, 10, rng) == []
    assert fold_pairs({f"p{n}": [n] for n in range(100)}, 6000, 10, rng) == [], "nobody has two photos"


@pytest.mark.parametrize("trials", range(49, 400, 7))
def test_the_rate_at_which_five_errors_are_expected_is_supported(trials: int) -> None:
    assert Rate(0, trials, 5 / trials * trials).supported
    assert not Rate(9, trials, 4.99).supported
