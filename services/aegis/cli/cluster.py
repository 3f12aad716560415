"""``aegis cluster init | edge | declare``: the keys and certificates of a system on a cluster, and its streams.

What ``init`` writes is a kustomization: ``kubectl apply -k DIR`` makes Secrets of it, under the names that the
manifests below ``deploy/k8s`` refer to.
"""

import argparse
import asyncio
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import nats.errors
import yaml

from aegis.cli.errors import CommandError
from aegis.cli.requests import connected
from aegis.runtime import bus_server, certificates, edges, sealing, site_file, topology
from aegis.runtime.certificates import write_private
from aegis.runtime.site_file import SiteFileError

NAMESPACE = "aegis"
PAUSE_SECONDS = 1.0
BUS_HOSTS = (
    "nats",
    f"nats.{NAMESPACE}",
    f"nats.{NAMESPACE}.svc",
    f"nats.{NAMESPACE}.svc.cluster.local",
    f"*.nats-headless.{NAMESPACE}.svc.cluster.local",
    "localhost",
    "127.0.0.1",
)
"""What the bus is called: by services, by its own servers, and through a port that is forwarded."""
WHIP_HOSTS = (f"ingest.{NAMESPACE}.svc", "ingest")
KEYS = (*topology.ROLES, edges.KEY)
"""Who has a key: every role, and the link of an edge."""
BUS_SECRETS = {
    "aegis-bus-tls": ["tls.crt=bus/server.pem", "tls.key=bus/server.key", "ca.crt=bus/ca.pem"],
    "aegis-bus-ca": ["ca.crt=bus/ca.pem"],
    "aegis-site-key": ["site.key"],
}
SECRETS = {
    **BUS_SECRETS,
    "aegis-whip-tls": ["tls.crt=whip/whip.pem", "tls.key=whip/whip.key", "ca.crt=whip/ca.pem"],
    "aegis-site": ["site.yaml"],
    "aegis-mqtt": ["password=mqtt.password"],
    "aegis-turn": ["secret=turn.secret"],
    **{f"aegis-key-{name}": [f"key.nk=keys/{name}.nk"] for name in KEYS},
}
"""The files of each Secret, by their keys in it."""
EDGE_KEYS = (*edges.STAGES, edges.KEY)
EDGE_FILES = ("site.key", "nkeys.env", *(f"keys/{name}.nk" for name in EDGE_KEYS))
"""What an edge is given of the centre's."""
EDGE_SECRETS = {
    **BUS_SECRETS,
    "aegis-centre-ca": ["ca.crt=centre.pem"],
    **{f"aegis-key-{name}": [f"key.nk=keys/{name}.nk"] for name in EDGE_KEYS},
}
SITE_VARIABLE = re.compile(r"""\$\{(\w+)\}|_env["']?\s*:\s*["']?(\w+)""")


def init(arguments: argparse.Namespace) -> None:
    """``aegis cluster init``: write what is missing, and keep what is there.

    Raises:
        CommandError: the site file or the site's key cannot be used, or nothing can be written there.

    """
    folder, config = Path(arguments.directory), Path(arguments.config)
    try:
        site_file.read(config.resolve(), os.environ).check(pods=True)
        _write(folder, config, arguments)
    except (SiteFileError, sealing.SealError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}", 2) from None
    print(
        f"{folder} holds the keys and certificates of {NAMESPACE}. Nobody else may read them, and version control must"
        f" not see them: {folder / '.gitignore'} keeps git from that.\nKeep {folder / 'site.key'} apart as well:"
        " without it nothing that was stored can be read again.\nNext: kubectl create namespace"
        f" {NAMESPACE}; kubectl apply -k {folder}"
    )


def edge(arguments: argparse.Namespace) -> None:
    """``aegis cluster edge``: write what an edge of a system is given, from what ``init`` wrote for its centre.

    Raises:
        CommandError: that is not there, or nothing can be written.

    """
    folder, centre = Path(arguments.directory), Path(arguments.centre)
    try:
        for part in (folder, folder / "keys", folder / "bus"):
            part.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in EDGE_FILES:
            write_private(folder / name, (centre / name).read_bytes())
        write_private(folder / "centre.pem", (centre / "bus" / "ca.pem").read_bytes())
        _renew(folder / "bus", "server", BUS_HOSTS, "statefulset/nats", anew=arguments.renew)
        _write_kustomization(folder, EDGE_SECRETS, {"aegis-bus-nkeys": "nkeys.env"})
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}", 2) from None
    print(f"{folder} holds what the edge is given, the site's key too. Next, there: kubectl apply -k {folder}")


