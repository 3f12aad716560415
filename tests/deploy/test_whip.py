"""The component ``whip``: who delivers video from outside comes to ingest, directly or by coturn, and nowhere else."""

import ast
import ipaddress
from itertools import chain
from pathlib import Path

import pytest
from tests.deploy import given, keys
from tests.deploy.arrows import Place, Policies
from tests.deploy.rendering import Manifest, containers, of_kind, templates, the, with_components
from tests.deploy.test_network import ours
from tests.deploy.test_services import main_container
from tests.peers.turn_server import SECRET, turn_server

from aegis.ingest import turn
from aegis.ingest.service import IngestSettings
from aegis.runtime import settings

ANYWHERE = (40_000, 60_000)
"""Two of the ports that Linux gives: ingest's side of a connection."""
RELAYED = 50_000


@pytest.fixture
def manifests() -> tuple[Manifest, ...]:
    return with_components("whip", "canary")


def coturn(manifests: tuple[Manifest, ...]) -> Manifest:
    found: Manifest = the(manifests, "Deployment", "coturn")["spec"]["template"]
    return found


def config(manifests: tuple[Manifest, ...]) -> dict[str, list[str]]:
    """Give the values of each line of coturn's configuration, by its name."""
    found: dict[str, list[str]] = {}
    for line in the(manifests, "ConfigMap", "coturn")["data"]["turnserver.conf"].splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_ingest_starts_with_what_it_is_told(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    container = main_container(manifests, "ingest")
    loaded = settings.load(IngestSettings, given.image() | given.environment(manifests, container))
    assert loaded.whip_host == "0.0.0.0"
    assert {"name": "whip", "containerPort": loaded.whip_port} in [
        {k: v for k, v in port.items() if k != "protocol"} for port in container["ports"]
    ]
    (tmp_path / "secret").write_text(SECRET)
    told = the(manifests, "ConfigMap", "whip")["data"]
    urls = turn.load(told["AEGIS_WHIP_TURN_URLS"], tmp_path / "secret").addresses
    service = the(manifests, "Service", "coturn")["spec"]
    offered = {(port["protocol"].lower(), port["port"]) for port in service["ports"]}
    assert {(url.rpartition("=")[2], int(url.split(":")[2].split("?")[0])) for url in urls} == offered


def test_the_service_is_where_the_canary_and_the_ingress_look_for_it(manifests: tuple[Manifest, ...]) -> None:
    service = the(manifests, "Service", "ingest")
    (port,) = service["spec"]["ports"]
    assert (
        f"--whip=https://ingest:{port['port']}"
        in containers(the(manifests, "Deployment", "canary")["spec"]["template"])[0]["command"]
    )
    labels = the(manifests, "Deployment", "ingest")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ingress = the(manifests, "Ingress", "ingest")["spec"]
    paths = list(chain.from_iterable(rule["http"]["paths"] for rule in ingress["rules"]))
    assert {path["path"] for path in paths} == routes()
    for path in paths:
        assert path["backend"] == {"service": {"name": "ingest", "port": {"name": port["name"]}}}


def routes() -> set[str]:
    """Give the first part of every path that the WHIP server serves."""
    source = Path(__file__).parents[2] / "services" / "aegis" / "ingest" / "whip.py"
    texts = [node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)]
    return {"/" + text.split("/")[1] for text in texts if isinstance(text, str) and "/{camera}" in text}


def test_a_session_ends_where_it_began(manifests: tuple[Manifest, ...]) -> None:
    assert the(manifests, "Service", "ingest")["spec"]["sessionAffinity"] == "ClientIP"
    annotations = the(manifests, "Ingress", "ingest")["metadata"]["annotations"]
    told = {name.partition("/")[2]: value for name, value in annotations.items()}
    assert told["affinity"] == "cookie"
    assert (told["backend-protocol"], told["proxy-ssl-verify"]) == ("HTTPS", "on")
    namespace, _, secret = told["proxy-ssl-secret"].partition("/")
    assert (namespace, secret) == (
        "aegis",
        given.files(the(manifests, "Deployment", "ingest")["spec"]["template"], main_container(manifests, "ingest"))[
            "/etc/aegis/whip"
        ],
    )


