"""The rules of telling: what counts as news, when to try again, and how a repeat is recognised and proved ours."""

import base64
import binascii
import datetime as dt
import email.utils
import hmac
import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

from aegis.contracts import alerts, cloudevents, codec, reviews, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.reviews import Update

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
TRY_AGAIN_STATUS = (408, 425, 429)
DETAIL_CHARACTERS = 200
LATEST = 253_402_300_799.0
"""The last second of the year 9999, beyond which no calendar goes."""
INVISIBLE = frozenset("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
"""Characters that reorder or hide the text around them."""
REVIEWED = (
    reviews.ACKNOWLEDGED,
    reviews.CONFIRMED,
    reviews.DISMISSED,
    reviews.ESCALATED,
    reviews.EXPIRED,
    reviews.CORRECTED,
)
SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a secret in base64


class TryAgainError(Exception):
    """The recipient could not be told now.

    ``after`` is how many seconds it asks to be left alone. ``setup`` means that a person must mend the settings; the
    alert is still tried again, since they may do so before it expires. ``of_contact`` means that the provider itself
    works, and only this contact cannot be told.
    """

    def __init__(
        self, problem: str, *, after: float | None = None, setup: bool = False, of_contact: bool = False
    ) -> None:
        self.after = after
        self.setup = setup
        self.of_contact = of_contact
        super().__init__(problem)


class UnsureError(TryAgainError):
    """It may have been taken: the provider is to be asked before it is handed over again."""


class NeverError(Exception):
    """The recipient refuses this for good."""


class CannotTellError(Exception):
    """The provider has no way to tell whether it has been given something already."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of an alert's story that somebody may have to be told of: a new alert, or what became of one."""

    event: CloudEvent
    body: bytes
    data: Sighting | Update
    trace: str = ""
    """What its message said of its trace."""


def read(body: bytes) -> Told | None:
    """Read an event of an alert's story; None if it is of no concern here.

    Raises:
        DecodeError: it is malformed.

    """
    try:
        event = cloudevents.load(body)
        data: Sighting | Update
        if event.type == alerts.RAISED:
            data = cloudevents.from_data(Sighting, event.data)
        elif event.type in REVIEWED:
            data = cloudevents.from_data(Update, event.data)
        else:
            return None
        subjects.token(event.id, "the event's id")
        subjects.token(data.alert, "the alert's id")
    except codec.DecodeError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise codec.DecodeError("CloudEvent", str(error) or type(error).__name__) from None
    if isinstance(data, Sighting):
        for name in ("captured_at", "raised_at", "expires_at"):
            if not 0 <= getattr(data, name) <= LATEST:
                raise codec.DecodeError("Sighting", "is no time of our calendar", name)
    return Told(event, body, data)


def repeat_id(event: str, recipient: str) -> str:
    """Give the one name under which this recipient is told of this event, however often."""
    return f"{event}-{recipient}"


def mask_address(address: str) -> str:
    """Name a mail address in a log so that its owner recognises it: ``g…@example.org``."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def mask_url(url: str) -> str:
    """Name an address of the web in a log; its path, query and user may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def one_line(text: str) -> str:
    """Make any text safe for a header and a line of its own: no control, reordering or undecodable characters."""
    shown = (" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text if c not in INVISIBLE)
    return " ".join("".join(shown).split())


def detail(text: str, *hidden: str) -> str:
    """Shorten what a server answered for the record, without the addresses ``hidden``."""
    line = one_line(text)
    for secret in filter(None, hidden):
        line = line.replace(secret, "***")
    return line[:DETAIL_CHARACTERS]


def next_attempt(*, now: float, expires_at: float, attempt: int, jitter: float, after: float | None) -> float | None:
    """Give the seconds until the next attempt, after ``attempt`` failed ones, or None when no time is left for it.

    The delay doubles from :data:`FIRST_DELAY` to :data:`LONGEST_DELAY`; ``jitter`` in 0 to 1 takes up to half of it.
    A recipient that names its own delay in ``after`` is obeyed; otherwise the last attempt is a second before expiry.
    """
    left = expires_at - now
    if after is not None and after > FIRST_DELAY:
        return after if after < left else None
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt - 1, 16))
    delay = min(max(FIRST_DELAY, longest * (1 - jitter / 2)), left - FIRST_DELAY)
    return delay if delay >= FIRST_DELAY else None


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Read an HTTP ``Retry-After`` (RFC 9110, 10.2.3) as seconds from ``now``; None if there is none to be read."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or dt.UTC).timestamp() - now)


def judge_status(status: int, retry_after: str | None, now: float) -> None:
    """Judge a webhook's answer.

    Raises:
        TryAgainError: the status says that it may pass.
        NeverError: it will not.

    """
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's classes
        return
    if status >= 500 or status in TRY_AGAIN_STATUS:  # noqa: PLR2004
        raise TryAgainError(f"HTTP {status}", after=parse_retry_after(retry_after, now))
    if 300 <= status < 400:  # noqa: PLR2004
        raise NeverError(f"HTTP {status}: redirects are not followed; give the address that answers")
    raise NeverError(f"HTTP {status}")


def signing_key(secret: str) -> bytes:
    """Give the key of a webhook's secret, either plain or ``whsec_`` and base64.

    Raises:
        ValueError: it is empty or not base64.

    """
    if not secret.startswith(SECRET_PREFIX):
        key = secret.encode()
    else:
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"the secret begins with {SECRET_PREFIX} but is not base64") from None
    if not key:
        raise ValueError("the secret is empty")
    return key


def signature(key: bytes, identity: str, timestamp: int, body: bytes) -> str:
    """Sign as Standard Webhooks 1.0 does: HMAC-SHA256 over ``id.timestamp.body``."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
