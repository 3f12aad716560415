"""Dot products with many templates from one byte a number, and how far each can be from the true one.

The kernels are onnxruntime's: they multiply bytes with AVX2, AVX-512 VNNI and ARM's dot product instructions.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

_PROBE_CODES = 63
"""Half the range of a byte: AVX2 adds two products in 16 bits, and 2 x 127 x 127 must fit."""
_TEMPLATE_CODES = 127
_ROWS = 1_024
"""Templates that are encoded at once, so that what is needed for it stays small."""
_ROUNDED = 2.0**-21
_OPSET, _IR = 17, 8


class CodedTemplates:
    """Templates (n, D) as bytes, each row with a scale of its own; n is at most some ten thousand."""

    def __init__(self, templates: NDArray[np.float32]) -> None:
        count, dimension = templates.shape
        self._scales, codes = np.empty(count, np.float32), np.empty((dimension, count), np.int8)
        self._error = self._length = 0.0
        for start in range(0, count, _ROWS):
            some = slice(start, start + _ROWS)
            self._scales[some], coded = _encode(templates[some], _TEMPLATE_CODES)
            codes[:, some] = coded.T
            meant = self._scales[some, None] * coded
            self._error = max(self._error, float(np.linalg.norm(templates[some] - meant, axis=1).max()))
            self._length = max(self._length, float(np.linalg.norm(meant, axis=1).max()))
        self._session = _session(codes)

    def scores(self, probes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Give approximate dot products (P, n) with ``probes`` (P, D), and each probe's greatest error (P,).

        With p and t the true vectors and p', t' what their codes stand for, ``pt - p't' = p(t - t') + (p - p')t'``. By
        Cauchy and Schwarz that is at most ``|p||t - t'| + |p - p'||t'|``, and these lengths are measured, not assumed.
        """
        scales, codes = _encode(probes, _PROBE_CODES)
        (products,) = self._session.run(None, {"probes": (codes + (_PROBE_CODES + 1)).astype(np.uint8)})
        products *= self._scales
        products *= scales[:, None]
        lost = np.linalg.norm(probes - scales[:, None] * codes, axis=1)
        lengths = np.linalg.norm(probes, axis=1)
        errors = lengths * self._error + lost * self._length
        # The scaling, and these lengths themselves, are rounded to float32.
        return products, (errors * (1 + 1e-4) + lengths * self._length * _ROUNDED).astype(np.float64)


def _encode(rows: NDArray[np.float32], largest: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Give each row's scale (n,) and its codes (n, D) of at most ``largest``, so that scale times code is near."""
    peaks = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    scales = np.where(peaks > 0, peaks / np.float32(largest), np.float32(1))
    codes = np.clip(np.rint(rows / scales[:, None]), -largest, largest)
    return scales.astype(np.float32), codes.astype(np.int8)


def _session(codes: NDArray[np.int8]) -> Any:  # noqa: ANN401  onnxruntime publishes no types
    """Open a network that multiplies probes, uint8 (P, D) around 64, by ``codes`` (D, n), and gives float32 (P, n)."""
    dimension, count = codes.shape
    nodes = [
        helper.make_node("MatMulInteger", ["probes", "codes", "zero"], ["products"]),
        helper.make_node("Cast", ["products"], ["whole"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "scan",
        [helper.make_tensor_value_info("probes", TensorProto.UINT8, ["P", dimension])],
        [helper.make_tensor_value_info("whole", TensorProto.FLOAT, ["P", count])],
        [
            _outside("codes", TensorProto.INT8, codes.shape, codes.nbytes),
            helper.make_tensor("zero", TensorProto.UINT8, [], [_PROBE_CODES + 1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    # Handed over like this the codes are let go of once the kernels have their own copy; as a part of the graph, or by
    # add_external_initializers, they would be kept. Until the session is open the value has to live.
    value = ort.OrtValue.ortvalue_from_numpy(codes)
    options.add_initializer("codes", value)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _outside(name: str, kind: int, shape: tuple[int, ...], size: int) -> onnx.TensorProto:
    """Declare a constant whose bytes are handed over beside the graph: the "file" it is in only has to exist."""
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "."), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor
