"""``aegis cluster init``: keys and certificates for a cluster, made once, for their owner alone."""

import argparse
import stat
import subprocess
from pathlib import Path

import nkeys
import pytest
import yaml
from cryptography import x509

from aegis.cli import cluster
from aegis.cli.errors import CommandError
from aegis.runtime import certificates, sealing, topology

SITE = """
site: {id: test, name: Test, kind: venue, jurisdiction: US-PA}
cameras:
  - {id: door, name: Door, url: "rtsp://viewer:${DOOR_PASSWORD}@camera.example:554/stream"}
"""

AUTHORITY_KEYS = ("bus/ca.key", "whip/ca.key")
"""They sign and open nothing, so nobody on the cluster is given them."""


def init(tmp_path: Path, site: str = SITE, site_key: Path | None = None, *hosts: str, renew: bool = False) -> Path:
    config, folder = tmp_path / "site.yaml", tmp_path / "made"
    config.write_text(site)
    cluster.init(argparse.Namespace(directory=folder, config=config, site_key=site_key, host=list(hosts), renew=renew))
    return folder


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "s3cret")


def test_every_role_has_a_key_whose_public_half_the_bus_is_told(tmp_path: Path) -> None:
    folder = init(tmp_path)
    told = dict(line.split("=") for line in (folder / "nkeys.env").read_text().splitlines())
    for role in cluster.KEYS:
        pair = nkeys.from_seed((folder / "keys" / f"{role}.nk").read_bytes())
        assert told.pop(topology.key_variable(role)) == pair.public_key.decode()
    assert not told


def test_nobody_else_may_read_what_it_writes(tmp_path: Path) -> None:
    folder = init(tmp_path)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_it_names_every_file_that_it_wrote_and_no_other(tmp_path: Path) -> None:
    folder = init(tmp_path)
    made = yaml.safe_load((folder / "kustomization.yaml").read_text())
    generators = made["secretGenerator"]
    named = {item.partition("=")[2] or item for g in generators for item in (*g.get("files", ()), *g.get("envs", ()))}
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert named == written - {"kustomization.yaml", ".gitignore", *AUTHORITY_KEYS}
    assert len({generator["name"] for generator in generators}) == len(generators)


def test_a_second_time_nothing_changes_but_the_site_file(tmp_path: Path) -> None:
    folder = init(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    init(tmp_path, SITE.replace("name: Test", "name: Other"))
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"site.yaml"}


def test_variables_of_the_site_file_come_along_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_ITS_BUSINESS", "x")
    assert (init(tmp_path) / "site.env").read_text() == "DOOR_PASSWORD=s3cret\n"
    monkeypatch.setenv("DOOR_PASSWORD", "two\nlines")
    with pytest.raises(CommandError, match="DOOR_PASSWORD has several lines"):
        init(tmp_path)


def names(certificate: Path) -> set[str]:
    return set(certificates.hosts(certificate.read_bytes()))


def test_the_certificates_name_the_bus_as_it_is_called(tmp_path: Path) -> None:
    folder = init(tmp_path, SITE, None, "bus.example.org")
    assert {"nats", "nats.aegis.svc", "localhost", "127.0.0.1", "bus.example.org"} <= names(folder / "bus/server.pem")


@pytest.mark.parametrize("key", ["secret_env: HOOK", 'secret_env: "HOOK"', "'secret_env' : 'HOOK'"])
def test_the_secret_of_a_webhook_comes_along(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "signs")
    notify = f"notify: {{webhooks: [{{url: 'https://hooks.example.org/aegis', {key}}}]}}\n"
    assert (init(tmp_path, SITE + notify) / "site.env").read_text() == "DOOR_PASSWORD=s3cret\nHOOK=signs\n"


def test_a_name_that_is_missing_is_added_and_none_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = init(tmp_path)
    before = (folder / "bus/ca.pem").read_bytes()
    for given in (("bus.example.org",), ("10.0.0.7", "mqtt.example.org")):
        capsys.readouterr()
        init(tmp_path, SITE, None, *given)
        said = capsys.readouterr().out
        for path, restart in (("bus/server.pem", "statefulset/nats"), ("whip/whip.pem", "deployment/ingest")):
            assert f"{folder / path} is new, for " in said
            assert f"rollout restart {restart}\n" in said
    init(tmp_path, renew=True)
    for path in ("bus/server.pem", "whip/whip.pem"):
        assert {"bus.example.org", "mqtt.example.org", "10.0.0.7"} <= names(folder / path)
    assert (folder / "bus/ca.pem").read_bytes() == before


def test_names_outlive_a_renewal_that_nobody_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = init(tmp_path, SITE, None, "bus.example.org")
    before = (folder / "bus/server.pem").read_bytes()
    monkeypatch.setattr(certificates, "RENEW_DAYS", certificates.VALID_DAYS)
    init(tmp_path)
    assert (folder / "bus/server.pem").read_bytes() != before
    assert "bus.example.org" in names(folder / "bus/server.pem")


