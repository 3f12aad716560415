"""What every pod must be: restricted, with requests and a memory limit, and with time enough to end in order."""

import re
from collections.abc import Iterable, Iterator

from tests.deploy.rendering import Manifest, containers, of_kind, templates

from aegis.runtime.service import STOP_SECONDS

USER = 10001
PRIORITY = "aegis-alerting"
LAME_DUCK = 120.0
"""Seconds, where nats-server is told nothing else."""
ADDED = {"coturn": ["NET_BIND_SERVICE"]}
"""What a container keeps of the capabilities, where its image's program does not start without."""
LONG_RUNNING = ("Deployment", "StatefulSet", "DaemonSet")


def problems(manifests: tuple[Manifest, ...]) -> list[str]:
    """Say all that is wrong with the pods of rendered manifests."""
    duck = _lame_duck(manifests)
    accounts = {account["metadata"]["name"] for account in of_kind(manifests, "ServiceAccount")}
    found = []
    for name, template in templates(manifests).items():
        told = [*_pod(template["spec"]), *_ends_in_time(template["spec"], duck)]
        if template["spec"].get("serviceAccountName") not in accounts:
            told.append("has no service account of its own")
        for container in containers(template):
            told += [*_container(container), *_room(container)]
        if name.startswith(LONG_RUNNING):
            told += [problem for c in template["spec"]["containers"] for problem in _probes(c)]
        found += [f"{name}: {problem}" for problem in told]
    return found


def _pod(spec: Manifest) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != USER:
        yield "runs as another user than the image's"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "has a token of the API server"
    if spec.get("priorityClassName") != PRIORITY:
        yield "is evicted as soon as batch work"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables from every Service"
    if any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the host's namespaces"
    if any(set(volume) & {"hostPath", "nfs"} for volume in spec.get("volumes", [])):
        yield "mounts what is not ours"
    for volume in spec.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{volume['name']} may fill the node"
        if "secret" in volume:
            # The services refuse a key that others can read; the group is the pod's own.
            if volume["secret"].get("defaultMode") != 0o440:
                yield f"{volume['name']} can be read by others"
            if context.get("fsGroup") != USER:
                yield f"{volume['name']} cannot be read by us"


def _container(container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may become more than it is"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its image"
    added = {"add": ADDED[container["name"]]} if container["name"] in ADDED else {}
    if context.get("capabilities") != {"drop": ["ALL"], **added}:
        yield "keeps capabilities"
    if context.get("runAsUser", USER) != USER:
        yield "runs as another user than the pod's"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the host"


def _room(container: Manifest) -> Iterator[str]:
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})):
        yield "does not say what it needs"
    if "memory" not in resources.get("limits", {}):
        yield "has no memory limit"
    if "cpu" in resources.get("limits", {}):
        yield "has a CPU limit, which costs latency"


def _probes(container: Manifest) -> Iterator[str]:
    declared = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if probe not in container:
            yield f"no {probe}"
        elif "httpGet" in container[probe] and container[probe]["httpGet"]["port"] not in declared:
            yield f"{probe} asks a port that is not declared"


def _ends_in_time(spec: Manifest, duck: float) -> Iterator[str]:
    grace = spec.get("terminationGracePeriodSeconds", 30)
    waits = any("preStop" in (container.get("lifecycle") or {}) for container in spec["containers"])
    if grace <= (duck if waits else 0) + STOP_SECONDS:
        yield "is killed before it has ended in order"


def _lame_duck(manifests: Iterable[Manifest]) -> float:
    """Give how long the bus may take to send its clients away."""
    files = [text for m in of_kind(manifests, "ConfigMap") for text in m["data"].values()]
    found = re.search(r'^lame_duck_duration: "(\d+)s"', "\n".join(files), re.MULTILINE)
    return float(found[1]) if found else LAME_DUCK