def test_video_comes_to_ingest_and_nothing_else_is_reached_by_coturn(manifests: tuple[Manifest, ...]) -> None:
    policies = Policies(manifests)
    relay, ingest, proxy = ours("coturn"), ours("ingest"), Place({}, "ingress-nginx")
    assert policies.allow(proxy, ingest, 8480, name="whip")
    assert not policies.allow(proxy, ingest, 8080, name="http")
    assert not policies.allow(Place({}, "default"), ingest, 8480, name="whip")
    for template in templates(manifests).values():
        other = Place(template["metadata"]["labels"])
        for port in ANYWHERE:
            assert policies.allow(relay, other, port, "UDP") == (other == ingest), other
        assert policies.allow(other, relay, RELAYED, "UDP") == (other == ingest), other
        for tcp in (4222, 8080, 8480):
            assert not policies.allow(relay, other, tcp)
    assert set(policies.outside(relay.labels)) == {("UDP", 53), ("TCP", 53)}


def test_coturn_lets_in_by_credentials_alone_and_relays_to_pods_alone(manifests: tuple[Manifest, ...]) -> None:
    lines = config(manifests)
    flags = {"use-auth-secret", "fingerprint", "no-cli", "no-multicast-peers", "no-tcp-relay"}
    assert flags <= {name for name, values in lines.items() if values == [""]}
    assert not {"no-auth", "lt-cred-mech", "allow-loopback-peers", "static-auth-secret", "user"} & set(lines)
    assert lines["denied-peer-ip"] == [
        f"{net[0]}-{net[-1]}" for net in map(ipaddress.ip_network, ("0.0.0.0/0", "::/0"))
    ]
    assert "allowed-peer-ip" not in lines
    first, _, last = the(manifests, "ConfigMap", "whip")["data"]["TURN_PEERS"].partition("-")
    assert all(ipaddress.ip_address(address).is_private for address in (first, last))
    (listens,) = lines["listening-port"]
    assert {port["containerPort"] for port in containers(coturn(manifests))[0]["ports"]} == {int(listens)}
    assert (int(lines["min-port"][0]), int(lines["max-port"][0])) == (49152, 65535)


def test_the_secret_is_the_one_of_ingest_and_on_no_command_line(manifests: tuple[Manifest, ...]) -> None:
    template = coturn(manifests)
    assert set(keys.secrets(template)) == {("aegis-turn", "")}
    held = {
        t["metadata"]["labels"]["app.kubernetes.io/component"]
        for t in templates(manifests).values()
        if "aegis-turn" in {secret for secret, _ in keys.secrets(t)}
    }
    assert held == {"ingest", "coturn"}
    container = containers(template)[0]
    folders = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(Path(path[0]).parent) for name, path in config(manifests).items() if name in ("userdb", "pidfile")} == {
        "/run/coturn"
    }
    assert "/run/coturn" in folders
    (run,) = [volume for volume in template["spec"]["volumes"] if volume["name"] == "run"]
    assert run["emptyDir"]["medium"] == "Memory"
    assert not of_kind(manifests, "Secret")


async def test_the_real_turnserver_takes_this_configuration(tmp_path: Path) -> None:
    """By the start command as it stands, with the folders elsewhere; what it then does is tested where ingest is."""
    async with turn_server(tmp_path) as server:
        said = server.log.read_text()
        for complaint in ("Bad configuration", "CONFIG ERROR", "CONFIG: ERROR", "WARNING: ", "annot"):
            assert complaint not in said
        assert SECRET not in said
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
        assert command[0] == b"turnserver", "the shell is gone, so that signals come to the server"
        assert SECRET.encode() not in b" ".join(command)
        assert (tmp_path / "run" / "turnserver.conf").stat().st_mode & 0o077 == 0
