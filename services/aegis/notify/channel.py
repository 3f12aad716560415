"""What a channel is: a way to hand news to a contact, and what can be learnt afterwards."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.reviews import Update
from aegis.contracts.telling import Contact
from aegis.notify.core import CannotTellError


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What one contact is to be told.

    ``identity`` is the one name under which this contact is told of this, however often it is tried: 1 to 64 of
    ``a-z 0-9 _ -``. ``sighting`` is the alert (in a test, an invented one), ``update`` what became of it, in a
    correction. ``event`` and ``body`` are the CloudEvent and its JSON as they stand on the bus.
    """

    identity: str
    kind: NewsKind
    sighting: Sighting
    event: CloudEvent
    body: bytes
    expires_at: float
    """Seconds since the epoch; a provider that is late must not deliver it any more."""
    update: Update | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the provider said when it took it: how it stands, and the id by which the provider knows it."""

    state: DeliveryState = DeliveryState.SENT
    provider_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a provider says later. One of ``identity`` (of the news) and ``provider_id`` is given."""

    state: DeliveryState
    identity: str = ""
    provider_id: str = ""
    detail: str = ""


TakeReceipt = Callable[[Receipt], Awaitable[None]]


class Channel(Protocol):
    """A way to tell contacts; one object a provider. Errors are ``core.TryAgainError`` and ``core.NeverError``."""

    @property
    def name(self) -> str:
        """As in :attr:`Contact.channel`."""

    @property
    def rate(self) -> float:
        """Hand-overs a second that the provider bears."""

    def provider(self, contact: Contact) -> str:
        """Name what shares a rate limit and a circuit breaker, without telling an address."""

    def label(self, contact: Contact) -> str:
        """Name the contact to people without giving its address away."""

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Hand it over; returns once the provider has taken it."""

    async def ask(self, contact: Contact, news: News) -> Handed | None:
        """After a crash while it was handed over: what the provider knows of it; None if it does not have it.

        Raises:
            CannotTellError: the provider has no way to tell.

        """


class CannotBeAsked:
    """Part of every channel whose provider has no way to tell; a repeat then carries the identity of the first."""

    async def ask(self, contact: Contact, news: News) -> Handed | None:  # noqa: ARG002 - as Channel has it
        """Refuse to answer."""
        raise CannotTellError
