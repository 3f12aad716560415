"""Embedding faces as the product does it, beside the bare network: what preparing and checking costs.

Both run on one session, in turn: ``aegis.runtime.faces.embed`` on aligned pictures, and onnxruntime on a tensor of
the same ones that is ready.

    python benchmarks/embed_bench.py
"""

from functools import partial

import lab
import numpy as np

from aegis.cli.state import models_dir
from aegis.runtime.faces import embed
from aegis.runtime.inference import MAX_EMBED_BATCH, open_model
from aegis.runtime.models import load_cards
from aegis.vision.alignment import SIDE
from aegis.vision.embedding import to_tensor

LIMIT = 1.15


def main() -> None:
    card = load_cards()["sface-2021dec"]
    model = open_model(card, models_dir())
    random = np.random.default_rng(0)
    rows: list[lab.Row] = []
    for batch in range(1, MAX_EMBED_BATCH + 1):
        chips = [random.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(batch)]
        feed = {model.input_name: to_tensor(chips, rgb=card.rgb, mean=card.mean, std=card.std)}
        ours, bare = lab.cpu_milliseconds(partial(embed, model, chips), partial(model.session.run, None, feed))
        print(f"{batch} faces: {ours / batch:.2f} ms of CPU a face, the network alone {bare / batch:.2f}", flush=True)
        rows.append((f"CPU of {batch} faces, of the network alone", ours / bare, "x", LIMIT, False))
    lab.table("embedding", rows, model=card.id, provider=model.provider, fell_back=model.fell_back)


if __name__ == "__main__":
    main()
