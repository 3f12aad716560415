"""The proof of a reduced precision, on networks that are rounded on purpose: no processor with AMX is needed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from aegis.runtime import bf16, inference
from aegis.runtime.inference import Backend, open_first, prepare
from aegis.runtime.model_sources import read_verified
from aegis.runtime.models import ModelCard

Round = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest number whose lower half is zero."""
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def to_steps(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to 8 bits of one scale, as a careless quantisation would."""
    step = np.abs(values).max() / np.float32(128)
    rounded: NDArray[np.float32] = np.rint(values / step) * step
    return rounded


def to_nonsense(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full_like(values, np.nan)


def open_rounded(rounding: Round, graph: bytes, threads: int) -> Any:
    """Open a network whose weights went through a rounding."""
    model = onnx.load_model_from_string(graph)
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.ndim > 1:
            weights.CopyFrom(numpy_helper.from_array(rounding(values), weights.name))
    return inference._open_cpu(bytes(model.SerializeToString()), threads)


@pytest.mark.parametrize(
    ("rounding", "provider", "reason"),
    [
        (to_bfloat16, "rounded", None),
        (to_steps, "cpu", "rounded: of 16 probes the least cosine to float32 is 0.9"),
        (to_nonsense, "cpu", "rounded: row 0 of 16 is not finite"),
    ],
)
def test_a_precision_is_used_if_its_vectors_are_those_of_float32(
    cards: dict[str, ModelCard], models_dir: Path, rounding: Round, provider: str, reason: str | None
) -> None:
    card = cards["sface-2021dec"]
    graph = prepare(card, read_verified(card, models_dir))
    rounded = Backend(name="rounded", label="rounded", open=partial(open_rounded, rounding), exact=False)
    model = open_first(card, graph, [rounded, inference._BACKENDS["cpu"]], threads=1)
    assert model.provider == provider
    assert (model.fell_back or "").startswith(reason or "")
    assert (model.fell_back is None) == (reason is None)
    assert model.broken == (reason is not None)


@pytest.mark.parametrize(
    ("cosines", "good"),
    [((1.0, 0.9901), True), ((1.0, 0.99), True), ((1.0, 0.9899), False), ((1.0, float("nan")), False)],
)
def test_one_vector_that_is_off_is_an_objection(cosines: tuple[float, ...], good: bool) -> None:
    assert (bf16.objection(np.array(cosines)) is None) == good


def test_the_probes_are_many_different_pictures_and_always_the_same() -> None:
    pictures = bf16.probes(112)
    assert pictures.shape == (bf16.PROBES, 112, 112, 3)
    assert np.array_equal(pictures, bf16.probes(112))
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    assert flat.std(axis=1).min() > 30
    alike = np.corrcoef(flat) - np.eye(len(flat))
    assert np.abs(alike).max() < 0.8


XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8
bugs\t\t: spectre_v1
"""


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        (XEON, True),
        (XEON.replace("amx_bf16 ", ""), False),
        (XEON.replace("amx_bf16", "amx_bf16x"), False),
        ("Features\t: asimd bf16 i8mm\n", False),
        ("", False),
    ],
)
def test_amx_is_read_from_the_flags_of_the_processor(cpuinfo: str, has: bool) -> None:
    assert bf16.has_amx(cpuinfo) is has
