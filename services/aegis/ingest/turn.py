"""TURN: a relay for senders that cannot reach ingest by UDP themselves, and the credentials that it lets them in with.

A credential is made of a secret that is shared with the TURN server, and nothing of it is stored: the user's name is
the time at which it ends and the camera, the password its HMAC-SHA1 (draft-uberti-behave-turn-rest-00, coturn's
``use-auth-secret``). Senders are told as RFC 9725 section 4.6 has it.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path

from aegis.runtime.service import StartError

CREDENTIAL_SECONDS = 3600
"""A relay that has begun goes on beyond it, and a sender that connects again is given another one."""
ADDRESS = re.compile(r'turns?:[^\s<>",?]+(\?transport=(udp|tcp))?')


@dataclass(frozen=True, slots=True)
class Turn:
    """The TURN servers of a site."""

    addresses: tuple[str, ...]
    secret: bytes = field(repr=False)

    def links(self, camera: str, now: float) -> list[str]:
        """Give a Link header for each server, with a credential for this camera; ``now`` is in seconds since 1970."""
        user = f"{int(now) + CREDENTIAL_SECONDS}:{camera}"
        # What the protocol asks for: a message authentication code, for which SHA-1 is still good.
        password = base64.b64encode(hmac.digest(self.secret, user.encode(), hashlib.sha1)).decode()
        told = f'rel="ice-server"; username="{user}"; credential="{password}"; credential-type="password"'
        return [f"<{address}>; {told}" for address in self.addresses]


def load(addresses: str, secret_file: Path | None) -> Turn:
    """Read the settings; without any there are no servers, and nobody is told of one.

    Raises:
        StartError: one goes without the other, or cannot be used.

    """
    found = tuple(address for part in addresses.split(",") if (address := part.strip()))
    if not found and secret_file is None:
        return Turn((), b"")
    if not found or secret_file is None:
        raise StartError("set AEGIS_WHIP_TURN_URLS and AEGIS_WHIP_TURN_SECRET_FILE, both or neither")
    for address in found:
        if not ADDRESS.fullmatch(address):
            raise StartError(f"AEGIS_WHIP_TURN_URLS: {address!r} is no TURN address such as turn:turn.example.org:3478")
    try:
        secret = secret_file.read_bytes().strip()
    except OSError as error:
        raise StartError(f"AEGIS_WHIP_TURN_SECRET_FILE={secret_file} cannot be read: {error.strerror}") from None
    if not secret:
        raise StartError(f"AEGIS_WHIP_TURN_SECRET_FILE={secret_file} is empty")
    return Turn(found, secret)
