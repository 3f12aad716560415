"""Running a model: from a checked file to an onnxruntime session on the fastest provider that works here.

A provider that cannot be had is never passed over in silence: the model says which one it runs on, and why not on a
faster one.
"""

import functools
import importlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from aegis.runtime import bf16, metrics
from aegis.runtime.model_sources import read_verified
from aegis.runtime.models import ModelCard, ModelError
from aegis.vision.embedding import to_tensor

log = logging.getLogger(__name__)

PROVIDERS = ("auto", "openvino", "cuda", "cpu")

MAX_EMBED_BATCH = 8
"""Faces in one micro-batch; every size up to it is warmed up."""

_DETECT_WARM_UP = (384, 640)
_HIDE_WARNINGS = 3
_IMAGE_AXES = 4


class ProviderError(ModelError):
    """A provider that was asked for cannot be had, or cannot run this model; the message says why."""


class AbsentError(ProviderError):
    """A provider that this build or this machine does not have; nothing is broken."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """An open model. May be called from several threads at once; each call occupies its thread."""

    card: ModelCard
    provider: str
    """What runs it: "openvino-bf16", "openvino-f32", "cuda" or "cpu"."""
    fell_back: str | None
    """Why the providers that are tried first do not run it; None if the first one does, or one was asked for."""
    broken: bool = False
    """Whether one of these is there and failed."""
    session: Any = field(repr=False)
    input_name: str = field(repr=False)

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network on float32 [N, 3, height, width]; give its outputs by name."""
        return _run(self.session, self.input_name, tensor)


