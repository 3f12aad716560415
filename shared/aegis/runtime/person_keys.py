"""The keys of people: nkeys (Ed25519), as those of the services are, made, signed with and verified."""

import base64
import binascii
import os

import nkeys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_BYTES = 32
CHECK_BYTES = 2


class PersonKeyError(ValueError):
    """A text that is no such key."""


class PersonKey:
    """The secret half. ``seed`` is what stands in a key file.

    Raises:
        PersonKeyError: it is no seed of a user's nkey.

    """

    def __init__(self, seed: bytes) -> None:
        try:
            self._pair = nkeys.from_seed(bytearray(seed.strip()))
            self.public = str(self._pair.public_key.decode())
            public_bytes(self.public)
        except (nkeys.NkeysError, ValueError) as error:
            raise PersonKeyError(str(error)) from None

    def sign(self, data: bytes) -> bytes:
        return bytes(self._pair.sign(data))


def new_seed() -> bytes:
    """Make a key."""
    return bytes(nkeys.encode_seed(os.urandom(KEY_BYTES), nkeys.PREFIX_BYTE_USER))


def public_bytes(public: str) -> bytes:
    """Read a user's public key, 32 bytes.

    Raises:
        PersonKeyError: it is none.

    """
    try:
        raw = base64.b32decode(public)
    except (binascii.Error, ValueError):
        raw = b""
    body, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    if len(body) != 1 + KEY_BYTES or body[0] != nkeys.PREFIX_BYTE_USER:
        raise PersonKeyError(f"{public[:80]!r} is no public key of a user")
    if nkeys.crc16(body).to_bytes(CHECK_BYTES, "little") != check:
        raise PersonKeyError(f"{public[:80]!r} is mistyped")
    return body[1:]


def verify(public: str, data: bytes, signature: bytes) -> bool:
    """Tell whether the holder of a key signed this.

    Raises:
        PersonKeyError: it is no key.

    """
    try:
        Ed25519PublicKey.from_public_bytes(public_bytes(public)).verify(signature, data)
    except InvalidSignature:
        return False
    return True
