"""Whether the API server would take a manifest: its fields against Kubernetes' own schemas, and those of operators."""

import json
import subprocess
from collections.abc import Iterable

import kubernetes_validate
from tests.conftest import ROOT, require
from tests.deploy.rendering import Manifest

VERSION = "1.37"
MODULES = ROOT / "var" / "npm" / "node_modules"
TYPES = {
    "keda.sh": "keda",
    "monitoring.coreos.com": "prometheus-operator",
    "external-secrets.io": "external-secrets",
    "cert-manager.io": "cert-manager",
}
"""Groups of custom resources, and the package below ``@kubernetes-models`` that has their types and patterns."""
COMPILER = ("--noEmit", "--strict", "--skipLibCheck", "--target", "esnext", "--module", "nodenext")
CHECK = """
for (const [model, manifest] of manifests) {
  try { new model(manifest).validate(); } catch (error) { console.log(`${manifest.metadata.name}: ${error.message}`); }
}
"""


def problems(manifests: Iterable[Manifest]) -> list[str]:
    """Say what an API server of ``VERSION`` with those operators would refuse; unknown fields, too."""
    found, custom = [], []
    for manifest in manifests:
        group = manifest["apiVersion"].rpartition("/")[0]
        if group in TYPES:
            custom.append(manifest)
            continue
        try:
            kubernetes_validate.validate(manifest, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{_name(manifest)}: {manifest['apiVersion']} has no schema here")
        except kubernetes_validate.ValidationError as error:
            found.append(f"{_name(manifest)}: {error.message}")
    return found + (_custom(custom) if custom else [])


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _custom(manifests: list[Manifest]) -> list[str]:
    """Check types and unknown fields by the compiler, values by what the packages check at run time."""
    require(MODULES / "typescript", "TypeScript, which `make tools` installs,")
    imports, typed, made = set(), [], []
    for manifest in manifests:
        group, _, version = manifest["apiVersion"].rpartition("/")
        kind, literal = manifest["kind"], json.dumps(manifest)
        alias = f"{kind}{version}"
        module = f"@kubernetes-models/{TYPES[group]}/{group}/{version}"
        imports.add(
            f'import {{{kind} as {alias}}} from "{module}"; import type {{I{kind} as I{alias}}} from "{module}";'
        )
        typed.append(f"({literal}) satisfies I{alias};")
        made.append(f"[{alias}, {literal}]")
    head = "\n".join(sorted(imports))
    folder = MODULES.parent / "manifests"
    folder.mkdir(exist_ok=True)
    source = folder / "types.mts"
    source.write_text(f"{head}\n" + "\n".join(typed))
    compiler = [str(MODULES / ".bin" / "tsc"), *COMPILER, str(source)]
    types = subprocess.run(compiler, capture_output=True, text=True, check=False)
    program = "\n".join(line.partition("; import type")[0] for line in sorted(imports))
    program += f"\nconst manifests = [{', '.join(made)}];{CHECK}"
    values = subprocess.run(
        ["node", "--input-type=module"], input=program, cwd=folder, capture_output=True, text=True, check=False
    )
    assert values.returncode == 0, values.stderr
    refused = types.stdout.splitlines() if types.returncode else []
    return refused + values.stdout.splitlines()
