"""Where the tests find their data and models; a missing one is a skip here and a failure in CI."""

import os
from pathlib import Path

import pytest

from aegis.cli import state

ROOT = Path(__file__).resolve().parent.parent


def require(path: Path, what: str) -> Path:
    """Give ``path`` if it exists; else skip with the reason, or fail where CI must not skip."""
    if path.exists():
        return path
    reason = f"{what} is not at {path}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def test_data() -> Path:
    return require(Path(os.environ.get("AEGIS_TEST_DATA", ROOT.parent / "shared" / "data")), "the test data")


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return require(state.models_dir(), "the models")


REAL = ("cluster", "e2e", "image", "integration")
"""Tests of processes that run, on clocks that run too: what else the machine does can be in their way once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give those a second try, which the summary names; what fails twice fails."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").parts[0] in REAL:
            item.add_marker(pytest.mark.flaky(reruns=1))
