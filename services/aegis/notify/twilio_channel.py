"""SMS through Twilio's Messages API, and its signed reports.

Twilio has no idempotency field: what was sent without an answer is looked up in its list of messages before it is sent
again, by its text, which holds the alert's reference.
"""

import base64
import datetime as dt
import email.utils
import hmac
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.telling import Contact
from aegis.notify import core, sms_http, sms_words
from aegis.notify.channel import Handed, News, Receipt
from aegis.notify.core import CannotTellError, NeverError, TryAgainError, UnsureError
from aegis.notify.receipts import Fields, ForgedError, MalformedError
from aegis.notify.sms_http import Answer
from aegis.runtime.site_notify import TwilioConfig

ENDS = {
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.FAILED,
    "failed": DeliveryState.FAILED,
    "canceled": DeliveryState.FAILED,
}
"""The states of a message in which it has come to an end; in all others it is on its way."""
SETUP_CODES = frozenset({20003, 20005, 20404, 21212, 21603, 21606, 21609, 21659, 21660, 21661, 90010})
"""Errors of the account, the sender or the address for reports: a person must mend them."""
BUSY_CODES = frozenset({20429, 21611, 14107})
"""Too much at once, or the sender's queue is full."""
LONGEST_VALIDITY = 36_000
"""Seconds for which Twilio tries to deliver at most."""
PAGE = 1000
CLOCKS_DIFFER = 300.0
"""Seconds by which Twilio's clock and that of whoever raised the alert may differ."""


