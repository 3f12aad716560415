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
    usage = x509.BasicConstraints(ca=True, path_length=0)
    ca = _certificate(issuer, issuer, authority).add_extension(usage, critical=True).sign(authority, hashes.SHA256())
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    leaf = _certificate(subject, issuer, key).add_extension(names, critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(directory / f"{name}.key", private)
    write_private(directory / f"{name}.pem", leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    write_private(directory / "ca.pem", ca.public_bytes(pem))


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
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=RENEW_DAYS)


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )
