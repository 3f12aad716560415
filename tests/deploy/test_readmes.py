"""What READMEs and guides tell people to set, rendered as they tell it."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT
from tests.deploy import given
from tests.deploy.arrows import Place, Policies
from tests.deploy.rendering import COMPONENTS, K8S, Manifest, containers, of_kind, templates, the, with_overlay
from tests.deploy.test_network import ours
from tests.deploy.test_rules import RULES
from tests.deploy.test_services import main_container

PRODUCTION = K8S / "overlays" / "production" / "README.md"


def blocks(path: Path) -> list[str]:
    """Give the YAML that a page shows."""
    found = re.findall(r"^ *```yaml\n(.*?)^ *```$", path.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for text in found]


def told(path: Path, key: str) -> list[Manifest]:
    """Give what a page tells to put into an overlay, of what it shows, by a key that stands there."""
    documents = [yaml.safe_load(block) for block in blocks(path) if "\n---\n" not in block]
    return [document for document in documents if key in document]


def set_on_production(*settings: Manifest, components: tuple[str, ...] = (), **files: str) -> tuple[Manifest, ...]:
    """Render an overlay on production with all of these settings."""
    kustomization: Manifest = {
        "namespace": "aegis",
        "resources": ["../deploy/k8s/overlays/production", *(f"{name}.yaml" for name in files)],
        "components": [f"../deploy/k8s/components/{name}" for name in components],
    }
    for setting in settings:
        for key, value in setting.items():
            kustomization[key] = [*kustomization.get(key, []), *value]
    return with_overlay(kustomization, **files)


@pytest.mark.parametrize("components", [(), ("mqtt",)], ids=["alone", "with mqtt"])
def test_the_bus_gets_the_room_that_production_says(components: tuple[str, ...]) -> None:
    manifests = set_on_production(*told(PRODUCTION, "patches"), components=components)
    nats = the(manifests, "StatefulSet", "nats")["spec"]
    (volume,) = nats["volumeClaimTemplates"]
    assert volume["spec"]["storageClassName"] == "fast-local"
    assert volume["spec"]["resources"]["requests"]["storage"] == "100Gi"
    (container,) = containers(nats["template"])
    environ = given.environment(manifests, container)
    assert environ["AEGIS_BUS_STORE"] == "90GB"
    assert environ.get("AEGIS_MQTT_PASSWORD") == ('"secretKeyRef"' if components else None)


@pytest.mark.parametrize("readme", [PRODUCTION, *(K8S / "components" / name / "README.md" for name in COMPONENTS)])
def test_every_patch_that_is_told_changes_what_it_names(readme: Path) -> None:
    """A patch whose target is not there is passed over without a word."""
    name = readme.parent.name
    components = (name,) if name in COMPONENTS else ()
    before = set_on_production(components=components)
    for setting in told(readme, "patches"):
        for patch in setting["patches"]:
            if patch["patch"].startswith("$patch"):
                continue
            target = patch.get("target") or yaml.safe_load(patch["patch"])
            names = target.get("name") or target["metadata"]["name"]
            after = set_on_production({"patches": [patch]}, components=components)
            for each in names.split("|"):
                assert the(after, target["kind"], each) != the(before, target["kind"], each), patch


def test_production_runs_as_many_as_are_told() -> None:
    manifests = set_on_production(*told(PRODUCTION, "replicas"))
    assert {name: the(manifests, "Deployment", name)["spec"]["replicas"] for name in ("detect", "ingest")} == {
        "detect": 7,
        "ingest": 7,
    }
    image = main_container(set_on_production(*told(PRODUCTION, "images")), "notify")["image"]
    assert image.startswith("registry.example/aegis@sha256:")


@pytest.mark.parametrize(("name", "config"), [("whip", "whip"), ("tracing", "aegis")])
def test_a_component_has_the_settings_that_are_told(name: str, config: str) -> None:
    """What a generator of the overlay says is undone by the component's own, or does not render."""
    settings = told(K8S / "components" / name / "README.md", "patches")
    patches = [yaml.safe_load(patch["patch"]) for setting in settings for patch in setting["patches"]]
    (expected,) = [patch["data"] for patch in patches if isinstance(patch, dict)]
    data = the(set_on_production(*settings, components=(name,)), "ConfigMap", config)["data"]
    assert expected.items() <= data.items()
    assert data.get("AEGIS_TRACES_URL", "/v1/traces").endswith("/v1/traces")


