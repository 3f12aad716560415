"""Files that follow from the code say what the code says."""

from pathlib import Path

import pytest
from tests.deploy.generated import FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_generated_file_is_as_the_code_gives_it(path: Path) -> None:
    assert path.read_text() == FILES[path](), "run: python -m tests.deploy.generated"
