import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from aegis.runtime import inference
from aegis.runtime.inference import Backend, Model, ProviderError, embed, open_first, open_model, prepare
from aegis.runtime.model_sources import ModelHashError, ModelMissingError, read_verified
from aegis.runtime.models import ModelCard, ModelError

FACES = 30


@pytest.fixture(scope="module")
def sface(cards: dict[str, ModelCard], models_dir: Path) -> Model:
    return open_model(cards["sface-2021dec"], models_dir)


@pytest.fixture(scope="module")
def yunet(cards: dict[str, ModelCard], models_dir: Path) -> Model:
    return open_model(cards["yunet-2023mar"], models_dir)


@pytest.fixture(scope="module")
def opencv_sface(cards: dict[str, ModelCard], models_dir: Path) -> cv2.FaceRecognizerSF:
    return cv2.FaceRecognizerSF.create(str(models_dir / cards["sface-2021dec"].file), "")


@pytest.fixture(scope="module")
def aligned(
    cards: dict[str, ModelCard], models_dir: Path, test_data: Path, opencv_sface: cv2.FaceRecognizerSF
) -> list[NDArray[np.uint8]]:
    """Thirty people's faces, BGR, 112x112, found and aligned by OpenCV alone."""
    detector = cv2.FaceDetectorYN.create(str(models_dir / cards["yunet-2023mar"].file), "", (250, 250))

    def faces() -> Iterator[NDArray[np.uint8]]:
        for person in sorted((test_data / "lfw").iterdir()):
            image = cv2.imread(str(min(person.glob("*.jpg"))))
            assert image is not None
            _, found = detector.detect(image)
            if found is not None:
                yield np.asarray(opencv_sface.alignCrop(image, found[0]), dtype=np.uint8)

    return [face for _, face in zip(range(FACES), faces(), strict=False)]


def as_tensor(card: ModelCard, faces: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    pixels = np.stack(faces).astype(np.float32)
    pixels = pixels[..., ::-1] if card.rgb else pixels
    return np.ascontiguousarray(((pixels - card.mean) / card.std).transpose(0, 3, 1, 2), dtype=np.float32)


def test_sface_gives_the_vectors_that_opencv_gives(
    sface: Model, opencv_sface: cv2.FaceRecognizerSF, aligned: list[NDArray[np.uint8]]
) -> None:
    assert len(aligned) == FACES
    batches = [aligned[start : start + 7] for start in range(0, FACES, 7)]
    ours = np.concatenate([embed(sface, as_tensor(sface.card, batch)) for batch in batches])
    theirs = np.concatenate([np.asarray(opencv_sface.feature(face)) for face in aligned])
    assert ours.shape == (FACES, sface.card.dimension)
    assert ours.dtype == np.float32
    cosine = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.9999
    # Another colour order would pass as a face too, a little worse: the card's is the one that agrees.
    swapped = embed(sface, as_tensor(replace(sface.card, rgb=False), aligned[:1]))[0]
    assert swapped @ theirs[0] / np.linalg.norm(swapped) / np.linalg.norm(theirs[0]) < 0.999


def test_a_face_embeds_the_same_in_any_batch(sface: Model, aligned: list[NDArray[np.uint8]]) -> None:
    tensor = as_tensor(sface.card, aligned[:8])
    alone = np.concatenate([embed(sface, tensor[i : i + 1]) for i in range(8)])
    for size in (3, 8):
        np.testing.assert_allclose(embed(sface, tensor[:size]), alone[:size], atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(640, 384), (1280, 736)])
