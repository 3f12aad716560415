"""Certificates of our own servers: what strict clients take, for the names that were asked for."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from aegis.runtime import certificates


async def greet(folder: Path, name: str) -> None:
    """Connect by TLS, as strictly as Python does from 3.13 on."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(folder / "bus.pem", folder / "bus.key")
    client_side = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side, server_hostname=name)
        writer.close()


async def test_a_strict_client_takes_it_for_its_names_alone(tmp_path: Path) -> None:
    certificates.issue(tmp_path, "bus", ["127.0.0.1", "nats.aegis.svc"])
    for name in ("127.0.0.1", "nats.aegis.svc"):
        await greet(tmp_path, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        await greet(tmp_path, "other.aegis.svc")


def test_it_stays_until_it_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates.issue(tmp_path, "bus", ["localhost"])
    before = (tmp_path / "bus.pem").read_bytes()
    certificates.issue(tmp_path, "bus", ["localhost"])
    assert (tmp_path / "bus.pem").read_bytes() == before
    monkeypatch.setattr(certificates, "RENEW_DAYS", certificates.VALID_DAYS)
    certificates.issue(tmp_path, "bus", ["localhost"])
    assert (tmp_path / "bus.pem").read_bytes() != before
    leaf = x509.load_pem_x509_certificate((tmp_path / "bus.pem").read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()))


def test_an_authority_is_followed_by_another_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", certificates.VALID_DAYS)
    steps = [certificates.renew(tmp_path, "bus", ["localhost"], anew=False)]
    monkeypatch.undo()
    leaf = (tmp_path / "bus.pem").read_bytes()
    steps += [certificates.renew(tmp_path, "bus", ["localhost"], anew=anew) for anew in (True, False, True)]
    assert [step.name for step in steps] == ["ISSUED", "ANNOUNCED", "ANNOUNCED", "ISSUED"]
    new, former = x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes())
    x509.load_pem_x509_certificate(leaf).verify_directly_issued_by(former)
    x509.load_pem_x509_certificate((tmp_path / "bus.pem").read_bytes()).verify_directly_issued_by(new)


def test_whoever_signed_what_is_shown_stays_trusted(tmp_path: Path) -> None:
    certificates.renew(tmp_path, "bus", ["localhost"], anew=False)
    (first,) = x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes())
    for _ in range(2):
        (tmp_path / "ca.key").unlink()
        assert certificates.renew(tmp_path, "bus", ["localhost"], anew=True) is certificates.Renewal.ANNOUNCED
    assert first in x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes())


def test_what_has_ended_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "VALID_DAYS", 0)
    certificates.renew(tmp_path, "bus", ["localhost"], anew=False)
    monkeypatch.undo()
    (tmp_path / "ca.key").unlink()
    assert certificates.renew(tmp_path, "bus", ["localhost"], anew=False) is certificates.Renewal.ISSUED
    leaf = x509.load_pem_x509_certificate((tmp_path / "bus.pem").read_bytes())
    assert leaf.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=certificates.RENEW_DAYS)
