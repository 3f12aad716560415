"""Certificates for one machine's own servers, from an authority that signs once and whose key is then forgotten."""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 365
RENEW_DAYS = 30


def issue(directory: Path, name: str, hosts: Sequence[str]) -> None:
    """Write ``ca.pem``, ``<name>.pem`` and ``<name>.key`` below ``directory``, unless they are there and hold on.

    ``hosts`` are the names and addresses that the certificate is for.
    """
    if _holds_on(directory / "ca.pem"):
        return
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Aegis {name}, this machine only")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"aegis-{name}")])
    ca = _certificate(issuer, issuer, authority, authority, signs=True).sign(authority, hashes.SHA256())
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    leaf = _certificate(subject, issuer, key, authority, signs=False).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(directory / f"{name}.key", private)
    write_private(directory / f"{name}.pem", leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    write_private(directory / "ca.pem", ca.public_bytes(pem))


def ends(pem: bytes) -> float:
    """Give when the first of these certificates ends, as unix time."""
    return min(found.not_valid_after_utc.timestamp() for found in x509.load_pem_x509_certificates(pem))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, all of it or none."""
    temporary = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _holds_on(path: Path) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:  # from before Python asked for it
        return False
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=RENEW_DAYS)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    *,
    signs: bool,
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
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(by, critical=False)
    )
