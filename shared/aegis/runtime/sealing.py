"""Sealing: everything about a face that is stored is encrypted with the site's key before it leaves the process.

AES-256-GCM under a key derived by HKDF-SHA256 for each purpose; the place where a blob is stored is authenticated
with it, so blobs cannot be swapped. The first byte is the version of this layout, the next four name the site key.
"""

import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LAYOUT = 1
KEY_BYTES = 32
NONCE_BYTES = 12
NAME_BYTES = 4


class SealError(ValueError):
    """A blob that this site key does not open, or a key file that is none."""


class Sealer:
    """Seals and opens blobs with one site key. Make one with :func:`load` or :func:`load_or_create`."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._name = hashlib.sha256(b"aegis site key" + key).digest()[:NAME_BYTES]
        self._derived: dict[str, AESGCM] = {}

    def seal(self, purpose: str, place: str, plain: bytes) -> bytes:
        """Encrypt for one ``purpose`` (a bucket) and ``place`` (a key in it)."""
        nonce = os.urandom(NONCE_BYTES)
        header = bytes([LAYOUT]) + self._name
        return header + nonce + self._cipher(purpose).encrypt(nonce, plain, header + place.encode())

    def open(self, purpose: str, place: str, sealed: bytes) -> bytes:
        """Decrypt what was sealed for the same purpose and place.

        Raises:
            SealError: it was changed, moved, or sealed with another site key.

        """
        header, rest = sealed[: 1 + NAME_BYTES], sealed[1 + NAME_BYTES :]
        if len(rest) < NONCE_BYTES or header[:1] != bytes([LAYOUT]):
            raise SealError(f"{purpose}/{place} is not a sealed blob of layout {LAYOUT}")
        if header[1:] != self._name:
            raise SealError(f"{purpose}/{place} was sealed with another site key; give the right AEGIS_SITE_KEY_FILE")
        try:
            return self._cipher(purpose).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], header + place.encode())
        except InvalidTag:
            raise SealError(f"{purpose}/{place} was changed since it was sealed") from None

    def _cipher(self, purpose: str) -> AESGCM:
        if purpose not in self._derived:
            info = b"aegis/" + purpose.encode()
            self._derived[purpose] = AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self._key))
        return self._derived[purpose]


def load(path: Path) -> Sealer:
    """Read the site key, which nobody but its owner may read.

    Raises:
        SealError: naming the file, when it is missing, too open or not 64 hexadecimal digits.

    """
    try:
        status = path.stat()
        text = path.read_text().strip()
    except OSError as error:
        raise SealError(f"site key {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    # A cluster hands out a secret as root's file, readable to the one group of the process that is to have it.
    handed_out = status.st_uid == 0 != os.getuid() and not status.st_mode & 0o027
    if status.st_mode & 0o077 and not handed_out:
        raise SealError(f"site key {path} can be read by others; run: chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SealError(f"site key {path} is not {2 * KEY_BYTES} hexadecimal digits")
    return Sealer(key)


def load_or_create(path: Path) -> Sealer:
    """Read the site key, making it on the first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    return load(path)
