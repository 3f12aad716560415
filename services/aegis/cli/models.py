"""``aegis models``: bring the model files here, by their pinned hashes, and check them."""

import sys
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.cli.state import models_dir
from aegis.runtime.model_sources import ModelHashError, ModelMissingError, pull, verify
from aegis.runtime.models import ModelError, load_cards
from aegis.runtime.progress import progress_bar


def pull_models(directory: Path | None = None) -> None:
    """Fetch every model that is not here yet.

    Raises:
        CommandError: naming the model, what was tried and what to do.

    """
    folder = directory or models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for card in load_cards().values():
            path = pull(card, folder, progress_bar(sys.stderr))
            print(f"{card.id}: {path}", file=sys.stderr)
    except (ModelError, OSError) as error:
        raise CommandError(str(error)) from None


def verify_models() -> None:
    """Check every model's hash.

    Raises:
        CommandError: naming the first that is missing or changed.

    """
    try:
        for card in load_cards().values():
            print(f"{card.id}: {verify(card, models_dir())} is the pinned file ({card.licence})")
    except ModelError as error:
        raise CommandError(str(error)) from None


def ensure_models() -> None:
    """Fetch what is missing; a file that was changed is an error, not replaced in silence."""
    try:
        for card in load_cards().values():
            verify(card, models_dir())
    except ModelMissingError:
        pull_models()
    except ModelHashError as error:
        raise CommandError(str(error), 2) from None
    except ModelError as error:
        raise CommandError(str(error), 2) from None
