"""Everything that Apprise reaches, such as chats and push services: best effort, for it answers only yes or no.

A contact's address is an Apprise URL. Nearly every part of one can be a secret, so none but its scheme is ever told.
"""

import asyncio
import datetime as dt
import logging

import apprise
from apprise import Apprise, AppriseAsset, AppriseResultStatus, NotifyBase, NotifyFormat, NotifyType

from aegis.contracts.deliveries import NewsKind
from aegis.contracts.telling import Contact
from aegis.notify import words
from aegis.notify.channel import CannotBeAsked, Handed, News
from aegis.notify.core import NeverError, TryAgainError, UnsureError

SECONDS = 20.0
RATE = 5.0
NO_RECEIPT = "best effort: no receipt"

for _name in (apprise.logger.name, "urllib3"):
    # They write addresses with their tokens, and what a server answered.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 10)


class OtherChannel(CannotBeAsked):
    """Tells by Apprise. A URL with several targets counts as failed, and is told again, if one of them fails."""

    name = "other"
    rate = RATE

    def __init__(self, zone: dt.tzinfo) -> None:
        self._zone = zone

    def provider(self, contact: Contact) -> str:
        """Name the service by its scheme, and the address by its token on the bus."""
        return f"{_scheme(contact.address)} ({contact.token[:6]})"

    def label(self, contact: Contact) -> str:
        """Name the service, and nothing of the address."""
        return f"{_scheme(contact.address)}://…"

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Hand it over; returns once the service said that it has it.

        Raises:
            UnsureError: the service did not answer in time.
            TryAgainError: it did not take it. Apprise does not say why.
            NeverError: Apprise does not know such an address.

        """
        said = words.of(news, zone=self._zone, outside=contact.outside)
        kind = NotifyType.WARNING if news.kind is NewsKind.ALERT else NotifyType.INFO
        status = await asyncio.to_thread(_notify, contact.address, said.subject, said.plain, kind)
        if status is None:
            raise NeverError("no address that Apprise knows")
        if status is AppriseResultStatus.TIMEOUT:
            raise UnsureError(f"no answer within {SECONDS:g} s")
        if status is not AppriseResultStatus.SUCCESS:
            raise TryAgainError("it was not taken; Apprise does not say why")
        return Handed(detail=NO_RECEIPT)


def check(url: str) -> None:
    """See that Apprise knows such an address; takes a tenth of a second the first time.

    Raises:
        ValueError: it does not; the text names the scheme alone.

    """
    if _service(url) is None:
        raise ValueError(f"{_scheme(url)}: no address that Apprise can use; its documentation says how one is written")


def _scheme(url: str) -> str:
    scheme, found, _ = url.partition("://")
    return scheme.lower() if found and scheme.isalnum() else "no scheme"


def _service(url: str) -> NotifyBase | None:
    # Pictures and links of Apprise's own would be fetched by whoever is told.
    asset = AppriseAsset(app_id="Aegis", app_desc="Aegis", app_url="", image_url_mask="", image_url_logo="")
    return Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def _notify(url: str, title: str, body: str, kind: NotifyType) -> AppriseResultStatus | None:
    service = _service(url)
    if service is None:
        return None
    told = Apprise()
    told.add(service)
    return told.notify(body, title, kind, body_format=NotifyFormat.TEXT, timeout=SECONDS).status