def test_a_renewed_certificate_is_of_the_authority_that_is_trusted(tmp_path: Path) -> None:
    bus = init(tmp_path) / "bus"
    authority, former = (bus / "ca.pem").read_bytes(), (bus / "server.pem").read_bytes()
    init(tmp_path, renew=True)
    assert (bus / "ca.pem").read_bytes() == authority
    assert (bus / "server.pem").read_bytes() != former


def test_a_new_authority_is_trusted_before_it_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus = init(tmp_path) / "bus"
    (former,) = x509.load_pem_x509_certificates((bus / "ca.pem").read_bytes())
    (bus / "ca.key").unlink()
    init(tmp_path)
    assert "a new authority" not in capsys.readouterr().out, "nothing is to be renewed"
    for renew in (True, False):
        init(tmp_path, renew=renew)
        assert f"{bus / 'ca.pem'} holds a new authority" in capsys.readouterr().out
        new, kept = x509.load_pem_x509_certificates((bus / "ca.pem").read_bytes())
        assert kept == former
        x509.load_pem_x509_certificate((bus / "server.pem").read_bytes()).verify_directly_issued_by(former)
    init(tmp_path, renew=True)
    assert x509.load_pem_x509_certificates((bus / "ca.pem").read_bytes()) == [new, former]
    x509.load_pem_x509_certificate((bus / "server.pem").read_bytes()).verify_directly_issued_by(new)


def test_a_site_keeps_the_key_that_it_has(tmp_path: Path) -> None:
    sealing.load_or_create(tmp_path / "own.key")
    folder = init(tmp_path, SITE, tmp_path / "own.key")
    assert (folder / "site.key").read_bytes() == (tmp_path / "own.key").read_bytes()
    (tmp_path / "own.key").write_text("no key")
    with pytest.raises(CommandError, match="is not 64 hexadecimal digits"):
        init(tmp_path, SITE, tmp_path / "own.key")


def test_a_site_key_that_is_new_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = f"{tmp_path / 'made' / 'site.key'} is NEW. A running site needs its old one, by --site-key"
    init(tmp_path)
    assert told in capsys.readouterr().out
    init(tmp_path)
    assert "NEW" not in capsys.readouterr().out
    (tmp_path / "made" / "site.key").rename(tmp_path / "own.key")
    init(tmp_path, SITE, tmp_path / "own.key")
    assert "NEW" not in capsys.readouterr().out


def test_git_sees_nothing_of_it(tmp_path: Path) -> None:
    folder = init(tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    found = subprocess.run(
        ["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True
    ).stdout
    assert found == "?? site.yaml\n"
    (folder / ".gitignore").write_text("*\n!kustomization.yaml\n")
    init(tmp_path)
    assert (folder / ".gitignore").read_text() == "*\n!kustomization.yaml\n"


def test_a_site_file_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="kind"):
        init(tmp_path, SITE.replace("venue", "castle"))
    assert not (tmp_path / "made").exists()


def test_a_file_of_this_machine_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    notify = "notify: {email: {smtp: 'smtp://mail.example', to: [a@example.org], ca: %s}}\n"
    with pytest.raises(CommandError, match=r"site.yaml:5: ca: no pod has ca.pem of this machine"):
        init(tmp_path, SITE + notify % "ca.pem")
    assert not (tmp_path / "made").exists()
    init(tmp_path, SITE + notify % "/etc/aegis/mail/ca.pem")


def test_another_key_than_the_one_that_is_there_is_refused(tmp_path: Path) -> None:
    init(tmp_path)
    sealing.load_or_create(tmp_path / "other.key")
    with pytest.raises(CommandError, match="another site key"):
        init(tmp_path, SITE, tmp_path / "other.key")


def test_an_edge_is_given_its_own_and_no_more(tmp_path: Path) -> None:
    centre, folder = init(tmp_path), tmp_path / "edge"
    cluster.edge(argparse.Namespace(directory=folder, centre=centre, renew=False))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {
        name
        for name in files
        if (centre / name).exists() and (centre / name).read_bytes() == (folder / name).read_bytes()
    }
    assert kept == {".gitignore", "site.key", "nkeys.env", "keys/ingest.nk", "keys/detect.nk", "keys/edge.nk"}
    made = yaml.safe_load((folder / "kustomization.yaml").read_text())["secretGenerator"]
    named = {item.partition("=")[2] or item for g in made for item in (*g.get("files", ()), *g.get("envs", ()))}
    assert named == files - {"kustomization.yaml", ".gitignore", *AUTHORITY_KEYS}
    assert (folder / "centre.pem").read_bytes() == (centre / "bus" / "ca.pem").read_bytes()
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in folder.rglob("*"))
    with pytest.raises(CommandError, match="No such file"):
        cluster.edge(argparse.Namespace(directory=folder, centre=tmp_path / "nowhere", renew=False))
