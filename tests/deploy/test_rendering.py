"""Every overlay and every component renders to what an API server takes, and says what it needs."""

import re
import tomllib

import pytest
from tests.conftest import ROOT
from tests.deploy import schemas
from tests.deploy.rendering import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    containers,
    everything,
    kustomize,
    named,
    of_kind,
    overlay,
    rendered,
    templates,
)

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
TAGS = {"dev": "aegis:dev"}
OTHERS = {"exporter": "natsio/prometheus-nats-exporter", "coturn": "coturn/coturn"}
"""Images of others, by the container: those that components bring."""


@pytest.mark.parametrize("what", everything(), ids=named)
def test_the_api_server_would_take_it(what: tuple[str, ...]) -> None:
    assert not schemas.problems(rendered(what))


@pytest.mark.parametrize("what", everything(), ids=named)
def test_every_container_is_of_the_one_image_with_a_tag(what: tuple[str, ...]) -> None:
    expected = TAGS.get(what[1], f"aegis:{VERSION}")
    for name, template in templates(rendered(what)).items():
        for container in containers(template):
            image, _, tag = container["image"].rpartition(":")
            if container["name"] in OTHERS:
                assert (image, bool(tag)) == (OTHERS[container["name"]], True), name
            else:
                variant = "-cuda" if "nvidia.com/gpu" in container["resources"].get("limits", {}) else ""
                assert container["image"] == expected.replace("aegis:", f"aegis{variant}:"), name


@pytest.mark.parametrize("what", everything(), ids=named)
def test_all_that_has_a_namespace_is_in_ours(what: tuple[str, ...]) -> None:
    everywhere = {"Namespace", "PriorityClass", "ClusterSecretStore", "ClusterRole", "ClusterRoleBinding"}
    for manifest in rendered(what):
        if manifest["kind"] not in everywhere:
            assert manifest["metadata"].get("namespace") == "aegis", manifest["metadata"]["name"]


@pytest.mark.parametrize("what", everything(), ids=named)
def test_no_secret_is_in_a_manifest(what: tuple[str, ...]) -> None:
    assert not of_kind(rendered(what), "Secret")


def test_an_overlay_renders_from_wherever_the_repository_is() -> None:
    """As a user does it: by a relative path, and without leave to read outside of what the path names."""
    done = kustomize("overlays/production", cwd=K8S)
    assert done.stdout.count("\n---\n") + 1 == len(overlay("production"))
    for path in (K8S).rglob("*"):
        assert not path.is_symlink(), path
    for path in K8S.rglob("kustomization.yaml"):
        assert str(ROOT) not in path.read_text()


@pytest.mark.parametrize("folder", [*(f"overlays/{o}" for o in OVERLAYS), *(f"components/{c}" for c in COMPONENTS)])
def test_a_readme_says_what_it_needs(folder: str) -> None:
    assert len((K8S / folder / "README.md").read_text()) > 100


def test_the_components_that_production_offers_are_there() -> None:
    text = (K8S / "overlays" / "production" / "kustomization.yaml").read_text()
    assert set(re.findall(r"components/([\w-]+)", text)) <= set(COMPONENTS)


def test_only_folders_that_can_be_applied_lie_there() -> None:
    for kind in ("overlays", "components"):
        for folder in (K8S / kind).iterdir():
            assert (folder / "kustomization.yaml").exists(), folder
