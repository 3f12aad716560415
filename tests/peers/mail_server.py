"""A real SMTP server for the tests: it can want TLS and a login, put off, refuse, hold and be away."""
# ruff: noqa: ARG002 - aiosmtpd hands everything it knows to its handlers

import asyncio
import datetime as dt
import email
import email.policy
import ipaddress
import ssl
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for localhost and 127.0.0.1, and the authority that signed it."""

    ca: Path
    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain, self.key)
        return context


def make_certificate(directory: Path) -> Certificate:
    directory.mkdir(parents=True, exist_ok=True)
    found = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test authority {directory.name}")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.BasicConstraints(ca=True, path_length=0)
    ca = _builder(issuer, issuer, authority).add_extension(usage, critical=True).sign(authority, hashes.SHA256())
    leaf = _builder(subject, issuer, key).add_extension(names, critical=False).sign(authority, hashes.SHA256())
    pem = serialization.Encoding.PEM
    found.ca.write_bytes(ca.public_bytes(pem))
    found.chain.write_bytes(leaf.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found.key.write_bytes(private)
    return found


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
    )


@dataclass
class MailServer:
    """Start it, read ``mails``; set the other fields to make it difficult."""

    tls: Literal["none", "starttls", "implicit"] = "none"
    certificate: Certificate | None = None
    login: tuple[str, str] | None = None
    host: str = "127.0.0.1"
    port: int = 0
    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    """Recipient and mail, in the order in which they were taken."""
    putting_off: Counter[str] = field(default_factory=Counter)
    """How often to answer a recipient with 451."""
    refusing: set[str] = field(default_factory=set)
    """Recipients that are answered with 550."""
    holding: bool = False
    """Take mails but do not say so until :meth:`release`."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        context = self.certificate.context() if self.certificate else None

        def session() -> SMTP:
            return SMTP(
                self,
                hostname="mail.test",
                tls_context=context if self.tls == "starttls" else None,
                require_starttls=self.tls == "starttls",
                auth_required=self.login is not None,
                auth_require_tls=self.tls == "starttls",
                authenticator=self._authenticate,
                loop=loop,
            )

        listening = context if self.tls == "implicit" else None
        self._server = await loop.create_server(session, self.host, self.port, ssl=listening)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.release()
        if self._server is not None:
            self._server.close()
            self._server = None

    def release(self) -> None:
        self.holding = False
        self._released.set()

    def of(self, recipient: str) -> list[EmailMessage]:
        return [mail for to, mail in self.mails if to == recipient]

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if address in self.refusing:
            return f"550 5.1.1 <{address}> is unknown here"
        if self.putting_off[address] > 0:
            self.putting_off[address] -= 1
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.extend((to, mail) for to in envelope.rcpt_tos)
        if self.holding:
            await self._released.wait()
        return "250 OK"
