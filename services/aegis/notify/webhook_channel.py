"""Webhooks: an alert as it stands on the bus, posted and signed as Standard Webhooks 1.0 says."""

import time
from urllib.parse import urlsplit

import aiohttp

from aegis.contracts import cloudevents
from aegis.notify import core
from aegis.notify.core import Alert, TryAgainError
from aegis.runtime.site_file import WebhookConfig

SECONDS = 5.0


class WebhookChannel:
    """Tells one address of the web."""

    name = "webhook"

    def __init__(self, session: aiohttp.ClientSession, url: str, key: bytes) -> None:
        self._session = session
        self._url = url
        self._key = key
        self.token = core.recipient_token(self.name, url)
        self.label = core.mask_url(url)

    async def tell(self, alert: Alert) -> None:
        """Post one event; returns once it was answered with success.

        Raises:
            TryAgainError: it was not, and that may pass.
            NeverError: the receiver refuses it for good.

        """
        now = time.time()
        identity = core.repeat_id(alert.event.id, self.token)
        headers = {
            "Content-Type": cloudevents.CONTENT_TYPE,
            "webhook-id": identity,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": core.signature(self._key, identity, int(now), alert.body),
        }
        try:
            async with self._session.post(
                self._url, data=alert.body, headers=headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
        except TimeoutError:
            raise TryAgainError(f"no answer within {SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "")
            raise TryAgainError(f"the certificate of {self.label} is not trusted: {reason}", setup=True) from None
        except (aiohttp.ClientError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TryAgainError(core.detail(f"cannot be reached: {reason}", self._url)) from None
        core.judge_status(status, retry_after, now)


def open_session() -> aiohttp.ClientSession:
    """Open what every webhook posts with; it keeps no cookies and follows nobody's proxy settings."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "aegis"},
    )


def open_webhook(config: WebhookConfig, session: aiohttp.ClientSession) -> WebhookChannel:
    """Make a channel.

    Raises:
        ValueError: a setting is wrong; the text holds no secret.

    """
    try:
        parts = urlsplit(config.url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("webhooks: an url has no usable host and port")
    try:
        key = core.signing_key(config.secret)
    except ValueError as error:
        raise ValueError(f"webhooks: {core.mask_url(config.url)}: {error}") from None
    return WebhookChannel(session, config.url, key)
