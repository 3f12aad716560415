"""What checkov thinks of production and of all components, with each exception stated and needed."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from tests.conftest import require
from tests.deploy.rendering import TOOLS, Manifest, everything, named, overlay, rendered, templates, the

EXCEPTIONS = yaml.safe_load((Path(__file__).parent / "checkov.yaml").read_text())


def refused(manifests: Iterable[Manifest], folder: Path) -> set[tuple[str, str]]:
    """Give the id of each check that fails, and the resource that it fails for."""
    checkov = require(TOOLS / "checkov" / "bin" / "checkov", "checkov, which `make tools` installs,")
    file = folder / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    command = [str(checkov), "-f", str(file), "--framework", "kubernetes", "--skip-download", "--compact", "-o", "json"]
    environ = {**os.environ, "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    assert report["summary"]["passed"] > 0
    return {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}


def excepted(manifests: Iterable[Manifest]) -> set[tuple[str, str]]:
    pods = [name.replace("/", ".aegis.") for name in templates(manifests)]
    return {
        (check, resource)
        for check, exception in EXCEPTIONS.items()
        for resource in pods
        if exception["where"] == "everything" or resource in exception["where"]
    }


@pytest.mark.parametrize(
    "what", [("overlay", "production"), next(what for what in everything() if len(what) > 2)], ids=named
)
def test_checkov_finds_nothing_but_what_is_excepted(what: tuple[str, ...], tmp_path: Path) -> None:
    assert refused(rendered(what), tmp_path) == excepted(rendered(what))


def test_every_exception_has_its_reason() -> None:
    assert all(len(exception["why"]) > 40 for exception in EXCEPTIONS.values())


def test_checkov_sees_a_pod_that_may_do_too_much(tmp_path: Path) -> None:
    manifests = yaml.safe_load(json.dumps(overlay("production")))
    container = the(manifests, "Deployment", "match")["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["privileged"] = True
    container["image"] = "aegis:latest"
    found = {
        check for check, resource in refused(manifests, tmp_path) - excepted(manifests) if resource.endswith(".match")
    }
    assert {"CKV_K8S_16", "CKV_K8S_14"} <= found
