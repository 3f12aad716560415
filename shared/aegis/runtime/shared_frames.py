"""Frames in memory that ingest and detect share on one machine: only where they lie travels on the bus.

A folder on a memory file system has one file for each camera that is held: places for a few pictures, which are
overwritten in turn. A picture begins with its turn, so a reader who comes too late notices. Writing a frame as JPEG and
reading that again costs more than finding the faces in it.
"""

import contextlib
import itertools
import logging
import os
import shutil
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.contracts.messages import SharedPicture

log = logging.getLogger(__name__)

PLACES = 3
"""One that is read, one that waits, one that is written."""
LARGEST = 4096
ABOUT = (
    "Folder on a memory file system (`/dev/shm`) through which ingest hands frames to a detect that sees the same one."
    " Without it, or from another machine, they travel on the bus as JPEG, which costs more."
)
_HEAD = struct.Struct("<Q")
BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[str]:
    """Have a folder, empty and for this user alone, until the block is left; gives why that cannot be, or nothing."""
    problem = ""
    try:
        if folder.is_dir() and not _refusal(folder):
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        problem = f"{folder}: {error.strerror}"
    try:
        yield problem
    finally:
        if not problem:
            shutil.rmtree(folder, ignore_errors=True)


def folder_of(name: str) -> Path | None:
    """Give the folder that a setting names, if it is there and nobody else can look into it."""
    if not name:
        return None
    refusal = _refusal(Path(name))
    if refusal:
        log.warning("frames go as JPEG: AEGIS_FRAMES_DIR=%s %s", name, refusal)
    return None if refusal else Path(name)


def _refusal(folder: Path) -> str:
    try:
        found = folder.lstat()
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if not stat.S_ISDIR(found.st_mode):
        return "is no folder"
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        return "is not this user's alone (chmod 700)"
    return ""


def place_of(folder: Path | None) -> str:
    """Name a folder so that two processes give the same name only if they see the same one; nothing for none."""
    if folder is None:
        return ""
    found = folder.stat()
    boot = BOOT.read_text().strip() if BOOT.exists() else os.uname().nodename
    return f"{boot}.{found.st_dev}.{found.st_ino}"


class Writer:
    """The pictures of one camera. Any thread may write, one at a time."""

    def __init__(self, folder: Path, camera: str, epoch: int) -> None:
        self._folder, self._camera, self._epoch = folder, camera, epoch
        self._lock = threading.Lock()
        self._files = itertools.count()
        self._turns = itertools.count(1)
        self._file = -1
        self._path: Path | None = None
        self._size = (0, 0)
        self._sweep()

    def write(self, width: int, height: int, planes: Sequence[NDArray[np.uint8]]) -> SharedPicture:
        """Lay down a picture of planes that make up 4:2:0; it stays until :data:`PLACES` more were written.

        Raises:
            OSError: there is no room.

        """
        with self._lock:
            if self._size != (width, height):
                self._open(width, height)
            assert self._path is not None  # noqa: S101 - it is open
            turn = next(self._turns)
            place = turn % PLACES
            at = place * _stride(width, height)
            os.pwrite(self._file, _HEAD.pack(0), at)
            wanted = _stride(width, height) - _HEAD.size
            if os.pwritev(self._file, [plane.data for plane in planes], at + _HEAD.size) != wanted:
                raise OSError(f"a picture of {wanted} bytes did not fit")
            os.pwrite(self._file, _HEAD.pack(turn), at)
            return SharedPicture(file=self._path.name, place=place, turn=turn, width=width, height=height)

    def close(self) -> None:
        """Forget every picture."""
        with self._lock:
            self._close()

    def _open(self, width: int, height: int) -> None:
        self._close()
        self._sweep()
        self._path = self._folder / f"{self._camera}.{self._epoch}.{next(self._files)}"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = (width, height)

    def _sweep(self) -> None:
        """Remove what a process left that was killed while it had the camera."""
        for left in self._folder.glob(f"{self._camera}.*"):
            left.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._file)
            self._path.unlink(missing_ok=True)
        self._path, self._size = None, (0, 0)


def read(folder: Path, picture: SharedPicture) -> NDArray[np.uint8] | None:
    """Copy a picture's planes (height * 3 / 2, width); None if another lies in its place by now, or it is forgotten."""
    sides = picture.width, picture.height
    if "/" in picture.file or not (0 <= picture.place < PLACES and min(sides) > 0 and max(sides) <= LARGEST):
        return None
    planes = np.empty((picture.height * 3 // 2, picture.width), np.uint8)
    at = picture.place * _stride(picture.width, picture.height)
    try:
        file = os.open(folder / picture.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        whole = os.preadv(file, [planes.data], at + _HEAD.size) == planes.nbytes
        return planes if whole and os.pread(file, _HEAD.size, at) == _HEAD.pack(picture.turn) else None
    finally:
        os.close(file)


def _stride(width: int, height: int) -> int:
    return _HEAD.size + width * height * 3 // 2
