"""The search against brute force: whatever the list, the same hits and the same scores to the last bit."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aegis.vision import search
from aegis.vision.embedding import normalise
from aegis.vision.int8_scan import CodedTemplates
from aegis.vision.search import TemplateIndex

Floats = NDArray[np.float32]
Hits = list[tuple[int, int, float]]


def unit(rows: NDArray[np.float64]) -> Floats:
    return normalise(rows.astype(np.float32))


def units(count: int, dimension: int, seed: int) -> Floats:
    if not count:
        return np.empty((0, dimension), np.float32)
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def brute(templates: Floats, offsets: Floats, probes: Floats, beside: Floats, floor: float) -> Hits:
    """Every pair by itself, summed without any error and rounded once."""
    found = []
    for row, probe in enumerate(probes.astype(np.float64)):
        for column, template in enumerate(templates.astype(np.float64)):
            score = np.float32(math.fsum(probe * template) - float(beside[row]) - float(offsets[column]))
            if float(score) >= floor:
                found.append((row, column, float(score)))
    return found


def hits(found: search.Found) -> Hits:
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.fixture(params=["plain", "coded"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of short lists, and the way of long ones with many blocks."""
    if request.param == "coded":
        monkeypatch.setattr(search, "BLOCK", 16)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Floats, Floats, Floats, Floats, float]:
    dimension = draw(st.sampled_from([1, 3, 16, 40]))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    templates = units(draw(st.integers(0, 60)), dimension, seed)
    if draw(st.booleans()):  # duplicates, opposites and one-hot rows, which tie
        templates = np.concatenate([templates, templates[:5], -templates[:5], np.eye(dimension, dtype=np.float32)])
    probes = units(draw(st.integers(0, 6)), dimension, seed + 1)
    if len(templates) and len(probes):
        probes[0] = templates[0]
    some = draw(st.sampled_from([0, 1]))
    offsets = random.normal(0, 0.2, len(templates)).astype(np.float32) * np.float32(some)
    beside = random.normal(0, 0.2, len(probes)).astype(np.float32) * np.float32(some)
    floor = draw(st.floats(-1.5, 1.5))
    every = brute(templates, offsets, probes, beside, -9)
    if every:
        score = every[draw(st.integers(0, len(every) - 1))][2]
        floor = draw(st.sampled_from([floor, score, math.nextafter(score, 9)]))
    return templates, offsets, probes, beside, floor


@pytest.mark.usefixtures("blocks")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases())
def test_what_is_found_is_what_brute_force_finds(case: tuple[Floats, Floats, Floats, Floats, float]) -> None:
    templates, offsets, probes, beside, floor = case
    expected = brute(templates, offsets, probes, beside, floor)
    assert hits(TemplateIndex(templates, offsets).above(probes, beside, floor)) == expected
    if not offsets.any() and not beside.any():
        assert hits(TemplateIndex(templates).above(probes, None, floor)) == expected


@pytest.mark.usefixtures("blocks")
def test_a_score_depends_neither_on_the_list_nor_on_the_other_probes() -> None:
    templates, probes = units(200, 128, 1), units(9, 128, 2)
    whole = hits(TemplateIndex(templates).above(probes, None, -1))
    assert len(whole) == 200 * 9
    alone = [
        (row, column, hits(TemplateIndex(templates[column : column + 1]).above(probes[row : row + 1], None, -1))[0][2])
        for row in range(9)
        for column in range(0, 200, 37)
    ]
    assert set(alone) <= set(whole)


def test_a_long_list_is_searched_like_its_parts() -> None:
    templates = units(2 * search.BLOCK + 7, 16, 3)
    offsets = np.linspace(-0.1, 0.1, len(templates), dtype=np.float32)
    probes, beside = templates[[5, search.BLOCK, -1]], np.array([0.0, 0.1, -0.1], np.float32)
    found = hits(TemplateIndex(templates, offsets).above(probes, beside, 0.7))
    half = search.BLOCK
    parts = [
        (row, column + start, score)
        for start in range(0, len(templates), half)
        for row, column, score in hits(
            TemplateIndex(templates[start : start + half], offsets[start : start + half]).above(probes, beside, 0.7)
        )
    ]
    assert found == sorted(parts)
    assert {(0, 5), (1, search.BLOCK), (2, len(templates) - 1)} <= {(row, column) for row, column, _ in found}


