"""The version before and the present one read each other's messages: an upgrade meets in the middle, a rollback too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import previous
from tests.wire.examples import EVENTS, GOLDEN, OLDER_EVENTS

from aegis.contracts import cloudevents, codec, deliveries, messages, people

RECORDS = {name: record for name, (_, record) in EVENTS.items()} | OLDER_EVENTS

READER = """
import json, sys
from pathlib import Path
from aegis.contracts import cloudevents, codec, deliveries, messages, people, reviews
read = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.suffix == ".bin":
        name = path.stem.partition("-")[0]
        kind = next((vars(m)[name] for m in (messages, deliveries, people) if name in vars(m)), None)
        if kind is None:
            continue  # what only the newer version sends
        codec.decode(kind, path.read_bytes())
    else:
        cloudevents.load(path.read_bytes())
    read.append(path.name)
print(json.dumps([read, messages.__file__]))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return previous.tree(tmp_path_factory.mktemp("previous"))


def test_nothing_is_skipped_in_ci_for_want_of_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(previous, "ROOT", tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is not in this copy"):
        previous.tree(tmp_path)


def test_the_version_before_reads_what_this_one_writes(before: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": previous.path_first(before)}
    made = subprocess.run(
        [sys.executable, "-c", READER, str(GOLDEN)], env=environ, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    read, source = json.loads(made.stdout)
    assert source.startswith(str(before))
    assert set(read) >= {path.name for path in (before / "tests" / "wire" / "golden").iterdir()}


def test_this_version_reads_what_the_one_before_wrote(before: Path) -> None:
    golden = sorted((before / "tests" / "wire" / "golden").iterdir())
    assert len(golden) > 30
    for path in golden:
        if path.suffix == ".bin":
            name = path.stem.partition("-")[0]
            codec.decode(
                next(vars(m)[name] for m in (messages, deliveries, people) if name in vars(m)), path.read_bytes()
            )
        else:
            event = cloudevents.load(path.read_bytes())
            cloudevents.from_data(type(RECORDS[path.stem]), event.data)
