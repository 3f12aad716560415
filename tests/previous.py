"""The code of the version before, as it lies in the history, to be run beside the present one."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REVISION = "eeb3792aca3e"
"""What runs at sites before an upgrade to the present code: to be moved on with each release."""


def tree(folder: Path) -> Path:
    """Write that version's source below ``folder``.

    Skips where this copy has no history, as an unpacked archive; in CI, where nothing may be skipped, it fails.
    """
    made = subprocess.run(
        ["git", "archive", REVISION, "services", "shared", "tests/wire/golden"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        reason = f"revision {REVISION} is not in this copy: {made.stderr.decode().strip()}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def path_first(folder: Path) -> str:
    """Give the PYTHONPATH with which a process runs that version instead of the installed one."""
    return os.pathsep.join([str(folder / "services"), str(folder / "shared")])