async def declare(arguments: argparse.Namespace) -> None:
    """``aegis cluster declare``: make every stream and bucket as this version wants it, again after an upgrade.

    Raises:
        CommandError: the bus does not answer, or refuses, for as long as ``--wait`` says.

    """
    deadline = time.monotonic() + arguments.wait
    while True:
        try:
            async with connected(arguments, role="admin") as bus:
                await topology.declare(bus, arguments.replicas)
        except (nats.errors.Error, CommandError) as error:
            # The servers of a cluster that has just begun have not agreed on anything yet.
            if time.monotonic() >= deadline:
                raise CommandError(f"the streams cannot be declared: {error}") from None
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            break
    servers = f"{arguments.replicas} server{'s' * (arguments.replicas != 1)}"
    print(f"{len(topology.STREAMS)} streams and buckets are as declared, each on {servers}")


def _write(folder: Path, config: Path, arguments: argparse.Namespace) -> None:
    site_key, hosts = arguments.site_key, tuple(arguments.host)
    for part in (folder, folder / "keys", folder / "bus", folder / "whip"):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = {name: bus_server.user_key(folder / "keys" / f"{name}.nk") for name in KEYS}
    variables = [f"{topology.key_variable(role)}={key}" for role, key in public.items()]
    write_private(folder / "nkeys.env", _lines(variables))
    _renew(folder / "bus", "server", (*BUS_HOSTS, *hosts), "statefulset/nats", anew=arguments.renew)
    _renew(folder / "whip", "whip", (*WHIP_HOSTS, *hosts), "deployment/ingest", anew=arguments.renew)
    for name in ("mqtt.password", "turn.secret"):
        if not (folder / name).exists():
            write_private(folder / name, secrets.token_urlsafe(32).encode())
    if site_key is not None:
        sealing.load(site_key)
        kept = folder / "site.key"
        if kept.exists() and kept.read_text().strip() != site_key.read_text().strip():
            raise CommandError(f"{kept} is another site key than {site_key}; what it sealed would be lost", 2)
        write_private(kept, site_key.read_bytes())
    new = not (folder / "site.key").exists()
    sealing.load_or_create(folder / "site.key")
    if new:
        print(f"{folder / 'site.key'} is NEW. A running site needs its old one, by --site-key: this opens none of it.")
    text = config.read_text(encoding="utf-8")
    named = sorted({one or other for one, other in SITE_VARIABLE.findall(text)} & os.environ.keys())
    if broken := [name for name in named if "\n" in os.environ[name]]:
        raise CommandError(f"the environment variable {broken[0]} has several lines; a Secret cannot take it so", 2)
    write_private(folder / "site.yaml", text.encode())
    write_private(folder / "site.env", _lines(f"{name}={os.environ[name]}" for name in named))
    _write_kustomization(folder, SECRETS, {"aegis-bus-nkeys": "nkeys.env", "aegis-site-secrets": "site.env"})


def _renew(folder: Path, name: str, hosts: tuple[str, ...], shown_by: str, *, anew: bool) -> None:
    """Write a server's certificate where that is due, and say what is to be done with one that replaces another."""
    authority, certificate = folder / "ca.pem", folder / f"{name}.pem"
    first = not authority.exists()
    match certificates.renew(folder, name, hosts, anew=anew):
        case certificates.Renewal.ISSUED if not first:
            print(
                f"{certificate} is new, for {', '.join(certificates.hosts(certificate.read_bytes()))}. When it is"
                f" applied: kubectl -n {NAMESPACE} rollout restart {shown_by}"
            )
        case certificates.Renewal.ANNOUNCED:
            print(
                f"{authority} holds a new authority and the former one, and {certificate} is still of the former."
                " When it is applied, restart every server and service, at edges too. Only when all of them run, the"
                " same with --renew: whoever does not know the new authority by then refuses the others."
            )


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _write_kustomization(folder: Path, files: Mapping[str, list[str]], variables: Mapping[str, str]) -> None:
    """Write what makes Secrets of the files, and what keeps them all out of version control."""
    if not (folder / ".gitignore").exists():
        write_private(folder / ".gitignore", b"*\n")
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "generatorOptions": {"disableNameSuffixHash": True, "labels": {"app.kubernetes.io/part-of": "aegis"}},
        "secretGenerator": [
            *({"name": name, "files": listed} for name, listed in files.items()),
            *({"name": name, "envs": [file]} for name, file in variables.items()),
        ],
    }
    write_private(folder / "kustomization.yaml", yaml.safe_dump(made, sort_keys=False).encode())
