"""May a processor compute an embedder in bfloat16? Where it has the units for it, and the vectors prove to be the same.

bfloat16 keeps 8 of float32's 24 bits. With AMX it embeds three times as many faces a second, and over the photos of
LFW no vector's cosine to that in float32 was below .994. But what a driver makes of a network is its own affair, so
each start proves it anew, on faces that nobody has.
"""

import re

import numpy as np
from numpy.typing import NDArray

from aegis.vision.embedding import normalise

LEAST_COSINE = 0.99
"""Between a probe's vectors in bfloat16 and float32.

The probes are harder than faces. With SFace's factors rounded to bfloat16 the least of them is .9994, where that of
faces is .9998; with its weights rounded to 8 bits it is .969, where that of faces is .987 and is refused.
"""
PROBES = 16
_WAVES = 8


def has_amx(cpuinfo: str) -> bool:
    """Tell from the text of /proc/cpuinfo whether the processor multiplies matrices of bfloat16."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return bool(flags and "amx_bf16" in flags[1].split())


def probes(side: int) -> NDArray[np.uint8]:
    """Draw the same pictures every time, (PROBES, side, side, 3): smooth and coloured as faces are, but of nobody."""
    steps = np.arange(_WAVES)
    waves = np.cos(np.pi * np.outer((np.arange(side) + 0.5) / side, steps))
    # The slower a wave, the stronger, and much of it is common to the three colours.
    fading = 1 + steps[:, None, None] + steps[:, None]
    strengths = np.random.default_rng(0).normal(size=(PROBES, _WAVES, _WAVES, 3)) / fading
    strengths = 0.5 * strengths + strengths[..., :1]
    pictures = np.einsum("xi,nijc,yj->nxyc", waves, strengths, waves)
    pictures -= pictures.mean(axis=(1, 2, 3), keepdims=True)
    pictures /= pictures.std(axis=(1, 2, 3), keepdims=True)
    drawn: NDArray[np.uint8] = np.clip(127.5 + 50 * pictures, 0, 255).astype(np.uint8)
    return drawn


def cosines(reduced: NDArray[np.float32], full: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compare vectors (N, D) row by row. Raises ValueError when one is zero or not finite."""
    found: NDArray[np.float64] = np.einsum("nd,nd->n", normalise(reduced), normalise(full), dtype=np.float64)
    return found


def objection(found: NDArray[np.float64]) -> str | None:
    """Say why vectors with these cosines to those in float32 must not be used, if so."""
    least = float(found.min())
    # Written so that NaN is an objection too.
    if least >= LEAST_COSINE:
        return None
    return f"of {len(found)} probes the least cosine to float32 is {least:.4f}, below {LEAST_COSINE}"