class TwilioChannel:
    """Sends from one account; ``callback`` gives the address for reports, None where none are taken."""

    name = "sms"

    def __init__(
        self,
        config: TwilioConfig,
        session: aiohttp.ClientSession,
        callback: Callable[[str], str] | None,
        zone: dt.tzinfo,
    ) -> None:
        self._config = config
        self._session = session
        self._callback = callback
        self._zone = zone
        self._headers = {"Authorization": aiohttp.encode_basic_auth(config.account, config.token)}
        account = quote(config.account, safe="")
        self._url = f"{config.url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages.json"
        self.rate = config.rate

    def provider(self, contact: Contact) -> str:  # noqa: ARG002 - one account for all
        return "twilio"

    def label(self, contact: Contact) -> str:
        return sms_words.mask_number(contact.address)

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Send one message; returns once Twilio has queued it.

        Raises:
            UnsureError: it was sent to Twilio, which did not say what became of it.
            TryAgainError: Twilio did not take it now.
            NeverError: Twilio refuses it for good.

        """
        left = math.ceil(news.expires_at - time.time())
        form = {
            "To": contact.address,
            "From": self._config.sender,
            "Body": self._text(news),
            "ValidityPeriod": str(min(LONGEST_VALIDITY, max(1, left))),
        }
        if self._callback is not None:
            form["StatusCallback"] = self._callback(news.identity)
        answer = await sms_http.ask(self._session, "POST", self._url, headers=self._headers, data=form)
        document = _document(answer)
        self._judge(answer, document, contact)
        if document.get("sid"):
            return self._handed(document, contact)
        raise UnsureError(f"HTTP {answer.status} without a message's id")

    async def ask(self, contact: Contact, news: News) -> Handed | None:
        """Look the message up among those to this number since the event, newest first.

        Not by ``DateSent``: a message that is still queued has none.

        Raises:
            CannotTellError: there are more than a page of them.

        """
        parameters = {"To": contact.address, "From": self._config.sender, "PageSize": str(PAGE)}
        answer = await sms_http.ask(self._session, "GET", self._url, headers=self._headers, params=parameters)
        document = _document(answer)
        self._judge(answer, document, contact)
        messages = document.get("messages")
        if not isinstance(messages, list):
            raise TryAgainError(f"HTTP {answer.status} without a list of messages")
        text, since = self._text(news), _since(news)
        listed = [message for message in messages if isinstance(message, dict)]
        for message in listed:
            # A trial account writes words of its own before the text.
            if str(message.get("body")).endswith(text) and _created(message) >= since and message.get("sid"):
                return self._handed(message, contact)
        if document.get("next_page_uri") and listed and _created(listed[-1]) >= since:
            raise CannotTellError
        return None

    def _text(self, news: News) -> str:
        return sms_words.text(news, names=self._config.names, zone=self._zone)

    def _said(self, text: str, contact: Contact) -> str:
        return sms_http.said(text, contact.address, self._config.token, self._config.account)

    def _handed(self, message: dict[str, Any], contact: Contact) -> Handed:
        state = ENDS.get(str(message.get("status")), DeliveryState.SENT)
        problem = f"{message.get('error_code')} {message.get('error_message') or ''}"
        return Handed(
            state=state,
            provider_id=core.one_line(str(message["sid"])),
            detail=self._said(problem, contact) if state is DeliveryState.FAILED else "",
        )

    def _judge(self, answer: Answer, document: dict[str, Any], contact: Contact) -> None:
        status, code = answer.status, document.get("code")
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP's classes
            return
        problem = f"HTTP {status}"
        if isinstance(code, int):
            problem = self._said(f"{problem}: {code} {document.get('message') or ''}", contact)
        after = core.parse_retry_after(answer.retry_after, time.time())
        if status >= 500:  # noqa: PLR2004
            raise UnsureError(problem, after=after)
        if status in core.TRY_AGAIN_STATUS or code in BUSY_CODES:
            raise TryAgainError(problem, after=after)
        if code in SETUP_CODES or not isinstance(code, int) or (status in (401, 403) and code < 21000):  # noqa: PLR2004 - codes of messages
            raise TryAgainError(problem, setup=True)
        raise NeverError(problem)


class TwilioReceipts:
    """Checks and reads Twilio's reports to ``public``, the address under which Twilio reaches the receipts server."""

    name = "twilio"
    method = "POST"

    def __init__(self, config: TwilioConfig, public: str) -> None:
        self._key = config.token.encode()
        self._public = public.rstrip("/")

    def url(self, identity: str) -> str:
        return f"{self._public}/receipts/{self.name}/{identity}"

    def read(self, identity: str, headers: Mapping[str, str], fields: Fields) -> Receipt:
        """Read a report; see :class:`aegis.notify.receipts.Validator`."""
        given = headers.get("X-Twilio-Signature", "").encode()
        expected = [signature(self._key, url, fields) for url in _spellings(self.url(identity))]
        holds = [hmac.compare_digest(given, one) for one in expected]
        if not any(holds):
            raise ForgedError
        said = dict(fields)
        sid, status = said.get("MessageSid", ""), said.get("MessageStatus", "")
        if not sid or not status:
            raise MalformedError
        state = ENDS.get(status, DeliveryState.SENT)
        detail = sms_http.said(f"{status} {said.get('ErrorCode', '')}") if state is DeliveryState.FAILED else ""
        return Receipt(state=state, identity=identity, provider_id=core.one_line(sid), detail=detail)


def signature(key: bytes, url: str, fields: Fields) -> bytes:
    """Sign as https://www.twilio.com/docs/usage/security says: HMAC-SHA1 over the address and the sorted fields."""
    text = url + "".join(name + value for name, value in sorted(fields))
    return base64.b64encode(hmac.digest(key, text.encode(), "sha1"))


def _spellings(url: str) -> tuple[str, str]:
    """Give an address with and without its port: Twilio signs either, as its own validators allow for."""
    parts = urlsplit(url)
    bare = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts._replace(netloc=bare).geturl(), parts._replace(netloc=f"{bare}:{port}").geturl()


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _since(news: News) -> float:
    """Give the time before which this cannot have been sent."""
    began = news.update.updated_at if news.update is not None else news.sighting.raised_at
    return began - CLOCKS_DIFFER


def _created(message: dict[str, Any]) -> float:
    """Give when Twilio took a message; what has no such time counts as new."""
    try:
        return email.utils.parsedate_to_datetime(str(message.get("date_created"))).timestamp()
    except ValueError:
        return float("inf")
