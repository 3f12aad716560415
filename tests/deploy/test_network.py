"""Who may reach whom on a cluster: exactly the arrows of the design, by what the rendered policies say."""

import pytest
from tests.deploy import arrows, keys
from tests.deploy.arrows import Place, Policies
from tests.deploy.rendering import WHOLE, Manifest, everything, named, of_kind, overlay, rendered, templates, whole

from aegis.cli.state import SERVICES

RTSP = {("TCP", 554), ("TCP", 8554)}
TELLING = {("TCP", port) for port in (25, 443, 465, 587, 2775, 3550, 13013)}
COMPONENT = "app.kubernetes.io/component"


def ours(component: str) -> Place:
    return Place({"app.kubernetes.io/name": "aegis", COMPONENT: component})


def places(manifests: tuple[Manifest, ...]) -> dict[str, Place]:
    """Give every pod of the manifests, a person's pod, somebody else's in our namespace, and other namespaces."""
    pods = {t["metadata"]["labels"][COMPONENT]: Place(t["metadata"]["labels"]) for t in templates(manifests).values()}
    return pods | {
        "operator": ours("operator"),
        "stranger": Place({"app": "stranger"}),
        "elsewhere": Place({}, "default"),
        "impostor": Place({"app.kubernetes.io/name": "aegis", COMPONENT: "match"}, "default"),
        "monitoring": Place({}, "monitoring"),
    }


@pytest.mark.parametrize("name", WHOLE)
def test_exactly_the_arrows_of_the_design_are_open(name: str) -> None:
    manifests = overlay(name)
    jobs = {"declare"} if of_kind(manifests, "Job") else set()
    expected = {
        *((client, "nats", 4222) for client in (*SERVICES, "operator", *jobs)),
        ("nats", "nats", 6222),
        *(("monitoring", service, 8080) for service in SERVICES),
        ("monitoring", "nats", 8222),
    }
    assert arrows.inside(manifests, places(manifests)) == expected


@pytest.mark.parametrize("name", WHOLE)
def test_ingest_alone_reaches_cameras_and_notify_alone_the_outside(name: str) -> None:
    manifests = overlay(name)
    policies = Policies(manifests)
    node_cache = {("UDP", 53), ("TCP", 53)}
    for component, place in places(manifests).items():
        outside = policies.outside(place.labels) if place.namespace == "aegis" else {}
        if component == "stranger":
            assert not outside
        elif place.namespace == "aegis":
            expected = {"ingest": RTSP, "notify": TELLING}.get(component, set())
            assert set(outside) == expected | node_cache, component
            assert all(outside[key] == {"169.254.20.10/32"} for key in node_cache)


@pytest.mark.parametrize("name", WHOLE)
def test_every_pod_of_ours_asks_the_clusters_dns_and_no_others(name: str) -> None:
    policies = Policies(overlay(name))
    dns = Place({"k8s-app": "kube-dns"}, "kube-system")
    for template in templates(overlay(name)).values():
        pod = Place(template["metadata"]["labels"])
        assert policies.allow(pod, dns, 53, "UDP")
        assert policies.allow(pod, dns, 53, "TCP")
        assert not policies.allow(pod, Place({}, "kube-system"), 53, "UDP")
        assert not policies.allow(pod, dns, 443)


@pytest.mark.parametrize("what", whole(), ids=named)
def test_who_has_a_key_reaches_the_bus_and_nobody_else(what: tuple[str, ...]) -> None:
    manifests = rendered(what)
    policies = Policies(manifests)
    for name, template in templates(manifests).items():
        labels = template["metadata"]["labels"]
        if labels[COMPONENT] != "nats":
            reaches = policies.allow(Place(labels), ours("nats"), 4222, name="client")
            assert reaches == bool(keys.roles(template)), name


@pytest.mark.parametrize("what", everything(), ids=named)
def test_every_pod_is_selected_by_the_refusal_of_all_else(what: tuple[str, ...]) -> None:
    manifests = rendered(what)
    policies = Policies(manifests)
    for name, template in templates(manifests).items():
        place = Place(template["metadata"]["labels"])
        assert not policies.allow(Place({}, "default"), place, 1), name
        assert not policies.allow(place, Place({}, "default"), 1), name
