"""Sealing: only the right key opens a blob, only where it was stored, and only as it was."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.runtime import sealing
from aegis.runtime.sealing import Sealer, SealError

KEY = bytes(range(32))
PLAIN = b"a face" * 100


@pytest.fixture
def sealed() -> bytes:
    return Sealer(KEY).seal("photos", "p1", PLAIN)


def test_what_was_sealed_is_opened_by_another_process_with_the_key(sealed: bytes) -> None:
    assert Sealer(KEY).open("photos", "p1", sealed) == PLAIN
    assert b"face" not in sealed


def test_the_same_twice_is_not_the_same_sealed(sealed: bytes) -> None:
    assert Sealer(KEY).seal("photos", "p1", PLAIN) != sealed


def test_another_key_is_told_apart_from_a_changed_blob(sealed: bytes) -> None:
    with pytest.raises(SealError, match="another site key"):
        Sealer(bytes(32)).open("photos", "p1", sealed)


@pytest.mark.parametrize(("purpose", "place"), [("photos", "p2"), ("watchlist", "p1"), ("photos", "")])
def test_a_blob_does_not_open_elsewhere(sealed: bytes, purpose: str, place: str) -> None:
    with pytest.raises(SealError, match="was changed"):
        Sealer(KEY).open(purpose, place, sealed)


def test_every_changed_byte_is_found(sealed: bytes) -> None:
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(SealError):
            Sealer(KEY).open("photos", "p1", bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 5, 16, 17, 32, -1])
def test_a_blob_that_was_cut_is_refused(sealed: bytes, length: int) -> None:
    with pytest.raises(SealError):
        Sealer(KEY).open("photos", "p1", sealed[:length])


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "site.key"
    sealed = sealing.load_or_create(path).seal("photos", "p1", PLAIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sealing.load_or_create(path).open("photos", "p1", sealed) == PLAIN
    assert sealing.load(path).open("photos", "p1", sealed) == PLAIN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "site.key"
    path.write_text(KEY.hex())
    path.chmod(mode)
    with pytest.raises(SealError, match="chmod 600"):
        sealing.load(path)


@pytest.mark.parametrize("content", [b"", b"12", b"z" * 64, KEY, KEY.hex().encode() + b"00", b"\xff\xfe" * 32])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealError, match=r"site\.key is not 64 hexadecimal digits"):
        sealing.load_or_create(path)
    assert path.read_bytes() == content, "it is never overwritten"


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealError, match=r"none\.key: No such file"):
        sealing.load(tmp_path / "none.key")


def test_the_key_is_in_no_error_and_no_repr(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    path.write_text(KEY.hex() + "00")
    path.chmod(0o600)
    with pytest.raises(SealError) as error:
        sealing.load(path)
    assert KEY.hex() not in str(error.value)
    assert KEY.hex() not in repr(Sealer(KEY))
    assert repr(KEY) not in repr(Sealer(KEY))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hand a file out")
@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o400, False), (0o444, False), (0o460, False)])
def test_a_key_that_root_hands_out_to_ones_group_is_taken(open_folder: Path, mode: int, *, taken: bool) -> None:
    path = open_folder / "site.key"
    sealing.load_or_create(path)
    path.chmod(mode)
    os.chown(path, 0, 4242)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(4242)
        os.setuid(4242)
        try:
            sealing.load(path)
        except SealError:
            os._exit(1)
        os._exit(0)
    assert (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0) is taken
