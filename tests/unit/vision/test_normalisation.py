"""What a face's resemblance to a cohort takes off its scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aegis.vision.embedding import normalise
from aegis.vision.normalisation import MIN_PEOPLE, NEAREST, WEIGHT, Cohort
from aegis.vision.scoring import Gallery


def faces(count: int, seed: int, *, centre: float = 0.0) -> NDArray[np.float32]:
    """Unit vectors; the larger ``centre``, the more they resemble each other."""
    vectors = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    vectors[:, 0] += centre
    return normalise(vectors)


def plain_offset(vector: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return WEIGHT * float(np.sort(others @ vector)[-NEAREST:].mean())


@given(st.integers(0, 99))
def test_an_offset_is_a_share_of_the_mean_of_the_nearest_less_what_is_usual(seed: int) -> None:
    people, vectors = faces(150, seed), faces(5, seed + 100)
    cohort = Cohort.build(people)
    usual = np.mean([plain_offset(people[i], np.delete(people, i, axis=0)) for i in range(150)])
    expected = [plain_offset(vector, people) - usual for vector in vectors]
    np.testing.assert_allclose(cohort.offsets(vectors), expected, atol=1e-6)


def test_nobody_of_the_cohort_resembles_themselves() -> None:
    people = faces(120, 1)
    cohort = Cohort.build(people)
    assert cohort.own_offsets.mean() == pytest.approx(0, abs=1e-6)
    without = [plain_offset(people[i], np.delete(people, i, axis=0)) for i in range(120)]
    np.testing.assert_allclose(cohort.own_offsets, np.array(without) - np.mean(without), atol=1e-6)
    assert (cohort.offsets(people) > cohort.own_offsets).all()


def test_without_each_equals_a_cohort_that_was_built_without() -> None:
    people, vectors = faces(120, 2), faces(4, 3)
    found = Cohort.build(people).offsets_without_each(vectors)
    steps = np.array([[plain_offset(v, np.delete(people, i, axis=0)) for i in range(120)] for v in vectors])
    np.testing.assert_allclose(found - found[:, :1], steps - steps[:, :1], atol=1e-6)
    assert len(np.unique(found[0].round(6))) > 1


def test_a_kind_of_face_that_resembles_more_people_loses_more() -> None:
    """Half of the cohort is of a kind whose faces are close to each other."""
    cohort = Cohort.build(np.concatenate([faces(100, 4), faces(100, 5, centre=6)]))
    ordinary, close = faces(40, 6), faces(40, 7, centre=6)
    plain, normalised = (
        [
            float(Gallery.build({str(i): v[None] for i, v in enumerate(kind[20:])}, used).matrix(kind[:20]).mean())
            for kind in (ordinary, close)
        ]
        for used in (None, cohort)
    )
    assert plain[1] - plain[0] > 0.4
    assert normalised[1] - normalised[0] < 0.4 * (plain[1] - plain[0])


def test_scores_stay_on_the_scale_of_cosines() -> None:
    people, others = faces(200, 8), faces(200, 9)
    cohort = Cohort.build(people)
    scores = Gallery.build({str(i): v[None] for i, v in enumerate(others[:100])}, cohort).matrix(others[100:])
    assert float((scores - others[100:] @ others[:100].T).mean()) == pytest.approx(0, abs=0.01)


def test_more_vectors_than_are_compared_at_a_time_make_no_difference() -> None:
    cohort, vectors = Cohort.build(faces(100, 10)), faces(2100, 11)
    np.testing.assert_allclose(cohort.offsets(vectors)[-3:], cohort.offsets(vectors[-3:]), atol=1e-6)
    assert cohort.offsets(vectors[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("templates", "problem"),
    [
        (np.ones((MIN_PEOPLE - 1, 3)), "at least 100 people"),
        (np.ones(MIN_PEOPLE), "at least 100 people"),
        (np.zeros((MIN_PEOPLE, 3)), "zero"),
        (np.full((MIN_PEOPLE, 3), np.nan), "not finite"),
    ],
)
def test_a_cohort_that_would_mislead_is_refused(templates: NDArray[np.float64], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Cohort.build(templates.astype(np.float32))


def test_a_cohort_is_brought_to_unit_length() -> None:
    people = faces(100, 12)
    cohort = Cohort.build(people * 3)
    assert len(cohort) == 100
    np.testing.assert_allclose(cohort.offsets(people[:2]), Cohort.build(people).offsets(people[:2]), atol=1e-6)
