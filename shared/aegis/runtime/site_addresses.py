"""Addresses of the site file: each is checked as far as that can be done without calling it."""

import email.errors
import ipaddress
from email.headerregistry import Address
from email.utils import parseaddr
from urllib.parse import SplitResult, urlsplit

from aegis.runtime.yaml_section import Section, Values


def mail_address(values: Values, text: str, what: str, line: int) -> str:
    """Check ``name@example.org`` or ``Name <name@example.org>``."""
    name, spec = parseaddr(text if text.isprintable() else "")
    try:
        address = Address(display_name=name, addr_spec=spec)
    except (ValueError, IndexError, email.errors.MessageError):
        address = Address()
    if not address.username or not address.domain:
        values.problem(line, f"{what}: {text!r} is no mail address")
    return text


def web_address(values: Values, body: Section, name: str) -> str:
    """Read an address that is posted to."""
    url = values.text(body, name)
    parts = split(url)
    if url and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
        values.problem(body.line_of(name), f"{name}: expected https:// or http:// and a host")
    return url


def secret(values: Values, body: Section) -> str:
    """Read the secret that signs what is posted."""
    variable = values.text(body, "secret_env")
    if variable and not values.environ.get(variable):
        values.problem(body.line_of("secret_env"), f"secret_env: the environment variable {variable} is not set")
    return values.environ.get(variable, "")


def listen(values: Values, body: Section) -> tuple[str, int] | None:
    """Read ``HOST:PORT`` with an IP address under the key ``listen``; None if it is none."""
    host, _, port = values.text(body, "listen").rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:  # noqa: PLR2004 - ports
        values.problem(body.line_of("listen"), "listen: expected HOST:PORT")
        return None
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        values.problem(body.line_of("listen"), f"listen: {host!r} is no IP address")
        return None


def gateway(values: Values, body: Section, schemes: tuple[str, str], default: str | None = None) -> str:
    """Read an address that a password is sent to; ``+insecure``, which lets it go in clear text, is taken off."""
    url, line = values.text(body, "url", default), body.line_of("url")
    parts, (safe, clear) = split(url), schemes
    if not url:
        return url
    if parts is None or not parts.hostname or parts.scheme not in (*schemes, f"{clear}+insecure"):
        values.problem(line, f"url: expected {safe}:// or {clear}:// and a host; write / # : @ of a password as %XX")
    elif parts.scheme == clear and not _is_loopback(parts.hostname) and (parts.password or clear == "http"):
        values.problem(line, f"url: {clear}:// would send the password in clear text; use {safe}://")
    return url.replace("+insecure://", "://", 1)


def split(url: str) -> SplitResult | None:
    """Take an address apart; None if that cannot be done."""
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
