"""What ``kubectl apply -k`` would send: the manifests of overlays and components, rendered."""

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from tests.conftest import ROOT, require

K8S = ROOT / "deploy" / "k8s"
TOOLS = ROOT / "var" / "tools"
OVERLAYS = tuple(sorted(path.parent.name for path in (K8S / "overlays").glob("*/kustomization.yaml")))
WHOLE = ("dev", "production", "single-node")
"""Overlays with all of a site's system; any other one has a part of it."""
COMPONENTS = tuple(sorted(path.parent.name for path in (K8S / "components").glob("*/kustomization.yaml")))
ALTERNATIVES = {"autoscale-hpa": "autoscale-keda"}
"""Components of which one goes without the other."""

Manifest = dict[str, Any]


@functools.cache
def overlay(name: str) -> tuple[Manifest, ...]:
    """Render an overlay."""
    return render(K8S / "overlays" / name)


@functools.cache
def with_components(*names: str) -> tuple[Manifest, ...]:
    """Render components on the base, as an overlay that lists them does."""
    return with_overlay({
        "namespace": "aegis",
        "resources": ["../deploy/k8s/base"],
        "components": [f"../deploy/k8s/components/{name}" for name in names],
        "images": [{"name": "aegis", "newTag": "0.1.0"}],
    })  # fmt: skip


def with_overlay(kustomization: Manifest, **files: str) -> tuple[Manifest, ...]:
    """Render an overlay of somebody's own, beside ``deploy``, with other files of its folder by their stem."""
    with tempfile.TemporaryDirectory() as folder:
        deploy = os.path.relpath(ROOT / "deploy", Path(folder).resolve())
        (Path(folder) / "kustomization.yaml").write_text(
            yaml.safe_dump(kustomization, width=1000).replace("../deploy", deploy)
        )
        for name, text in files.items():
            (Path(folder) / f"{name}.yaml").write_text(text)
        return render(Path(folder))


def kustomize(directory: Path | str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run the pinned ``kubectl``, never the machine's own."""
    kubectl = require(TOOLS / "kubectl", "kubectl, which `make tools` installs,")
    return subprocess.run([kubectl, "kustomize", directory], cwd=cwd, capture_output=True, text=True, check=False)


def render(directory: Path) -> tuple[Manifest, ...]:
    done = kustomize(directory)
    assert done.returncode == 0, done.stderr
    # A tag or field that has become outdated is told here, and would fail one day.
    assert not done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def everything() -> list[tuple[str, ...]]:
    """Name all that is rendered: ``overlay NAME``, ``component NAME``, and all components together, each way."""
    together = [
        tuple(name for name in COMPONENTS if name != without)
        for pair in ALTERNATIVES.items()
        for without in pair
        if without in COMPONENTS
    ]
    return [
        *(("overlay", name) for name in OVERLAYS),
        *(("component", name) for name in COMPONENTS),
        *(("component", *names) for names in dict.fromkeys(together)),
    ]


def whole() -> list[tuple[str, ...]]:
    """Name what of it has all of a site's system."""
    return [what for what in everything() if what[0] == "component" or what[1] in WHOLE]


def rendered(what: tuple[str, ...]) -> tuple[Manifest, ...]:
    """Render one of ``everything``."""
    kind, *names = what
    return overlay(*names) if kind == "overlay" else with_components(*names)


def named(what: tuple[str, ...]) -> str:
    """Name one of ``everything`` as a test's id."""
    kind, *names = what
    if len(names) > 1:
        return f"all components with {next(name for name in names if name.startswith('autoscale'))}"
    return f"{kind} {names[0]}"


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def the(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """Give one manifest; a name that kustomize has lengthened by a hash is found by its beginning."""
    found = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    found = found or [m for m in of_kind(manifests, kind) if m["metadata"]["name"].rpartition("-")[0] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def templates(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """Give the template of every pod, by ``Kind/name`` of what makes it."""
    found = {}
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "CronJob":
            found[name] = manifest["spec"]["jobTemplate"]["spec"]["template"]
        elif "template" in manifest.get("spec", {}) and "spec" in manifest["spec"]["template"]:
            found[name] = manifest["spec"]["template"]
    return found


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]