# How far bytes are from the truth


def off(templates: Floats, probes: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores, errors = CodedTemplates(templates).scores(probes)
    truth = probes.astype(np.float64) @ templates.astype(np.float64).T
    return np.abs(scores - truth).max(axis=1), errors


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    dimension=st.sampled_from([1, 2, 31, 128, 512]),
    seed=st.integers(0, 2**32 - 1),
    power=st.sampled_from([1, 4, 15]),
    length=st.sampled_from([1.0, 1e-3, 1e3]),
)
def test_no_dot_product_of_bytes_is_further_off_than_it_says(
    dimension: int, seed: int, power: int, length: float
) -> None:
    """With a high power one number of a row is far above the others, which then share few codes."""
    random = np.random.default_rng(seed)
    rows = unit(random.normal(size=(40, dimension)) ** power) * np.float32(length)
    worst, errors = off(rows[8:], rows[:8])
    assert (worst <= errors).all()


@pytest.mark.parametrize("dimension", [32, 128, 512])
def test_the_bound_holds_and_is_nearly_reached_where_every_rounding_conspires(dimension: int) -> None:
    random = np.random.default_rng(dimension)
    signs = random.choice([-1.0, 1.0], dimension)
    # Each number lies half a code off, and the probe points along all that the template loses.
    template = signs * (random.integers(20, 126, dimension) + 0.499)
    template[0] = 127 * signs[0]
    rows = unit(template[None])
    lost = template - np.rint(template)
    lost[0] = 0.499 * signs[0]
    worst, errors = off(rows, unit(lost[None]))
    assert (worst <= errors).all()
    assert worst[0] > 0.7 * errors[0]


@pytest.mark.parametrize("dimension", [2, 64, 128, 512])
def test_the_largest_codes_do_not_overflow_on_the_way(dimension: int) -> None:
    """Some processors add two products in 16 bits, and cut what does not fit."""
    rows = unit(np.ones((1, dimension)))
    rows = np.concatenate([rows, -rows])
    scores, _ = CodedTemplates(rows).scores(rows)
    np.testing.assert_allclose(scores, [[1, -1], [-1, 1]], atol=1e-5)


# What it refuses


@pytest.mark.parametrize(
    ("templates", "offsets", "problem"),
    [
        (np.ones(3, np.float32), None, "must be (T, D)"),
        (np.eye(3, dtype=np.float32), np.zeros(2, np.float32), "offsets must be (3,)"),
        (np.full((2, 2), np.nan, np.float32), None, "templates are not all finite"),
        (np.array([[np.inf, -np.inf]], np.float32), None, "templates are not all finite"),
        (np.eye(2, dtype=np.float32), np.array([0, np.inf], np.float32), "offsets are not all finite"),
    ],
)
def test_templates_that_mean_nothing_are_refused(templates: Floats, offsets: Any, problem: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is compared below
        TemplateIndex(templates, offsets)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("probes", "beside", "floor", "problem"),
    [
        (np.eye(2, dtype=np.float32), None, 0.5, "probes must be (2, 3)"),
        (np.full((1, 3), np.nan, np.float32), None, 0.5, "probes are not all finite"),
        (np.eye(3, dtype=np.float32), np.zeros(1, np.float32), 0.5, "probe_offsets must be (3,)"),
        (np.eye(3, dtype=np.float32), None, math.inf, "floor must be finite"),
        (np.eye(3, dtype=np.float32), None, math.nan, "floor must be finite"),
    ],
)
def test_probes_that_mean_nothing_are_refused(probes: Floats, beside: Any, floor: float, problem: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is compared below
        TemplateIndex(np.eye(3, dtype=np.float32)).above(probes, beside, floor)
    assert problem in str(refused.value)


def test_an_empty_list_finds_nothing() -> None:
    index = TemplateIndex(np.empty((0, 4), np.float32))
    assert len(index) == 0
    assert hits(index.above(units(2, 4, 0), None, -1)) == []
