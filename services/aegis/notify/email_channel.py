"""Mail: news to one address, over SMTP with verified TLS. The one place that speaks to a mail server."""

import asyncio
import contextlib
import datetime as dt
import email.errors
import email.policy
import email.utils
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from typing import cast
from urllib.parse import unquote, urlsplit

import aiosmtplib

from aegis.contracts.deliveries import NewsKind
from aegis.contracts.messages import Severity
from aegis.contracts.telling import Contact
from aegis.notify import core, words
from aegis.notify.channel import CannotBeAsked, Handed, News
from aegis.notify.core import NeverError, TryAgainError
from aegis.notify.pictures import Album, Pictures
from aegis.runtime.site_notify import EmailConfig

SECONDS = 8.0
"""How long a mail server may take for one mail."""
QUIT_SECONDS = 1.0
PORTS = {"smtps": 465, "smtp": 587, "smtp+insecure": 25}
URGENT = (Severity.HIGH, Severity.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed over, and how its line is protected."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class EmailChannel(CannotBeAsked):
    """One mail server. ``album`` is None where the site sends no pictures."""

    name = "email"

    def __init__(self, config: EmailConfig, album: Album | None, zone: dt.tzinfo) -> None:
        """Take the settings.

        Raises:
            ValueError: one is wrong; the text holds no secret.

        """
        self._server = parse_server(config.smtp)
        try:
            self._tls = ssl.create_default_context(cafile=str(config.ca) if config.ca else None)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"ca: {config.ca} holds no certificate: {error.strerror or error}") from None
        self._sender = parse_address(config.sender, "from")
        self._album = album if config.pictures else None
        self._zone = zone
        self.rate = config.rate

    def provider(self, contact: Contact) -> str:  # noqa: ARG002 - one server for all
        return f"the mail server {self._server.host}:{self._server.port}"

    def label(self, contact: Contact) -> str:
        return core.mask_address(contact.address)

    async def tell(self, contact: Contact, news: News) -> Handed:
        """Hand one mail over; returns once the server has taken it.

        Raises:
            TryAgainError: it could not be handed over now.
            NeverError: the server refuses it for good.

        """
        to = parse_address(contact.address, "to")
        hidden = (to.addr_spec, self._server.password or "")
        wanted = self._album is not None and news.kind is NewsKind.ALERT
        pictures = await self._album.of(news.sighting) if self._album and wanted else None
        mail = self._compose(to, news, pictures, outside=contact.outside)
        try:
            await self._hand_over(mail, to)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise TryAgainError(_said(hidden, f"login refused: {error.code}", error.message), setup=True) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise _judge(hidden, refusal.code, refusal.message, of_contact=True) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _judge(hidden, error.code, error.message) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._away(hidden, error) from None
        return Handed(detail="the mail server has taken it")

    def _away(self, hidden: tuple[str, ...], error: Exception) -> TryAgainError:
        where = f"{self._server.host}:{self._server.port}"
        if (certificate := _certificate_error(error)) is not None:
            problem = f"the certificate of {where} is not trusted: {certificate.verify_message}"
            return TryAgainError(_said(hidden, problem), setup=True)
        known = isinstance(error, OSError | TimeoutError)
        return TryAgainError(_said(hidden, where, str(error) or type(error).__name__), setup=not known)

    async def _hand_over(self, mail: EmailMessage, to: Address) -> None:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            local_hostname=socket.gethostname() or "localhost",
            timeout=SECONDS,
            use_tls=server.scheme == "smtps",
            start_tls=server.scheme == "smtp",
            tls_context=self._tls,
        )
        try:
            async with asyncio.timeout(SECONDS):
                await client.connect()
                await client.send_message(mail, sender=self._sender.addr_spec, recipients=[to.addr_spec])
            # The mail is taken: nothing that goes wrong with the farewell may send it again.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=QUIT_SECONDS)
        finally:
            client.close()

    def _compose(self, to: Address, news: News, pictures: Pictures | None, *, outside: bool) -> EmailMessage:
        seen = news.sighting
        cids = {name: f"{name}.{news.identity}@{self._sender.domain}" for name in ("probe", "photo")}
        found = {name for name in cids if pictures and getattr(pictures, name)}
        shown = words.Shown(**{name: cids[name] if name in found else None for name in cids}) if pictures else None
        text = words.of(news, zone=self._zone, shown=shown, outside=outside)
        mail = EmailMessage(policy=email.policy.SMTP)
        mail["Subject"] = text.subject
        mail["From"] = self._sender
        mail["To"] = to
        mail["Date"] = email.utils.formatdate(time.time(), localtime=True)
        mail["Message-ID"] = f"<{news.identity}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if news.kind is NewsKind.ALERT and seen.severity in URGENT and not seen.drill:
            mail["Importance"] = "high"
        mail.set_content(text.plain, cte="quoted-printable")
        mail.add_alternative(text.html, subtype="html", cte="quoted-printable")
        page = cast("list[EmailMessage]", mail.get_payload())[1]
        for name in sorted(found):
            picture = getattr(pictures, name)
            page.add_related(
                picture, "image", "jpeg", cid=f"<{cids[name]}>", disposition="inline", filename=f"{name}.jpg"
            )
        return mail


def _said(hidden: tuple[str, ...], *parts: str) -> str:
    return core.detail(" ".join(parts), *hidden)


def _judge(hidden: tuple[str, ...], code: int, said: str, *, of_contact: bool = False) -> TryAgainError | NeverError:
    problem = _said(hidden, str(code), said)
    return NeverError(problem) if code >= 500 else TryAgainError(problem, of_contact=of_contact)  # noqa: PLR2004 - SMTP's


def parse_address(text: str, what: str) -> Address:
    """Read ``name@example.org`` or ``Name <name@example.org>``; ValueError if it is neither."""
    name, spec = email.utils.parseaddr(text if text.isprintable() else "")
    try:
        address = Address(display_name=name, addr_spec=spec)
    except (ValueError, IndexError, email.errors.MessageError):
        address = Address()
    if not address.username or not address.domain:
        raise ValueError(f"{what}: {text!r} is no mail address")
    return address


def parse_server(url: str) -> MailServer:
    """Read ``smtps://``, ``smtp://`` (STARTTLS) or ``smtp+insecure://``, with user and password if there are any.

    Raises:
        ValueError: it cannot be used, or would send a password in clear text over a network; it is not quoted.

    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("smtp: no host and port can be read; write /, ?, #, : and @ of a password as %XX") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("smtp: expected smtps://, smtp:// (STARTTLS) or smtp+insecure:// and a host")
    if parts.username and parts.scheme == "smtp+insecure" and not _is_loopback(parts.hostname):
        raise ValueError("smtp: smtp+insecure:// would send the password in clear text; use smtps:// or smtp://")
    return MailServer(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or "") if parts.username else None,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error
