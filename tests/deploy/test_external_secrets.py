"""The component external-secrets makes every Secret that a pod asks for, as its README says."""

import re
from pathlib import Path

import yaml
from tests.deploy import keys
from tests.deploy.rendering import COMPONENTS, K8S, Manifest, of_kind, overlay, render, templates, with_components

from aegis.cli import cluster

OF_PEOPLE = {"aegis-canary"}
"""What somebody makes by hand, whatever makes the rest."""


def external() -> dict[str, Manifest]:
    found = of_kind(with_components("external-secrets"), "ExternalSecret")
    return {manifest["metadata"]["name"]: manifest["spec"] for manifest in found}


def test_every_secret_that_a_pod_asks_for_is_made() -> None:
    made = {name: {entry["secretKey"] for entry in spec.get("data", [])} for name, spec in external().items()}
    asked = {
        secret
        for manifests in (overlay("production"), *(with_components(name) for name in COMPONENTS))
        for template in templates(manifests).values()
        for secret in keys.secrets(template)
    }
    assert {name for name, _ in asked} - OF_PEOPLE <= made.keys()
    for name, key in asked:
        assert not key or name in OF_PEOPLE or key in made[name], (name, key)
    for name, files in cluster.SECRETS.items():
        assert made[name] == {file.partition("=")[0] for file in files}


def test_they_come_from_the_one_store_and_outlive_it() -> None:
    for name, spec in external().items():
        assert spec["secretStoreRef"] == {"kind": "SecretStore", "name": "aegis"}
        assert spec["target"] == {"creationPolicy": "Owner", "deletionPolicy": "Retain"}
        sources = [entry["remoteRef"]["key"] for entry in spec.get("data", [])]
        sources += [entry["extract"]["key"] for entry in spec.get("dataFrom", [])]
        assert set(sources) == {name}


def test_one_that_a_site_does_not_have_is_left_out_as_the_readme_says(tmp_path: Path) -> None:
    text = (K8S / "components" / "external-secrets" / "README.md").read_text()
    told = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "$patch" in block)
    secrets = K8S / "components" / "external-secrets" / "secrets.yaml"
    (tmp_path / "secrets.yaml").write_text(secrets.read_text())
    kustomization = {"resources": ["secrets.yaml"], **yaml.safe_load(told)}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    left = {manifest["metadata"]["name"] for manifest in render(tmp_path)}
    assert external().keys() - left == {"aegis-site-secrets"}
