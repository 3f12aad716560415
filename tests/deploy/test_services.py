"""What each service is given on a cluster: its settings, its key, the secrets that it needs, and nothing else."""

import importlib
import json
import re
from pathlib import PurePath

import pytest
from tests.conftest import ROOT
from tests.deploy import given, keys, pods
from tests.deploy.rendering import (
    OVERLAYS,
    WHOLE,
    Manifest,
    containers,
    everything,
    named,
    of_kind,
    overlay,
    rendered,
    templates,
    the,
    whole,
)

from aegis.cli import cluster
from aegis.cli.state import HOLDS_SITE_KEY, KNOWS_SECRETS, SERVICES
from aegis.runtime import settings, topology
from aegis.runtime.service import Service

SECRETS = {
    **cluster.SECRETS,
    **cluster.EDGE_SECRETS,
    "aegis-bus-nkeys": [],
    "aegis-site-secrets": [],
    "aegis-canary": ["photo.jpg", "token"],
}
"""What ``aegis cluster init`` and ``edge`` make, two of which hold variables, and what people make for the canary."""
CAMERAS = 64
"""On one replica that is left alone."""
MARGIN = 1.25


def settings_of(service: str) -> type[settings.ServiceSettings]:
    found: Service[settings.ServiceSettings] = importlib.import_module(f"aegis.{service}.service").SERVICE
    return found.settings


def main_container(manifests: tuple[Manifest, ...], service: str) -> Manifest:
    spec = the(manifests, "Deployment", service)["spec"]["template"]["spec"]
    container: Manifest = next(c for c in spec["containers"] if c["name"] == "aegis")
    return container


def files_of(secret: str) -> set[str]:
    return {file.partition("=")[0] for file in SECRETS[secret]}


def called(manifests: tuple[Manifest, ...]) -> set[str]:
    """Give every name by which a pod calls the bus."""
    urls = {
        value
        for template in templates(manifests).values()
        for container in containers(template)
        for variable, value in given.environment(manifests, container).items()
        if variable == "AEGIS_BUS_URL"
    }
    return {re.fullmatch(r"tls://([\w.-]+):4222", url)[1] for one in urls for url in one.split(",")}  # type: ignore[index]


def megabytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * {"Mi": 1, "Gi": 1024}[unit]


@pytest.mark.parametrize("name", WHOLE)
def test_every_service_is_deployed_and_none_else(name: str) -> None:
    manifests = overlay(name)
    assert {d["metadata"]["name"] for d in of_kind(manifests, "Deployment")} == set(SERVICES)
    for service in SERVICES:
        deployment = the(manifests, "Deployment", service)
        assert main_container(manifests, service)["command"] == ["python", "-m", f"aegis.{service}"]
        labels = {"app.kubernetes.io/name": "aegis", "app.kubernetes.io/component": service}
        assert deployment["spec"]["selector"] == {"matchLabels": labels}
        assert deployment["spec"]["template"]["metadata"]["labels"] == labels
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == service
        assert the(manifests, "ServiceAccount", service)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("what", everything(), ids=named)
def test_a_service_starts_with_these_settings(what: tuple[str, ...]) -> None:
    """Read as the service reads them: all that is required is given, and nothing is misspelt."""
    manifests = rendered(what)
    for service in {deployment["metadata"]["name"] for deployment in of_kind(manifests, "Deployment")} & set(SERVICES):
        kind = settings_of(service)
        environ = given.environment(manifests, main_container(manifests, service))
        known = {settings.variable(field) for field in kind.__dataclass_fields__}
        assert {name for name in environ if name.startswith(settings.PREFIX)} <= known, service
        loaded = settings.load(kind, given.image() | environ)
        assert loaded.http_port == 8080
        assert loaded.http_host == "0.0.0.0"


@pytest.mark.parametrize("what", everything(), ids=named)
def test_every_file_of_a_setting_is_mounted(what: tuple[str, ...]) -> None:
    manifests = rendered(what)
    for name, template in templates(manifests).items():
        for container in template["spec"]["containers"]:
            mounted = given.files(template, container)
            for variable, value in given.environment(manifests, container).items():
                if not value.startswith("/etc/aegis/"):
                    continue
                path = PurePath(value)
                secret = mounted.get(str(path.parent))
                assert secret is not None, f"{name}: {variable}={value} is not mounted"
                assert path.name in files_of(secret), f"{name}: {variable}={value}"


@pytest.mark.parametrize("what", everything(), ids=named)
def test_only_secrets_that_init_makes_are_referred_to(what: tuple[str, ...]) -> None:
    for name, template in templates(rendered(what)).items():
        for secret, key in keys.secrets(template):
            assert secret in SECRETS, f"{name}: {secret}"
            assert not key or key in files_of(secret), f"{name}: {secret} has no {key}"


@pytest.mark.parametrize("what", everything(), ids=named)
def test_each_has_its_own_key_and_no_other(what: tuple[str, ...]) -> None:
    for name, template in templates(rendered(what)).items():
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        roles = keys.roles(template)
        if component in SERVICES:
            assert roles == {component}, name
        elif roles & {*SERVICES, "admin"}:
            # Only who declares streams has the key that may do everything.
            assert roles == {"admin"}, name
            assert component in ("declare", "nats"), name


