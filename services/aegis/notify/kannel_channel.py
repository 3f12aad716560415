"""SMS through a Kannel gateway's sendsms, and its reports. What Kannel took without saying so cannot be asked for.

The request goes by POST with Kannel's own headers, so that the password is in no address and no log of a proxy.
"""

import datetime as dt
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Mapping

import aiohttp

from aegis.contracts.deliveries import DeliveryState
from aegis.contracts.telling import Contact
from aegis.notify import core, sms_http, sms_words
from aegis.notify.channel import CannotBeAsked, Handed, News, Receipt
from aegis.notify.core import NeverError, TryAgainError
from aegis.notify.receipts import Fields, ForgedError, MalformedError
from aegis.notify.sms_http import Answer
from aegis.runtime.site_notify import KannelConfig

STATES = {
    "1": DeliveryState.DELIVERED,
    "2": DeliveryState.FAILED,
    "4": DeliveryState.SENT,
    "8": DeliveryState.SENT,
    "16": DeliveryState.FAILED,
}
"""Kannel's kinds of reports: delivered, failed, queued in the SMS centre, taken by it, refused by it."""
ALL_REPORTS = 1 + 2 + 4 + 8 + 16
TAKEN = 202
SEVEN_BITS = 0
SETUP_TEXTS = ("authorization", "sender", "content-type", "account", "dlr-")
"""In what Kannel says, these speak of the settings, not of the number."""
SALT = b"aegis receipts of kannel"


class KannelChannel(CannotBeAsked):
    """Sends as one user of a gateway; ``callback`` gives the address for reports, None where none are taken."""

    name = "sms"

    def __init__(
        self,
        config: KannelConfig,
        session: aiohttp.ClientSession,
        callback: Callable[[str], str] | None,
        zone: dt.tzinfo,
    ) -> None:
        self._config = config
        self._session = session
        self._callback = callback
        self._zone = zone
        self.rate = config.rate

    def provider(self, contact: Contact) -> str:  # noqa: ARG002 - one gateway for all
        return "kannel"

    def label(self, contact: Contact) -> str:
        return sms_words.mask_number(contact.address)

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Send one message; returns once Kannel has taken it, even if its SMS centre is away.

        Raises:
            UnsureError: it was sent to Kannel, which did not say what became of it.
            TryAgainError: Kannel did not take it now.
            NeverError: Kannel refuses it for good.

        """
        headers = {
            "X-Kannel-Username": self._config.user,
            "X-Kannel-Password": self._config.password,
            "X-Kannel-From": self._config.sender,
            "X-Kannel-To": contact.address,
            "X-Kannel-Coding": str(SEVEN_BITS),
            # Found again in Kannel's access log. Not as binfo, which goes on to the SMS centre as its service type.
            "X-Kannel-Account": news.identity,
            "X-Kannel-Validity": str(max(1, math.ceil((news.expires_at - time.time()) / 60))),
            "Content-Type": "text/plain; charset=UTF-8",
        }
        if self._callback is not None:
            headers |= {"X-Kannel-DLR-Mask": str(ALL_REPORTS), "X-Kannel-DLR-Url": self._callback(news.identity)}
        text = sms_words.text(news, names=self._config.names, zone=self._zone)
        answer = await sms_http.ask(self._session, "POST", self._config.url, headers=headers, data=text.encode())
        problem = sms_http.said(answer.text, contact.address, self._config.user, self._config.password)
        if answer.status != TAKEN:
            raise _judge(answer, f"HTTP {answer.status}: {problem}")
        return Handed(detail=problem)


class KannelReceipts:
    """Checks and reads Kannel's reports to ``public``, the address under which Kannel reaches the receipts server.

    Kannel cannot sign. So the address that it is given carries a signature of the news' identity: whoever does not know
    that address cannot report of this news. What Kannel fills in is as trustworthy as the way it takes.
    """

    name = "kannel"
    method = "GET"

    def __init__(self, config: KannelConfig, public: str) -> None:
        # Stretched, since an address with a signature may stand in a proxy's log, and the password may be a weak one.
        self._key = hashlib.scrypt(config.password.encode(), salt=SALT, n=2**14, r=8, p=1, dklen=32)
        self._public = public.rstrip("/")

    def url(self, identity: str) -> str:
        public = self._public.replace("%", "%%")
        filled_in = "status=%d&answer=%A&id=%F"
        return f"{public}/receipts/{self.name}/{identity}?sig={self._sign(identity)}&{filled_in}"

    def read(self, identity: str, headers: Mapping[str, str], fields: Fields) -> Receipt:  # noqa: ARG002 - a Validator
        said = dict(fields)
        if not hmac.compare_digest(said.get("sig", "").encode("utf-8", "replace"), self._sign(identity).encode()):
            raise ForgedError
        state = STATES.get(said.get("status", ""))
        if state is None:
            raise MalformedError
        # Only of a failure: an answer may go on with the beginning of the message.
        detail = sms_http.said(said.get("answer", "").rstrip("/")) if state is DeliveryState.FAILED else ""
        return Receipt(
            state=state, identity=identity, provider_id=core.one_line(said.get("id", ""))[:64], detail=detail
        )

    def _sign(self, identity: str) -> str:
        return hmac.digest(self._key, identity.encode(), "sha256").hex()[:32]


def _judge(answer: Answer, problem: str) -> TryAgainError | NeverError:
    """Say what a refusal means (Kannel 1.4.5: 403 for a wrong password, but also for a number with no route)."""
    if answer.status >= 500 or answer.status in core.TRY_AGAIN_STATUS:  # noqa: PLR2004 - HTTP's classes
        return TryAgainError(problem, after=core.parse_retry_after(answer.retry_after, time.time()))
    of_settings = any(text in answer.text.lower() for text in SETUP_TEXTS)
    if answer.status not in (400, 403) or of_settings:
        return TryAgainError(problem, setup=True)
    return NeverError(problem)
