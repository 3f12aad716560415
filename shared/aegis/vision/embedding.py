"""Around an embedder of aligned faces: the tensor that goes in, and unit vectors out of what comes out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def to_tensor(chips: Sequence[NDArray[np.uint8]], *, rgb: bool, mean: float, std: float) -> NDArray[np.float32]:
    """Stack aligned chips (112, 112, 3), uint8, BGR, into a model's input (N, 3, 112, 112).

    ``rgb`` says that the model wants red first; each value becomes ``(value - mean) / std``.
    """
    batch = np.stack(chips)
    if rgb:
        batch = batch[..., ::-1]
    tensor = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)
    tensor -= np.float32(mean)
    tensor /= np.float32(std)
    return tensor


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row of ``vectors`` (N, D) to unit length, so that a dot product is a cosine.

    Raises ValueError naming the first row that is zero or not finite: a model that gives such a vector is broken, and
    the cosine of it would mean nothing.
    """
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if bad.size:
        raise ValueError(f"row {bad[0]} of {len(wide)} is {'zero' if lengths[bad[0], 0] == 0 else 'not finite'}")
    unit: NDArray[np.float32] = (wide / lengths).astype(np.float32)
    return unit
