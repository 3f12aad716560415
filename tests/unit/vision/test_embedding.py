from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from aegis.vision import embedding

CHIP = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)


def test_to_tensor_orders_and_scales_the_channels() -> None:
    plain = embedding.to_tensor([CHIP, CHIP[::-1]], rgb=False, mean=0, std=1)
    assert plain.shape == (2, 3, 112, 112)
    assert plain.dtype == np.float32
    assert plain.flags.c_contiguous
    np.testing.assert_array_equal(plain[0, 0], CHIP[..., 0])
    scaled = embedding.to_tensor([CHIP], rgb=True, mean=127.5, std=128)
    np.testing.assert_allclose(scaled[0, 0], (CHIP[..., 2].astype(float) - 127.5) / 128, atol=1e-6)


def test_sface_embeds_what_opencv_embeds(models_dir: Path, clips: dict[str, Any]) -> None:
    recognizer = cv2.FaceRecognizerSF.create(str(models_dir / "face_recognition_sface_2021dec.onnx"), "")
    for clip in clips.values():
        sighting = clip.sightings[0]
        expected = np.asarray(recognizer.feature(sighting.chip), np.float32)
        assert float(embedding.normalise(expected)[0] @ sighting.vector) > 0.99999


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0.5, 1e6, width=32)))
def test_normalised_rows_have_length_one_and_keep_their_direction(vectors: NDArray[np.float32]) -> None:
    unit = embedding.normalise(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(vectors.astype(float), axis=1, keepdims=True), vectors, rtol=1e-5)


@pytest.mark.parametrize(("value", "reason"), [(0.0, "zero"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_a_row_without_direction_is_named(value: float, reason: str) -> None:
    vectors = np.ones((4, 8), np.float32)
    vectors[2] = value
    with pytest.raises(ValueError, match=f"row 2 of 4 is {reason}"):
        embedding.normalise(vectors)


def test_very_long_and_very_short_rows_are_normalised() -> None:
    vectors = np.array([[3e38, 3e38], [1e-38, 0]], np.float32)
    np.testing.assert_allclose(embedding.normalise(vectors), [[0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-6)