def embed(model: Model, faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn prepared faces, float32 [N, 3, 112, 112], into vectors [N, dimension] as the network gives them.

    Raises onnxruntime's own error for another shape.
    """
    # Not padded to a few sizes: OpenVINO prepares each new size once, in some ten milliseconds, and remembers it, and
    # opening the model has paid that for every size up to MAX_EMBED_BATCH. Three faces padded to four would cost a
    # third more every time.
    (vectors,) = model.run(faces).values()
    return vectors


def open_model(card: ModelCard, directory: Path, *, provider: str = "auto", threads: int = 1) -> Model:
    """Check the model's file, open it on a provider and run it once in every size that is known beforehand.

    ``provider`` is "auto" (the first that works; see ``Model.fell_back``), or "openvino", "cuda" or "cpu" (this one or
    an error). ``threads`` is for one inference. Raises ModelMissingError, ModelHashError or ProviderError.
    """
    if provider not in PROVIDERS:
        raise ProviderError(f"there is no provider {provider!r}; known are {', '.join(PROVIDERS)}")
    names = _FASTEST_FIRST[card.task] if provider == "auto" else (provider,)
    graph = prepare(card, read_verified(card, directory))
    return open_first(card, graph, [_BACKENDS[name] for name in names], threads)


def announce(model: Model) -> dict[str, object]:
    """Say in the log and the metrics what runs a model, and give the same for ``aegis status``."""
    metrics.MODEL_INFO.labels(model.card.id, model.card.sha256).set(1)
    metrics.PROVIDER.labels(model.card.id, model.provider).set(1)
    metrics.FELL_BACK.labels(model.card.id).set(model.fell_back is not None)
    log.log(
        logging.WARNING if model.fell_back else logging.INFO,
        "%s runs on %s%s",
        model.card.id,
        model.provider,
        f"; not on a faster provider: {model.fell_back}" if model.fell_back else "",
    )
    return {"model": model.card.id, "provider": model.provider, "fell_back": model.fell_back, "broken": model.broken}


def prepare(card: ModelCard, data: bytes) -> bytes:
    """Make the graph take any batch (embed) or any height and width (detect), and let it be optimised.

    Some exporters list initializers as inputs too, which blocks constant folding and prints a warning for each.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # onnx passes on protobuf's errors, whose class depends on its implementation
        raise ModelError(f"model {card.id}: {card.file} is no ONNX graph: {error}") from error
    graph = model.graph
    constants = {initializer.name for initializer in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or (card.task == "embed" and len(graph.output) != 1):
        raise ModelError(
            f"model {card.id}: {card.file} has {len(inputs)} inputs and {len(graph.output)} outputs; "
            "wanted is one input, and for an embedder one output"
        )
    del graph.input[:]
    graph.input.extend(inputs)
    dimensions = graph.input[0].type.tensor_type.shape.dim
    if len(dimensions) != _IMAGE_AXES:
        raise ModelError(f"model {card.id}: {card.file} takes {len(dimensions)} axes, not [N, 3, height, width]")
    for axis, name in ((0, "batch"),) if card.task == "embed" else ((2, "height"), (3, "width")):
        dimensions[axis].dim_param = name
    # Shapes that were inferred for the size in the file contradict every other size.
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A provider: how it is asked for, how an open model names it, and how a prepared graph is opened on it."""

    name: str
    label: str
    open: Callable[[bytes, int], Any]
    exact: bool = True
    """In float32. One that is not must prove an embedder's vectors when it is opened."""


def open_first(card: ModelCard, graph: bytes, backends: Sequence[Backend], threads: int) -> Model:
    """Open a prepared graph on the first backend on which it opens and warms up. Raises ProviderError."""
    reasons: list[str] = []
    broken = False
    for backend in backends:
        try:
            session = backend.open(graph, threads)
            input_name = str(session.get_inputs()[0].name)
            _warm_up(card, session, input_name)
            if not backend.exact:
                _prove(card, graph, session, input_name)
        except Exception as error:  # noqa: BLE001  onnxruntime's errors share no narrower class; the reason is kept
            reasons.append(f"{backend.name}: {error}")
            broken = broken or not isinstance(error, AbsentError)
            continue
        fell_back = "; ".join(reasons) or None
        return Model(
            card=card,
            provider=backend.label,
            fell_back=fell_back,
            broken=broken,
            session=session,
            input_name=input_name,
        )
    raise ProviderError(f"model {card.id} cannot be opened: {'; '.join(reasons)}")


def _run(session: Any, input_name: str, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:  # noqa: ANN401  onnxruntime publishes no types
    names = [str(output.name) for output in session.get_outputs()]
    values = session.run(names, {input_name: tensor})
    return {name: np.asarray(value, dtype=np.float32) for name, value in zip(names, values, strict=True)}


def _warm_up(card: ModelCard, session: Any, input_name: str) -> None:  # noqa: ANN401  the same
    """Pay for the first run of each size now, and find out now whether the graph does what its card says."""
    if card.task == "detect":
        _run(session, input_name, np.zeros((1, 3, *_DETECT_WARM_UP), dtype=np.float32))
        return
    for batch in range(1, MAX_EMBED_BATCH + 1):
        faces = np.zeros((batch, 3, card.size, card.size), dtype=np.float32)
        (vectors,) = _run(session, input_name, faces).values()
        if vectors.shape != (batch, card.dimension):
            raise ProviderError(f"{batch} faces gave the shape {vectors.shape}, not {(batch, card.dimension)}")


def _prove(card: ModelCard, graph: bytes, session: Any, input_name: str) -> None:  # noqa: ANN401  the same
    """Compare a session's vectors with those of float32 on the CPU provider, which opens fastest."""
    faces = to_tensor(list(bf16.probes(card.size)), rgb=card.rgb, mean=card.mean, std=card.std)
    full = _open_cpu(graph, 1)
    vectors: list[list[NDArray[np.float32]]] = [[], []]
    for start in range(0, len(faces), MAX_EMBED_BATCH):
        batch = faces[start : start + MAX_EMBED_BATCH]
        for found, one in zip(vectors, (session, full), strict=True):
            found.extend(_run(one, input_name, batch).values())
    reduced, exact = (np.concatenate(found) for found in vectors)
    if objection := bf16.objection(bf16.cosines(reduced, exact)):
        raise ProviderError(objection)


def _options(threads: int) -> Any:  # noqa: ANN401  onnxruntime publishes no types
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _HIDE_WARNINGS
    # A waiting thread that spins takes a core from the other services of this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open_cpu(graph: bytes, threads: int) -> Any:  # noqa: ANN401  onnxruntime publishes no types
    return ort.InferenceSession(graph, _options(threads), providers=["CPUExecutionProvider"])


def _open_cuda(graph: bytes, threads: int) -> Any:  # noqa: ANN401  onnxruntime publishes no types
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise AbsentError("not in this build of onnxruntime")
    session = ort.InferenceSession(graph, _options(threads), providers=["CUDAExecutionProvider"])
    # Where CUDA's libraries or the card are missing, onnxruntime only warns and takes the CPU.
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise ProviderError("onnxruntime has it but could not start it: is CUDA installed, and is there a card?")
    session.disable_fallback()
    return session


def _open_openvino_bf16(graph: bytes, threads: int) -> Any:  # noqa: ANN401  onnxruntime publishes no types
    information = Path("/proc/cpuinfo")
    if not information.exists() or not bf16.has_amx(information.read_text(encoding="utf-8")):
        raise AbsentError("this processor has no AMX for bfloat16")
    return _open_openvino(graph, threads, "bf16")


def _open_openvino(graph: bytes, threads: int, precision: str = "f32") -> Any:  # noqa: ANN401  the same
    provider = _register_openvino()
    cpu = ort.OrtHardwareDeviceType.CPU
    devices = [d for d in ort.get_ep_devices() if d.ep_name == provider and d.device.type == cpu]
    if not devices:
        raise AbsentError("the plugin offers no device on this processor")
    options = _options(threads)
    # A graph of which it takes only a part would run on the slow provider under the fast one's name.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # By name: on AMX it would pick bf16 by itself. The provider's own num_of_threads does not bind.
    config = {"CPU": {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": str(threads)}}
    options.add_provider_for_devices(devices[:1], {"load_config": json.dumps(config)})
    return ort.InferenceSession(graph, options)


_registering = threading.Lock()


def _register_openvino() -> str:
    """Make the plugin known to onnxruntime, once in a process; give its provider's name."""
    with _registering:
        return _register_openvino_once()


@functools.cache
def _register_openvino_once() -> str:
    try:
        plugin = importlib.import_module("onnxruntime_ep_openvino")
    except ModuleNotFoundError as error:
        raise AbsentError("the plugin onnxruntime-ep-openvino is not installed") from error
    name = str(plugin.get_ep_name())
    ort.register_execution_provider_library(name, plugin.get_library_path())
    return name


_BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(name="openvino-bf16", label="openvino-bf16", open=_open_openvino_bf16, exact=False),
        Backend(name="openvino", label="openvino-f32", open=_open_openvino),
        Backend(name="cuda", label="cuda", open=_open_cuda),
        Backend(name="cpu", label="cpu", open=_open_cpu),
    )
}

# On a Xeon, one thread: OpenVINO embeds a face in 11.1 ms in f32 and 3.5 in bf16 where the CPU provider takes 13, but
# looks for faces at 640x384 in 5.5 ms in f32 where that takes 4.9. So a detector is not offered to it.
_FASTEST_FIRST = {"embed": ("openvino-bf16", "openvino", "cuda", "cpu"), "detect": ("cuda", "cpu")}
