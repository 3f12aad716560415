"""What a container is given: its environment as the process sees it, and its files."""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

from tests.conftest import ROOT
from tests.deploy.rendering import Manifest, the


@functools.cache
def image() -> dict[str, str]:
    """Give the environment that the image brings along."""
    last = (ROOT / "deploy" / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    lines = re.findall(r"^ENV ((?:.*\\\n)*.*)$", last, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.replace("\\\n", " ").split())


def environment(
    manifests: tuple[Manifest, ...], container: Manifest, secrets: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Give the variables that a container sets.

    What only the cluster knows stands as its field's name, unless ``secrets`` has it by the variable's.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= the(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        name = variable["name"]
        text = str(variable["value"]) if "value" in variable else secrets.get(name, next(iter(variable["valueFrom"])))
        # As the kubelet does it: from what stands above.
        found[name] = re.sub(r"\$\((\w+)\)", lambda other: found.get(other[1], other[0]), text)
    return found


def files(template: Manifest, container: Manifest) -> dict[str, str]:
    """Give the name of the Secret that is mounted in each folder."""
    volumes = {v["name"]: v["secret"]["secretName"] for v in template["spec"].get("volumes", []) if "secret" in v}
    mounts = container.get("volumeMounts", [])
    return {mount["mountPath"]: volumes[mount["name"]] for mount in mounts if mount["name"] in volumes}
