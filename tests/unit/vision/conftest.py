"""Real parts for the vision tests: both models under onnxruntime, and looks at the people of the clips."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from aegis.vision import alignment, embedding, quality, yunet
from aegis.vision.faces import Face

Image = NDArray[np.uint8]
Detect = Callable[..., list[Face]]
Embed = Callable[[list[Image]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A face in one frame of a clip, as far as the pipeline takes it."""

    at: float
    frame: int
    face: Face
    chip: Image
    quality: quality.Quality
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    person: str
    frames: list[Image]  # ten a second
    times: list[float]
    sightings: list[Sighting]


def _session(path: Path) -> onnxruntime.InferenceSession:
    """Open a model with the dimensions of its inputs and outputs free and its initializers constant."""
    model = onnx.load(str(path))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value not in (3, 4, 10, 112, 128) or axis == 0:
                dim.ClearField("dim_value")
                dim.dim_param = f"{value.name}_{axis}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def detect(models_dir: Path) -> Detect:
    """Faces of an image in its own pixels, by our decode."""
    session = _session(models_dir / "face_detection_yunet_2023mar.onnx")
    names = [output.name for output in session.get_outputs()]

    def run(image: Image, *, threshold: float = 0.7, width: int = 1280) -> list[Face]:
        tensor, scale = yunet.letterbox(image, width)
        outputs: dict[str, Any] = dict(zip(names, session.run(None, {"input": tensor}), strict=True))
        found = yunet.decode(outputs, height=tensor.shape[2], width=tensor.shape[3], score_threshold=threshold)
        return [face.scaled(1 / scale) for face in found]

    return run


@pytest.fixture(scope="session")
def embed(models_dir: Path) -> Embed:
    """SFace's unit vectors of chips."""
    session = _session(models_dir / "face_recognition_sface_2021dec.onnx")

    def run(chips: list[Image]) -> NDArray[np.float32]:
        tensor = embedding.to_tensor(chips, rgb=True, mean=0, std=1)
        return embedding.normalise(np.asarray(session.run(None, {"data": tensor})[0], np.float32))

    return run


@pytest.fixture(scope="session")
def clips(test_data: Path, detect: Detect, embed: Embed) -> dict[str, Clip]:
    """Each of the eleven clips, by name: its frames at ten a second, and the faces of every other one."""
    people = json.loads((test_data / "clips" / "people.json").read_text())
    return {
        name: _look(test_data / "clips" / name, person, detect, embed)
        for person, names in people.items()
        for name in names
    }


def _look(path: Path, person: str, detect: Detect, embed: Embed) -> Clip:
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    frames = [np.asarray(frame, np.uint8) for frame in decoded[::3]]
    times = [index / 10 for index in range(len(frames))]
    found = [(index, face) for index in range(0, len(frames), 2) for face in detect(frames[index])]
    chips = [alignment.align(frames[index], face.landmarks) for index, face in found]
    sightings = [
        Sighting(
            at=times[index],
            frame=index,
            face=face,
            chip=chip,
            quality=quality.assess(face, chip, frames[index].shape),
            vector=vector,
        )
        for (index, face), chip, vector in zip(found, chips, embed(chips), strict=True)
    ]
    return Clip(person=person, frames=frames, times=times, sightings=sightings)


@pytest.fixture(scope="session")
def crowd(test_data: Path) -> Image:
    """Eighteen photographed faces side by side and in two rows, the second mirrored: one image with many faces."""
    photos = [cv2.imread(str(path)) for path in sorted((test_data / "utkface").glob("*.jpg"))[::100]]
    row = np.hstack([cv2.resize(photo, (90, 90)) for photo in photos if photo is not None])
    return np.asarray(np.vstack([row, row[:, ::-1]]), np.uint8)
