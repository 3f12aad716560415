"""A backup's file: what was written is read, and nothing else ever is."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.cli.backup import sealed_file
from aegis.cli.backup.sealed_file import HEADER_BYTES, LENGTH, MAGIC, Writer, records
from aegis.cli.errors import CommandError
from aegis.runtime.sealing import Sealer

SEALER = Sealer(bytes(32))
CONTENT = [b"first", b"", b"second" * 20, b"end"]
DAMAGED = ("is damaged", "was cut off", "is no backup", "another site key", "has layout")


def write(path: Path, content: list[bytes], sealer: Sealer = SEALER) -> bytes:
    writer = Writer(path, sealer)
    for number, record in enumerate(content, 1):
        writer.add(record, last=number == len(content))
    assert writer.finish() == path.stat().st_size
    return path.read_bytes()


def refusal(path: Path, data: bytes, sealer: Sealer = SEALER) -> str:
    path.write_bytes(data)
    with pytest.raises(CommandError) as refused:
        list(records(path, sealer))
    return str(refused.value)


@given(content=st.lists(st.binary(max_size=200), min_size=1, max_size=8))
def test_what_was_written_is_read(content: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "written"
    data = write(path, content)
    assert list(records(path, SEALER)) == content
    assert all(record not in data for record in content if len(record) > 8)
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_changed_bit_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path / "whole", CONTENT)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert any(words in refusal(tmp_path / "changed", bytes(changed)) for words in DAMAGED), place


def test_a_file_that_was_cut_off_anywhere_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path / "whole", CONTENT)
    for length in range(1, len(data)):
        assert "was cut off" in refusal(tmp_path / "short", data[:length]), length
    assert "is no backup" in refusal(tmp_path / "short", b"")
    assert "is damaged" in refusal(tmp_path / "long", data + b"\0")


def pieces(data: bytes) -> list[bytes]:
    """Give the sealed records of a file, each with its length."""
    found, at = [], HEADER_BYTES
    while at < len(data):
        size = LENGTH.size + (LENGTH.unpack_from(data, at)[0] & ~sealed_file.LAST)
        found.append(data[at : at + size])
        at += size
    return found


def test_records_cannot_be_left_out_moved_or_brought_in(tmp_path: Path) -> None:
    data, other = write(tmp_path / "one", CONTENT), write(tmp_path / "other", CONTENT)
    head, (a, b, c, d) = data[:HEADER_BYTES], pieces(data)
    foreign = pieces(other)[1]
    shortened = LENGTH.pack(LENGTH.unpack_from(c)[0] | sealed_file.LAST) + c[LENGTH.size :]
    for joined in ((a, c, d), (b, a, c, d), (a, foreign, c, d), (a, b, b, d), (a, b, d), (a, b, shortened)):
        assert "is damaged" in refusal(tmp_path / "joined", head + b"".join(joined))
    assert list(records(tmp_path / "one", SEALER)) == CONTENT


def test_the_wrong_key_a_newer_layout_and_another_file_are_told_apart(tmp_path: Path) -> None:
    data = write(tmp_path / "whole", CONTENT)
    told = refusal(tmp_path / "x", data, Sealer(bytes([1] * 32)))
    assert told.endswith("x was sealed with another site key; give the right AEGIS_SITE_KEY_FILE")
    newer = MAGIC + bytes([sealed_file.VERSION + 1]) + data[len(MAGIC) + 1 :]
    assert "has layout 2, and this version reads 1" in refusal(tmp_path / "x", newer)
    assert "is no backup of Aegis" in refusal(tmp_path / "x", b"PK\3\4" + data)
    with pytest.raises(CommandError, match="No such file"):
        list(records(tmp_path / "none", SEALER))


def test_what_was_taken_back_is_not_in_the_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "file", SEALER)
    writer.add(b"kept")
    mark = writer.mark()
    for _ in range(3):
        writer.rewind(mark)
        writer.add(b"again" * 100)
        writer.add(b"and more")
    writer.rewind(mark)
    writer.add(b"end", last=True)
    writer.finish()
    assert list(records(tmp_path / "file", SEALER)) == [b"kept", b"end"]


def test_what_was_not_finished_leaves_the_earlier_one_as_it_was(tmp_path: Path) -> None:
    before = write(tmp_path / "file", CONTENT)
    writer = Writer(tmp_path / "file", SEALER)
    writer.add(b"half of it")
    assert writer.temporary.stat().st_mode & 0o777 == 0o600
    writer.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == before


def test_no_room_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from aegis.cli.backup.sealed_file import Writer\nfrom aegis.runtime.sealing import Sealer\n"
        "writer = Writer(Path(sys.argv[1]), Sealer(bytes(32)))\n"
        "try:\n    [writer.add(bytes(1000)) for _ in range(100)]\n"
        "except OSError as error:\n    writer.discard(); print(error.strerror)\n"
    )

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_500, 20_500))

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "file"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=small_disk,
        env=os.environ,
    )
    assert done.stdout == "File too large\n"
    assert not list(tmp_path.iterdir())