def test_an_edge_has_the_name_and_the_centre_that_are_told() -> None:
    (setting,) = told(K8S / "overlays" / "edge" / "README.md", "configMapGenerator")
    manifests = with_overlay({"namespace": "aegis", "resources": ["../deploy/k8s/overlays/edge"], **setting})
    assert the(manifests, "ConfigMap", "aegis")["data"]["AEGIS_EDGE"] == "library"
    assert the(manifests, "ConfigMap", "edge")["data"] == {"AEGIS_CENTRE": "tls://bus.school.example:7422"}


def test_monitoring_without_the_operator_has_nothing_of_it() -> None:
    settings = told(K8S / "components" / "monitoring" / "README.md", "patches")
    kinds = {manifest["kind"] for manifest in set_on_production(*settings, components=("monitoring",))}
    assert "StatefulSet" in kinds
    assert not kinds & {"PodMonitor", "PrometheusRule"}


def test_while_a_backup_is_restored_no_service_runs() -> None:
    (own,) = re.findall(
        r"> stopped/kustomization\.yaml <<'END'\n(.*?)\n *END\n",
        (ROOT / "docs" / "guides" / "disaster-recovery.md").read_text(),
        re.DOTALL,
    )
    stopped = yaml.safe_load(textwrap.dedent(own))
    before = set_on_production(components=("autoscale-keda", "whip"))
    after = set_on_production({"patches": stopped["patches"]}, components=("autoscale-keda", "whip"))
    assert {manifest["spec"]["replicas"] for manifest in of_kind(after, "Deployment")} == {0}
    scaled = of_kind(after, "ScaledObject")
    assert scaled
    assert all(m["metadata"]["annotations"] == {"autoscaling.keda.sh/paused": "true"} for m in scaled)
    assert not of_kind(after, "Job")
    assert of_kind(after, "StatefulSet") == of_kind(before, "StatefulSet")


def test_receipts_reach_notify_from_the_ingress_alone() -> None:
    (shown,) = [block for block in blocks(PRODUCTION) if "kind: Service" in block]
    manifests = set_on_production(receipts=shown)
    port = the(manifests, "Service", "receipts")["spec"]["ports"][0]
    assert {"name": port["targetPort"], "containerPort": port["port"]} in main_container(manifests, "notify")["ports"]
    policies = Policies(manifests)
    assert policies.allow(Place({}, "ingress-nginx"), ours("notify"), port["port"])
    assert not policies.allow(Place({}, "ingress-nginx"), ours("notify"), 8080)
    for other in (Place({}, "default"), ours("match")):
        assert not policies.allow(other, ours("notify"), port["port"])


def test_a_runbook_is_a_link_where_one_says_where_it_lies() -> None:
    (setting,) = told(K8S / "components" / "monitoring" / "README.md", "replacements")
    manifests = set_on_production(setting, components=("monitoring",))
    assert not [m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith("runbooks")]
    expected = yaml.safe_load(RULES.read_text())["groups"]
    for group in expected:
        for rule in group["rules"]:
            if "alert" in rule:
                link = f"https://git.school.example/aegis/blob/main/{rule['annotations']['runbook_url']}"
                rule["annotations"]["runbook_url"] = link
    assert the(manifests, "PrometheusRule", "aegis")["spec"]["groups"] == expected


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "guides" / "cluster.md"])
def test_what_is_applied_is_the_image_that_was_pushed(page: Path) -> None:
    text = page.read_text()
    (own,) = re.findall(r"> mine/kustomization\.yaml <<'END'\n(.*?)\nEND\n", text, re.DOTALL)
    (image,) = re.findall(r"^docker push (\S+)$", text, re.MULTILINE)
    assert f"\nmake image IMAGE={image}" in text
    assert "\nkubectl apply -k mine\n" in text
    pods = templates(with_overlay(yaml.safe_load(own))).values()
    assert {container["image"] for pod in pods for container in containers(pod)} == {image}
