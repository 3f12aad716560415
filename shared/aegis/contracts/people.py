"""What the people who review alerts say, signed with their own keys, and how the registry keeps it."""

import enum
import json
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What a person says of an alert."""

    ACK = "ack"
    """I have seen it and am looking into it."""
    CONFIRM = "confirm"
    """I have compared, and it is this person."""
    DISMISS = "dismiss"
    """It is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    """A person who may review alerts (bucket ``users``, key ``<id>``, sealed)."""

    id: str
    name: str
    public_key: str
    """The public half of the person's nkey; nobody but the person has the other one."""
    added_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AddUser:
    name: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReview:
    """What a person says of an alert, and the person's signature over :attr:`signed`."""

    alert: str
    verdict: Verdict
    reason: str = ""
    """Why it is dismissed."""
    at: float
    public_key: str
    signature: bytes

    @property
    def signed(self) -> bytes:
        return _canonical(self.verdict.value, self.alert, self.reason, self.at, self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowAlert:
    """Ask how an alert stands; signed if one wants to see what only those may see who have given their own view."""

    reference: str
    at: float = 0.0
    public_key: str = ""
    signature: bytes = b""

    @property
    def signed(self) -> bytes:
        return _canonical("show", self.reference, "", self.at, self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A review that the registry accepted (bucket ``votes``, key ``<alert>.<user>.<verdict>``, sealed)."""

    user: str
    name: str
    at: float
    """By the registry's clock."""
    review: SignedReview


def _canonical(*parts: str | float) -> bytes:
    """Give the bytes that are signed: their purpose, then the parts as JSON, times in milliseconds."""
    plain = [round(1000 * part) if isinstance(part, float) else part for part in parts]
    return b"aegis review 1\n" + json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
