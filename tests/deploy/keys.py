"""Which keys and other secrets a pod is given."""

from collections.abc import Iterator

from tests.deploy.rendering import Manifest, containers

KEY = "aegis-key-"


def secrets(template: Manifest) -> Iterator[tuple[str, str]]:
    """Give each secret that a pod refers to, with the one key that it names or nothing."""
    for volume in template["spec"].get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        for secret in (source["secret"] for source in sources if "secret" in source):
            name = secret.get("secretName") or secret["name"]
            yield from ((name, item["key"]) for item in secret.get("items", [{"key": ""}]))
    for container in containers(template):
        yield from ((e["secretRef"]["name"], "") for e in container.get("envFrom", []) if "secretRef" in e)
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]


def roles(template: Manifest) -> set[str]:
    """Give the roles on the bus for which a pod has the key."""
    return {name.removeprefix(KEY) for name, _ in secrets(template) if name.startswith(KEY)}
