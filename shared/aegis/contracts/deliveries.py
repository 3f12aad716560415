"""What became of telling one contact one thing: a record with states, each written only over the one before it.

All records of a delivery stand on one subject of the stream ``DELIVERIES``, the newest says how it stands.
"""

import enum
from dataclasses import dataclass

TEST = "aegis.notify.test.v1"
"""Type of the event that a webhook gets as a test; it stands on no subject."""


class DeliveryState(enum.Enum):
    """How a delivery stands. It may be handed over again only from ``pending``, or from ``sending`` after a crash."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    """The provider has taken it; a receipt may follow."""
    DELIVERED = "delivered"
    """The provider says that it reached the device or mailbox; for a webhook, that its receiver answered."""
    FAILED = "failed"
    EXPIRED = "expired"
    """There was no time left in which it could still have been acted on."""
    WITHDRAWN = "withdrawn"
    """The alert was dismissed before it was handed over."""

    @property
    def handed_over(self) -> bool:
        """Whether the contact knows of it, or may know."""
        return self in (DeliveryState.SENDING, DeliveryState.SENT, DeliveryState.DELIVERED)

    @property
    def final(self) -> bool:
        """Whether nothing but a receipt can change it any more."""
        return self not in (DeliveryState.PENDING, DeliveryState.SENDING)


class NewsKind(enum.Enum):
    """What somebody is told."""

    ALERT = "alert"
    CORRECTION = "correction"
    """An alert that they were told of was dismissed."""
    UPDATE = "update"
    """What else became of it; systems are told, by webhook, and people are not."""
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """What became of telling one contact of one event. ``recipient`` is a token that does not give the address away."""

    alert: str
    channel: str
    recipient: str
    state: DeliveryState
    at: float
    detail: str = ""
    attempts: int = 0
    event: str = ""
    """Id of the event that is told, ..."""
    sequence: int = 0
    """... and where it stands in the stream ``ALERTS``; 0 for a test."""
    kind: NewsKind = NewsKind.ALERT
    person: str = ""
    """Who is told, by the key in the site file."""
    step: int = 0
    """Which step of the rule this belongs to, from 1; 0 for outside parties, corrections and tests."""
    asked_at: float = 0.0
    """When it was decided to tell."""
    expires_at: float = 0.0
    provider_id: str = ""
    """By which the provider knows it."""
    stuck: bool = False
    """It cannot be handed over until a person mends the settings; it is tried again, but nobody waits for it."""
    repeated: bool = False
    """It was handed over again after a crash, and the provider could not tell whether it already had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTest:
    """Ask that a person be sent a test, by every channel or by ``via``."""

    person: str
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAlert:
    """Ask who was told of an alert, and why not the others. ``subject`` is that of its story, empty for a test."""

    alert: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDrill:
    """Ask for an alert that is an exercise: of a category, at a camera; by default the first of the site file."""

    category: str = ""
    camera: str = ""
