"""Certificates for our own servers.

On one machine, where all is started anew at once, an authority signs once and its key is then forgotten: :func:`issue`.
The servers of a cluster check each other and are restarted one by one, so their authority stays: :func:`renew`.
"""

import datetime as dt
import enum
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
Authority: TypeAlias = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
VALID_DAYS = 365
RENEW_DAYS = 30
AUTHORITY_DAYS = 3650
"""For so long an authority holds whose key is kept."""


class Renewal(enum.Enum):
    """What :func:`renew` did."""

    KEPT = enum.auto()
    ISSUED = enum.auto()
    ANNOUNCED = enum.auto()
    """A new authority stands beside the former in ``ca.pem``, and the certificate is still the former's."""


def issue(directory: Path, name: str, hosts: Sequence[str]) -> None:
    """Write ``ca.pem``, ``<name>.pem`` and ``<name>.key`` below ``directory``, unless they are there and hold on.

    ``hosts`` are the names and addresses that the certificate is for.
    """
    if _holds_on(directory / "ca.pem"):
        return
    authority = _new_authority(f"Aegis {name}, this machine only", VALID_DAYS)
    _write_leaf(directory, name, [_host(host) for host in hosts], authority)
    write_private(directory / "ca.pem", authority[0].public_bytes(PEM))


def renew(directory: Path, name: str, hosts: Sequence[str], *, anew: bool) -> Renewal:
    """Write what :func:`issue` does, from an authority that is kept, where it is missing or ends soon, or ``anew``.

    A certificate that is not for all of ``hosts`` is issued anew, too; those of the one before stay.

    The authority's key is ``ca.key``. Where that is missing, or the authority would end too soon, a new one is only
    announced: ``ca.pem`` then holds both, and the certificate changes once this is called with ``anew``. Until then
    every server must have read ``ca.pem``, or those with the new certificate and those without refuse each other.
    """
    present, authority = _leaf(directory / f"{name}.pem"), _kept_authority(directory)
    wanted, had = [_host(host) for host in hosts], _hosts(present) if present else []
    if present is not None and _days_left(present) > 0:
        due = anew or _days_left(present) <= RENEW_DAYS or not set(wanted) <= set(had)
        if authority is None:
            if due:
                _announce(directory, name)
            return Renewal.ANNOUNCED if due else Renewal.KEPT
        if not anew and not _is_from(authority[0], present):
            return Renewal.ANNOUNCED
        if not due:
            return Renewal.KEPT
    # Nobody takes a certificate that has ended, so nothing is lost by a new authority at once.
    _write_leaf(directory, name, list(dict.fromkeys([*wanted, *had])), authority or _announce(directory, name))
    return Renewal.ISSUED


def hosts(pem: bytes) -> list[str]:
    """Give the names and addresses that a certificate is for."""
    return [str(host.value) for host in _hosts(x509.load_pem_x509_certificate(pem))]


def ends(pem: bytes) -> float:
    """Give when the first certificate of a chain ends, as unix time: then none of it is taken any more."""
    return min(_ends(pem))


def trusted_until(pem: bytes) -> float:
    """Give when the last of these authorities ends, as unix time: of two, the former may go before the servers' own."""
    return max(_ends(pem))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, all of it or none."""
    temporary = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


def _ends(pem: bytes) -> list[float]:
    return [found.not_valid_after_utc.timestamp() for found in x509.load_pem_x509_certificates(pem)]


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _hosts(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _leaf(path: Path) -> x509.Certificate | None:
    return x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else None


def _days_left(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1)


def _holds_on(path: Path) -> bool:
    certificate = _leaf(path)
    if certificate is None:
        return False
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:  # from before Python asked for it
        return False
    return _days_left(certificate) > RENEW_DAYS


def _kept_authority(directory: Path) -> Authority | None:
    """Give the authority whose key is kept, if it outlives what it would sign by long enough for another to follow."""
    path = directory / "ca.key"
    certificate = _leaf(directory / "ca.pem")
    if certificate is None or not path.exists() or _days_left(certificate) < VALID_DAYS + RENEW_DAYS:
        return None
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return certificate, key


def _announce(directory: Path, name: str) -> Authority:
    """Make an authority and keep it; whoever reads ``ca.pem`` from now on trusts it beside those of before."""
    authority = certificate, key = _new_authority(f"Aegis {name}", AUTHORITY_DAYS)
    trusted = directory / "ca.pem"
    former = trusted.read_bytes() if trusted.exists() else b""
    write_private(directory / "ca.key", _private(key))
    write_private(trusted, certificate.public_bytes(PEM) + former)
    return authority


def _is_from(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _new_authority(name: str, days: int) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return _certificate(issuer, issuer, key, key, signs=True, days=days).sign(key, hashes.SHA256()), key


def _write_leaf(directory: Path, name: str, hosts: Sequence[x509.GeneralName], authority: Authority) -> None:
    issuer, signing = authority
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"aegis-{name}")])
    begun = _certificate(subject, issuer.subject, key, signing, signs=False, days=VALID_DAYS)
    leaf = begun.add_extension(x509.SubjectAlternativeName(hosts), critical=False).sign(signing, hashes.SHA256())
    write_private(directory / f"{name}.key", _private(key))
    write_private(directory / f"{name}.pem", leaf.public_bytes(PEM))


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    *,
    signs: bool,
    days: int,
) -> x509.CertificateBuilder:
    """Begin a certificate with all that RFC 5280 wants in it, which Python checks from 3.13 on."""
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(by, critical=False)
    )
