"""The file that a backup is: records, each sealed with the site key, whose order and end are authenticated.

    "AEGISBAK", version (1 byte), id of this file (16 bytes)
    then, for each record: its length and, in the highest bit, whether it is the last (4 bytes, big-endian); the
    sealed record

A record is sealed for the purpose ``backup`` and the place ``version/id/number/last or more``. So one that was
changed, left out, moved, or brought in from another file does not open, and a file that was cut off has no last one.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.runtime.sealing import NAME_BYTES, Sealer, SealError

MAGIC = b"AEGISBAK"
VERSION = 1
ID_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + ID_BYTES
LAST = 1 << 31
LENGTH = struct.Struct(">I")
LONGEST = 4 * 2**20
"""No record is longer: the bus carries a stream in pieces below its largest message, and a site file is small."""
PURPOSE = "backup"
Mark = tuple[int, int]
"""How long the file is, and how many records it has."""


class Writer:
    """Writes a file under a temporary name that only its owner can read; :meth:`finish` gives it its own name."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        """Begin a file.

        Raises:
            OSError: it cannot be written there.

        """
        self._path = path
        self._sealer = sealer
        self._id = os.urandom(ID_BYTES)
        self._number = 0
        self.temporary = path.with_name(f".{path.name}.{self._id.hex()[:8]}.part")
        descriptor = os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._file = os.fdopen(descriptor, "w+b", buffering=0)
        self._write(MAGIC + bytes([VERSION]) + self._id)

    def add(self, record: bytes, *, last: bool = False) -> None:
        """Seal and write one record; OSError where there is no room for it."""
        sealed = self._sealer.seal(PURPOSE, _place(self._id, self._number, last=last), record)
        self._write(LENGTH.pack(len(sealed) | (LAST if last else 0)) + sealed)
        self._number += 1

    def mark(self) -> Mark:
        return self._file.tell(), self._number

    def rewind(self, mark: Mark) -> None:
        """Take back what was written since a mark."""
        length, self._number = mark
        self._file.truncate(length)
        self._file.seek(length)

    def finish(self) -> int:
        """Have all of it on the disk under its own name, and give how many bytes it has."""
        size = self._file.tell()
        os.fsync(self._file.fileno())
        self._file.close()
        self.temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return size

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished."""
        self._file.close()
        self.temporary.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        # A disk that gets full takes a part and refuses the next one.
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def records(path: Path, sealer: Sealer) -> Iterator[bytes]:
    """Give every record of a file; at the end it is known that none is missing.

    Raises:
        CommandError: saying what is wrong with the file, as soon as that is met.

    """
    try:
        with path.open("rb") as file:
            identity = _identity(path, file.read(HEADER_BYTES))
            number, last = 0, False
            while not last:
                length = _whole(path, file.read(LENGTH.size), LENGTH.size)
                last, size = bool(LENGTH.unpack(length)[0] & LAST), LENGTH.unpack(length)[0] & ~LAST
                if size > LONGEST:
                    raise CommandError(f"{path} is damaged; use another backup")
                sealed = _whole(path, file.read(size), size)
                if number == 0:
                    _check_key(path, sealer, sealed)
                yield _opened(path, sealer, sealed, _place(identity, number, last=last))
                number += 1
            if file.read(1):
                raise CommandError(f"{path} is damaged; use another backup")
    except OSError as error:
        raise CommandError(f"backup {path}: {error.strerror}") from None


def _place(identity: bytes, number: int, *, last: bool) -> str:
    return f"{VERSION}/{identity.hex()}/{number}/{'last' if last else 'more'}"


def _identity(path: Path, header: bytes) -> bytes:
    """Check the beginning of a file and give its id."""
    if not header or not MAGIC.startswith(header[: len(MAGIC)]):
        raise CommandError(f"{path} is no backup of Aegis")
    _whole(path, header, HEADER_BYTES)
    if (version := header[len(MAGIC)]) != VERSION:
        raise CommandError(f"{path} has layout {version}, and this version reads {VERSION}: use the one that wrote it")
    return header[len(MAGIC) + 1 :]


def _whole(path: Path, data: bytes, expected: int) -> bytes:
    if len(data) < expected:
        raise CommandError(f"{path} was cut off; use another backup")
    return data


def _check_key(path: Path, sealer: Sealer, sealed: bytes) -> None:
    """Tell the wrong key from a damaged file: what a key seals begins with its name."""
    names = 1 + NAME_BYTES
    if sealer.seal(PURPOSE, "", b"")[:names] != sealed[:names]:
        raise CommandError(f"{path} was sealed with another site key; give the right AEGIS_SITE_KEY_FILE")


def _opened(path: Path, sealer: Sealer, sealed: bytes, place: str) -> bytes:
    try:
        return sealer.open(PURPOSE, place, sealed)
    except SealError:
        raise CommandError(f"{path} is damaged; use another backup") from None
