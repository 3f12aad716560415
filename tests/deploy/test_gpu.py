"""The component gpu: detect and embed get a card, the image for it, and nothing that would hide that there is none."""

import re
from pathlib import Path

import pytest
import yaml
from tests.deploy import given
from tests.deploy.rendering import K8S, Manifest, containers, of_kind, render, the, with_components
from tests.deploy.test_services import settings_of

from aegis.cli.state import SERVICES
from aegis.runtime import settings

ON_CARDS = ("detect", "embed")


def container(manifests: tuple[Manifest, ...], service: str) -> Manifest:
    found: Manifest = containers(the(manifests, "Deployment", service)["spec"]["template"])[0]
    return found


@pytest.mark.parametrize("service", ON_CARDS)
def test_it_runs_on_a_card_or_not_at_all(service: str) -> None:
    manifests = with_components("gpu")
    pod = the(manifests, "Deployment", service)["spec"]["template"]["spec"]
    found = container(manifests, service)
    assert found["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert any(toleration["key"] == "nvidia.com/gpu" for toleration in pod["tolerations"])
    environ = given.image() | given.environment(manifests, found)
    assert settings.load(settings_of(service), environ).provider == "cuda"  # type: ignore[attr-defined]


def test_an_update_does_not_wait_for_a_card_that_is_taken() -> None:
    for service in ON_CARDS:
        strategy = the(with_components("gpu"), "Deployment", service)["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_the_others_are_as_they_were() -> None:
    plain = with_components()
    for manifest in with_components("gpu"):
        name = manifest["metadata"]["name"]
        if name not in ON_CARDS or manifest["kind"] != "Deployment":
            assert manifest == next(m for m in plain if m["kind"] == manifest["kind"] and m["metadata"]["name"] == name)
    assert {m["metadata"]["name"] for m in of_kind(plain, "Deployment")} == set(SERVICES)


def test_an_overlay_says_where_the_image_is_as_the_readme_has_it(tmp_path: Path) -> None:
    """Beside the image of the others, whose tag must not reach this one."""
    text = (K8S / "components" / "gpu" / "README.md").read_text()
    told = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    told["images"].append({"name": "aegis", "newName": "registry.example/aegis", "newTag": "0.1.0"})
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(with_components("gpu")))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["all.yaml"], **told}))
    manifests = render(tmp_path)
    assert container(manifests, "embed")["image"] == "registry.example/aegis:0.1.0-cuda"
    assert container(manifests, "match")["image"] == "registry.example/aegis:0.1.0"
