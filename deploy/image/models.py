# ruff: noqa: INP001 - a script of the image's build, in no package
"""Fetch the models into a directory of the image, by their pinned hashes; one that cannot be had ends the build."""

import sys
from pathlib import Path

from aegis.runtime.model_sources import pull
from aegis.runtime.models import load_cards
from aegis.runtime.progress import progress_bar

for card in load_cards().values():
    pull(card, Path(sys.argv[1]), progress_bar(sys.stderr))
