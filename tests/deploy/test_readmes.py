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
            which = target["kind"], target.get("name") or target["metadata"]["name"]
            after = set_on_production({"patches": [patch]}, components=components)
            assert the(after, *which) != the(before, *which), patch


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