def test_yunet_gives_the_outputs_that_opencv_gives_at_any_size(
    yunet: Model, models_dir: Path, aligned: list[NDArray[np.uint8]], width: int, height: int
) -> None:
    tiles = np.tile(aligned[0], (height // 112 + 1, width // 112 + 1, 1))[:height, :width]
    tensor = np.ascontiguousarray(tiles.transpose(2, 0, 1)[None], dtype=np.float32)
    ours = yunet.run(tensor)
    net = cv2.dnn.readNetFromONNX(str(models_dir / yunet.card.file))
    net.setInput(tensor)
    names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    assert set(ours) == set(names)
    for name, theirs in zip(names, net.forward(names), strict=True):
        stride = int(name.partition("_")[2])
        assert ours[name].shape[:2] == (1, (height // stride) * (width // stride))
        np.testing.assert_allclose(ours[name], theirs, atol=2e-3)
    assert ours["cls_32"].max() > 0.5


def test_a_model_says_why_it_does_not_run_on_a_faster_provider(sface: Model, yunet: Model) -> None:
    for model, tried in ((sface, ("openvino-bf16", "openvino", "cuda")), (yunet, ("cuda",))):
        faster = [name for name in tried if model.provider in (name, f"{name}-f32")]
        skipped = tried[: tried.index(faster[0])] if faster else tried
        reasons = [reason.partition(": ") for reason in (model.fell_back or "").split("; ") if reason]
        assert [name for name, _, _ in reasons] == list(skipped)
        assert all(reason for _, _, reason in reasons)


def test_openvino_by_name_is_openvino_or_the_reason_that_auto_gave(
    sface: Model, cards: dict[str, ModelCard], models_dir: Path
) -> None:
    if sface.provider.startswith("openvino"):
        assert open_model(sface.card, models_dir, provider="openvino").provider == "openvino-f32"
        return
    with pytest.raises(ProviderError, match="openvino: ") as caught:
        open_model(sface.card, models_dir, provider="openvino")
    assert str(caught.value).partition("openvino: ")[2] in str(sface.fell_back)
    with pytest.raises(ProviderError, match="no provider 'openvino-bf16'"):
        open_model(sface.card, models_dir, provider="openvino-bf16")


def test_cuda_by_name_is_an_error_where_the_build_has_none(cards: dict[str, ModelCard], models_dir: Path) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime is built with CUDA")
    with pytest.raises(ProviderError, match="yunet-2023mar cannot be opened: cuda: not in this build of onnxruntime"):
        open_model(cards["yunet-2023mar"], models_dir, provider="cuda")


def test_cpu_by_name_is_no_fall_back(cards: dict[str, ModelCard], models_dir: Path) -> None:
    model = open_model(cards["yunet-2023mar"], models_dir, provider="cpu", threads=2)
    assert (model.provider, model.fell_back) == ("cpu", None)


def test_an_unknown_provider_is_an_error(cards: dict[str, ModelCard], models_dir: Path) -> None:
    with pytest.raises(ProviderError, match="no provider 'gpu'; known are auto, openvino, cuda, cpu"):
        open_model(cards["yunet-2023mar"], models_dir, provider="gpu")


def test_a_provider_that_fails_to_open_or_to_warm_up_is_left_with_its_reason(
    cards: dict[str, ModelCard], models_dir: Path
) -> None:
    card = cards["sface-2021dec"]
    data = read_verified(card, models_dir)

    def refuses(graph: bytes, threads: int) -> Any:
        return ort.InferenceSession(graph[:1000], providers=["CPUExecutionProvider"])

    def takes_one_face_only(graph: bytes, threads: int) -> Any:
        return inference._open_cpu(data, threads)

    backends = [
        Backend(name="broken", label="broken", open=refuses),
        Backend(name="rigid", label="rigid", open=takes_one_face_only),
        inference._BACKENDS["cpu"],
    ]
    model = open_first(card, prepare(card, data), backends, threads=1)
    assert model.provider == "cpu"
    assert model.fell_back is not None
    assert model.broken
    broken, rigid = model.fell_back.split("; rigid: ")
    assert broken.startswith("broken: ")
    assert "INVALID_PROTOBUF" in broken
    assert "Got: 2 Expected: 1" in rigid
    with pytest.raises(ProviderError, match=r"(?s)cannot be opened: broken: .*; rigid: "):
        open_first(card, prepare(card, data), backends[:2], threads=1)


def test_what_is_not_there_is_not_broken(
    cards: dict[str, ModelCard], models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    model = open_model(cards["yunet-2023mar"], models_dir)
    assert (model.provider, model.fell_back) == ("cpu", "cuda: not in this build of onnxruntime")
    assert not model.broken
    assert inference.announce(model)["broken"] is False


def test_a_network_that_is_not_what_its_card_says_is_refused_when_opened(
    cards: dict[str, ModelCard], models_dir: Path
) -> None:
    card = replace(cards["sface-2021dec"], dimension=512)
    with pytest.raises(ProviderError, match=r"\(1, 128\), not \(1, 512\)"):
        open_model(card, models_dir, provider="cpu")


def test_prepared_graphs_are_free_in_the_right_axes_and_open_without_a_word(
    cards: dict[str, ModelCard], models_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, expected in (("sface-2021dec", ["batch", 3, 112, 112]), ("yunet-2023mar", [1, 3, "height", "width"])):
        card = cards[name]
        graph = onnx.load_model_from_string(prepare(card, read_verified(card, models_dir))).graph
        (tensor,) = graph.input
        assert [axis.dim_param or axis.dim_value for axis in tensor.type.tensor_type.shape.dim] == expected
        open_model(card, models_dir, provider="cpu")
    assert capfd.readouterr() == ("", "")


def test_only_checked_bytes_are_opened(cards: dict[str, ModelCard], models_dir: Path, tmp_path: Path) -> None:
    card = cards["yunet-2023mar"]
    with pytest.raises(ModelMissingError):
        open_model(card, tmp_path)
    data = bytearray(read_verified(card, models_dir))
    data[-1] ^= 1
    (tmp_path / card.file).write_bytes(data)
    with pytest.raises(ModelHashError):
        open_model(card, tmp_path)


def test_a_file_that_is_no_usable_network_is_named(cards: dict[str, ModelCard], models_dir: Path) -> None:
    text = b"version https://git-lfs.example/spec/v1"
    card = replace(cards["yunet-2023mar"], sha256=hashlib.sha256(text).hexdigest())
    with pytest.raises(ModelError, match=rf"{card.file} is no ONNX graph"):
        prepare(card, text)
    detector = read_verified(cards["yunet-2023mar"], models_dir)
    with pytest.raises(ModelError, match="1 inputs and 12 outputs"):
        prepare(replace(card, task="embed"), detector)