@pytest.mark.parametrize("what", whole(), ids=named)
def test_faces_are_found_without_the_site_key_and_the_site_file_is_where_it_is_needed(what: tuple[str, ...]) -> None:
    held: dict[str, set[str]] = {}
    for template in templates(rendered(what)).values():
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        for secret, _ in keys.secrets(template):
            held.setdefault(secret, set()).add(component)
    assert held["aegis-site-key"] == set(HOLDS_SITE_KEY)
    assert held["aegis-site"] == held["aegis-site-secrets"] == set(KNOWS_SECRETS)
    assert held["aegis-bus-tls"] == held["aegis-bus-nkeys"] == {"nats"}


def test_the_bus_knows_every_key_that_init_makes_and_no_other() -> None:
    files = "".join(the(overlay("production"), "ConfigMap", "nats")["data"].values())
    assert sorted(re.findall(r"\$AEGIS_NKEY_\w+", files)) == sorted(
        f"${topology.key_variable(role)}" for role in cluster.KEYS
    )
    assert set(SERVICES) <= set(topology.ROLES)


def test_the_certificate_of_the_bus_is_for_every_name_that_it_is_called_by() -> None:
    """A server lets in as a route only what has a certificate for one of the routes' names."""
    files = the(overlay("production"), "ConfigMap", "nats")["data"]
    routes = set(re.findall(r"tls://([\w.-]+):6222", files["cluster.conf"]))
    assert len(routes) == 3
    assert "verify_cert_and_check_known_urls: true" in files["cluster.conf"]
    wildcards = {host.removeprefix("*.") for host in cluster.BUS_HOSTS if host.startswith("*.")}
    assert {route.partition(".")[2] for route in routes} <= wildcards
    hosts = {host for name in OVERLAYS for host in called(overlay(name))}
    assert {host if "." not in host else f"*.{host.partition('.')[2]}" for host in hosts} <= set(cluster.BUS_HOSTS)


@pytest.mark.parametrize("what", everything(), ids=named)
def test_every_server_of_the_bus_has_an_address_of_its_own_and_one_alone_a_name_that_stays(
    what: tuple[str, ...],
) -> None:
    """A client leaves a server that is cut off for another address of its list."""
    manifests = rendered(what)
    size = the(manifests, "StatefulSet", "nats")["spec"]["replicas"]
    several = {f"nats-{n}.nats-headless.aegis.svc.cluster.local" for n in range(size)}
    assert called(manifests) - {"localhost"} == (several if size > 1 else {"nats"})
    headless = the(manifests, "Service", "nats-headless")["spec"]
    assert headless["publishNotReadyAddresses"]
    assert {"name": "client", "port": 4222, "targetPort": "client"} in headless["ports"]


@pytest.mark.parametrize("what", everything(), ids=named)
def test_every_pod_is_restricted_and_ends_in_order(what: tuple[str, ...]) -> None:
    assert not pods.problems(rendered(what))


@pytest.mark.parametrize("name", WHOLE)
def test_the_namespace_takes_restricted_pods_alone(name: str) -> None:
    labels = the(overlay(name), "Namespace", "aegis")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


@pytest.mark.parametrize("service", SERVICES)
def test_requests_and_limits_are_what_was_measured(service: str) -> None:
    """Memory of one camera is asked for, and that of many fits, with a margin."""
    measured = json.loads((ROOT / "services/aegis/cli/unit_costs.json").read_text())
    least, each = measured["memory"][service]
    least += measured["unshared"][service]
    resources = main_container(overlay("production"), service)["resources"]
    assert megabytes(resources["requests"]["memory"]) >= least + each
    assert megabytes(resources["limits"]["memory"]) >= MARGIN * (least + each * CAMERAS)


@pytest.mark.parametrize("name", WHOLE)
def test_an_update_never_has_fewer_and_a_drain_is_never_held_up(name: str) -> None:
    manifests = overlay(name)
    for deployment in of_kind(manifests, "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budgets = {budget["metadata"]["name"]: budget["spec"] for budget in of_kind(manifests, "PodDisruptionBudget")}
    assert set(budgets) == {*SERVICES, "nats"}
    for component, budget in budgets.items():
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"]["app.kubernetes.io/component"] == component


@pytest.mark.parametrize(("name", "servers", "each"), [("production", 3, 2), ("single-node", 1, 1), ("dev", 1, 1)])
def test_there_are_as_many_of_each_as_the_overlay_says(name: str, servers: int, each: int) -> None:
    manifests = overlay(name)
    nats = the(manifests, "StatefulSet", "nats")["spec"]
    assert nats["replicas"] == servers
    assert ("affinity" in nats["template"]["spec"]) == (servers > 1)
    declares = [
        *(c["command"] for job in of_kind(manifests, "Job") for c in containers(job["spec"]["template"])),
        *(
            c["lifecycle"]["postStart"]["exec"]["command"]
            for c in containers(nats["template"])
            if "postStart" in c["lifecycle"]
        ),
    ]
    assert [d[: d.index("--wait")] for d in declares] == [["aegis", "cluster", "declare", "--replicas", str(servers)]]
    routes = re.findall(r"tls://nats-\d", the(manifests, "ConfigMap", "nats")["data"]["cluster.conf"])
    assert len(routes) == (servers if servers > 1 else 0)
    for service in SERVICES:
        assert the(manifests, "Deployment", service)["spec"]["replicas"] >= each
        assert servers > 1 or the(manifests, "Deployment", service)["spec"]["replicas"] == 1
