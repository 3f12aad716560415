"""A command loads only what it works with: the heavy packages take seconds, and one of them is optional."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("onnxruntime", "openvino", "matplotlib", "scipy", "skimage")
COMMANDS = (
    "status",
    "calibrate",
    "cohort show",
    "cohort build photos",
    "watchlist list",
    "camera list",
    "alerts list",
    "arm",
    "models verify",
    "up --config none.yaml",
)
"""Each ends at once, with what is missing, where no system runs."""
PROGRAM = """
import sys
from aegis.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print("ended", ended.code)
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("command", [*COMMANDS, "--version", "evaluate --help"])
def test_a_command_loads_no_heavy_package_before_it_needs_one(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), *(() if command.startswith("-") else ("--state", tmp_path))],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path)},
    )
    *_, ended, loaded = done.stdout.splitlines()
    assert ended.startswith("ended"), done.stderr
    assert not set(HEAVY) & set(loaded.split()), done.stderr
