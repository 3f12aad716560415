"""Mail: an alert to one address, over SMTP with verified TLS. The one place that speaks to a mail server."""

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

from aegis.contracts.messages import Severity
from aegis.notify import core, words
from aegis.notify.core import Alert, NeverError, TryAgainError
from aegis.notify.pictures import Album, Pictures
from aegis.runtime.site_file import EmailConfig

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


class EmailChannel:
    """Tells one address. ``album`` is None where the site sends no pictures."""

    name = "email"

    def __init__(
        self, server: MailServer, tls: ssl.SSLContext, sender: Address, to: Address, album: Album | None
    ) -> None:
        self._server = server
        self._tls = tls
        self._sender = sender
        self._to = to
        self._album = album
        self._hidden = (to.addr_spec, server.password or "")
        self.token = core.recipient_token(self.name, to.addr_spec)
        self.label = core.mask_address(to.addr_spec)

    async def tell(self, alert: Alert) -> None:
        """Hand one mail over; returns once the server has taken it.

        Raises:
            TryAgainError: it could not be handed over now.
            NeverError: the server refuses it for good.

        """
        pictures = await self._album.of(alert.sighting) if self._album else None
        mail = self._compose(alert, pictures)
        try:
            await self._hand_over(mail)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise TryAgainError(self._said(f"login refused: {error.code}", error.message), setup=True) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise self._judge(refusal.code, refusal.message) from None
        except aiosmtplib.SMTPResponseException as error:
            raise self._judge(error.code, error.message) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._away(error) from None

    def _judge(self, code: int, said: str) -> TryAgainError | NeverError:
        kind = NeverError if code >= 500 else TryAgainError  # noqa: PLR2004 - SMTP's classes
        return kind(self._said(str(code), said))

    def _away(self, error: Exception) -> TryAgainError:
        where = f"{self._server.host}:{self._server.port}"
        if (certificate := _certificate_error(error)) is not None:
            problem = f"the certificate of {where} is not trusted: {certificate.verify_message}"
            return TryAgainError(self._said(problem), setup=True)
        known = isinstance(error, OSError | TimeoutError)
        return TryAgainError(self._said(where, str(error) or type(error).__name__), setup=not known)

    def _said(self, *parts: str) -> str:
        return core.detail(" ".join(parts), *self._hidden)

    async def _hand_over(self, mail: EmailMessage) -> None:
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
                await client.send_message(mail, sender=self._sender.addr_spec, recipients=[self._to.addr_spec])
            # The mail is taken: nothing that goes wrong with the farewell may send it again.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=QUIT_SECONDS)
        finally:
            client.close()

    def _compose(self, alert: Alert, pictures: Pictures | None) -> EmailMessage:
        seen = alert.sighting
        identity = core.repeat_id(alert.event.id, self.token)
        cids = {name: f"{name}.{identity}@{self._sender.domain}" for name in ("probe", "photo")}
        found = {name for name in cids if pictures and getattr(pictures, name)}
        shown = words.Shown(**{name: cids[name] if name in found else None for name in cids}) if pictures else None
        text = words.compose(seen, zone=_local_zone(), shown=shown)
        mail = EmailMessage(policy=email.policy.SMTP)
        mail["Subject"] = text.subject
        mail["From"] = self._sender
        mail["To"] = self._to
        mail["Date"] = email.utils.formatdate(time.time(), localtime=True)
        mail["Message-ID"] = f"<{identity}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if seen.severity in URGENT and not seen.drill:
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


def open_email(config: EmailConfig, album: Album) -> list[EmailChannel]:
    """Make a channel for each address.

    Raises:
        ValueError: a setting is wrong; the text holds no secret.

    """
    server = parse_server(config.smtp)
    try:
        tls = ssl.create_default_context(cafile=str(config.ca) if config.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"ca: {config.ca} holds no certificate: {error.strerror or error}") from None
    sender = parse_address(config.sender, "from")
    shown = album if config.pictures else None
    return [EmailChannel(server, tls, sender, parse_address(to, "to"), shown) for to in config.to]


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


def _local_zone() -> dt.tzinfo:
    zone = dt.datetime.now(dt.UTC).astimezone().tzinfo
    assert zone is not None  # noqa: S101 - astimezone() always sets one
    return zone
