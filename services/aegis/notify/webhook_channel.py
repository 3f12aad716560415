"""Webhooks: an event as it stands on the bus, posted and signed as Standard Webhooks 1.0 says."""

import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp

from aegis.contracts import cloudevents
from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.telling import Contact
from aegis.notify import core
from aegis.notify.channel import CannotBeAsked, Handed, News
from aegis.notify.core import TryAgainError

SECONDS = 5.0


class WebhookChannel(CannotBeAsked):
    """Posts to addresses of the web, each a provider of its own."""

    name = "webhook"
    rate = 200.0

    def __init__(self, session: aiohttp.ClientSession, contacts: Iterable[Contact]) -> None:
        """Take the receivers.

        Raises:
            ValueError: a setting is wrong; the text holds no secret.

        """
        self._session = session
        self._keys = {contact.address: _signing_key(contact) for contact in contacts if contact.channel == self.name}

    def provider(self, contact: Contact) -> str:
        return f"the webhook {self.label(contact)} ({contact.token[:6]})"

    def label(self, contact: Contact) -> str:
        return core.mask_url(contact.address)

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Post one event; returns once it was answered with success.

        Raises:
            TryAgainError: it was not, and that may pass.
            NeverError: the receiver refuses it for good.

        """
        now = time.time()
        headers = {
            "Content-Type": cloudevents.CONTENT_TYPE,
            "webhook-id": news.identity,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": core.signature(self._keys[contact.address], news.identity, int(now), news.body),
        }
        try:
            async with self._session.post(
                contact.address, data=news.body, headers=headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
        except TimeoutError:
            raise TryAgainError(f"no answer within {SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "")
            raise TryAgainError(
                f"the certificate of {self.label(contact)} is not trusted: {reason}", setup=True
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TryAgainError(core.detail(f"cannot be reached: {reason}", contact.address)) from None
        core.judge_status(status, retry_after, now)
        return Handed(state=DeliveryState.DELIVERED, detail=f"HTTP {status}")


def open_session() -> aiohttp.ClientSession:
    """Open what every webhook posts with; it keeps no cookies and follows nobody's proxy settings."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "aegis"},
    )


def _signing_key(contact: Contact) -> bytes:
    try:
        parts = urlsplit(contact.address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("webhooks: an url has no usable host and port")
    try:
        return core.signing_key(contact.secret)
    except ValueError as error:
        raise ValueError(f"webhooks: {core.mask_url(contact.address)}: {error}") from None
