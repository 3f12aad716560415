"""Each check of the manifests sees what it is there for: a rendered overlay is broken in one place, and told so."""

import copy
from collections.abc import Callable

import pytest
from tests.deploy import arrows, keys, pods, schemas
from tests.deploy.arrows import Place, Policies
from tests.deploy.rendering import Manifest, overlay, templates, the
from tests.deploy.test_network import ours, places

SCALED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "embed", "namespace": "aegis"},
    "spec": {"scaleTargetRef": {"name": "embed"}, "triggers": [{"type": "nats-jetstream", "metadata": {"lag": "1"}}]},
}


@pytest.fixture
def manifests() -> tuple[Manifest, ...]:
    return copy.deepcopy(overlay("production"))


def spec(manifests: tuple[Manifest, ...], name: str = "match") -> Manifest:
    found: Manifest = the(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return found


def container(manifests: tuple[Manifest, ...]) -> Manifest:
    found: Manifest = spec(manifests)["containers"][0]
    return found


POD = {
    "runs as another user": lambda m: spec(m)["securityContext"].update(runAsUser=0),
    "no seccomp profile": lambda m: spec(m)["securityContext"].pop("seccompProfile"),
    "has a token": lambda m: spec(m).pop("automountServiceAccountToken"),
    "gets variables": lambda m: spec(m).update(enableServiceLinks=True),
    "shares the host's": lambda m: spec(m).update(hostNetwork=True),
    "mounts what is not ours": lambda m: spec(m)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "may fill the node": lambda m: spec(m)["volumes"].append({"name": "x", "emptyDir": {}}),
    "can be read by others": lambda m: spec(m)["volumes"][0]["secret"].update(defaultMode=0o444),
    "cannot be read by us": lambda m: spec(m)["securityContext"].pop("fsGroup"),
    "may become more": lambda m: container(m)["securityContext"].pop("allowPrivilegeEscalation"),
    "may write to its image": lambda m: container(m)["securityContext"].update(readOnlyRootFilesystem=False),
    "keeps capabilities": lambda m: container(m)["securityContext"].pop("capabilities"),
    "takes a port of the host": lambda m: container(m)["ports"][0].update(hostPort=80),
    "does not say what it needs": lambda m: container(m)["resources"]["requests"].pop("cpu"),
    "has no memory limit": lambda m: container(m)["resources"]["limits"].pop("memory"),
    "has a CPU limit": lambda m: container(m)["resources"]["limits"].update(cpu="1"),
    "no readinessProbe": lambda m: container(m).pop("readinessProbe"),
    "asks a port": lambda m: container(m)["livenessProbe"]["httpGet"].update(port="web"),
    "is killed before": lambda m: spec(m).update(terminationGracePeriodSeconds=4),
}


@pytest.mark.parametrize("problem", POD)
def test_a_pod_that_is_not_as_it_must_be_is_seen(manifests: tuple[Manifest, ...], problem: str) -> None:
    change: Callable[[tuple[Manifest, ...]], object] = POD[problem]
    change(manifests)
    told = pods.problems(manifests)
    assert told
    assert all(line.startswith("Deployment/match: ") and problem in line for line in told)


def test_a_lame_duck_that_is_killed_is_seen(manifests: tuple[Manifest, ...]) -> None:
    the(manifests, "StatefulSet", "nats")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    assert pods.problems(manifests) == ["StatefulSet/nats: is killed before it has ended in order"]


@pytest.mark.parametrize("change", [{"replica": 2}, {"replicas": "2"}, {"template": {"spec": {}}}])
def test_a_field_that_kubernetes_does_not_know_is_seen(
    manifests: tuple[Manifest, ...], change: dict[str, object]
) -> None:
    the(manifests, "Deployment", "match")["spec"].update(change)
    assert [line for line in schemas.problems(manifests) if line.startswith("Deployment/match")]


@pytest.mark.parametrize(
    "change", [{"maxReplicas": 3}, {"maxReplicaCount": "3"}, {"triggers": [{"type": "cpu"}]}, {"triggers": None}]
)
def test_a_field_that_an_operator_does_not_know_is_seen(change: dict[str, object]) -> None:
    assert not schemas.problems([SCALED])
    broken = copy.deepcopy(SCALED)
    broken["spec"] |= change  # type: ignore[operator]
    assert schemas.problems([broken])


def test_a_resource_of_an_unknown_operator_is_seen() -> None:
    assert schemas.problems([{"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}}])


def test_a_key_too_many_is_seen(manifests: tuple[Manifest, ...]) -> None:
    volume = {"name": "more", "secret": {"secretName": "aegis-key-admin", "defaultMode": 0o440}}
    spec(manifests)["volumes"].append(volume)
    assert keys.roles(templates(manifests)["Deployment/match"]) == {"match", "admin"}
    spec(manifests)["volumes"][-1] = {"name": "more", "projected": {"sources": [{"secret": {"name": "aegis-key-x"}}]}}
    assert keys.roles(templates(manifests)["Deployment/match"]) == {"match", "x"}


def test_a_policy_that_lets_more_pass_is_seen(manifests: tuple[Manifest, ...]) -> None:
    before = arrows.inside(manifests, places(manifests))
    bus = the(manifests, "NetworkPolicy", "bus")["spec"]
    bus["ingress"][0]["from"].append({"namespaceSelector": {}})
    opened = arrows.inside(manifests, places(manifests)) - before
    assert opened == {(place, "nats", 4222) for place in ("elsewhere", "impostor", "monitoring")}
    del the(manifests, "NetworkPolicy", "cameras")["spec"]["egress"][0]["ports"]
    assert ("TCP", 0) in Policies(manifests).outside(ours("ingest").labels)


def test_a_missing_policy_is_seen(manifests: tuple[Manifest, ...]) -> None:
    left = tuple(m for m in manifests if m["metadata"]["name"] not in ("default-deny", "scraped-services"))
    assert Policies(left).allow(Place({}, "default"), ours("match"), 8080)
    left = tuple(m for m in manifests if m["metadata"]["name"] != "bus-clients")
    assert not Policies(left).allow(ours("match"), ours("nats"), 4222)
