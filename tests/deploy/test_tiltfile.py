"""The Tiltfile, evaluated: it deploys all services to a local cluster alone, and changed code gets into them."""

import contextlib
import functools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.bus import until
from tests.conftest import ROOT
from tests.deploy import given, pods
from tests.deploy.rendering import Manifest, kustomize, overlay, templates, the
from tests.deploy.tilt import MANUAL, Tilt, TiltError

from aegis.cli.main import parser
from aegis.cli.state import SERVICES
from aegis.ingest.service import IngestSettings

TEXT = (ROOT / "Tiltfile").read_text()


@functools.cache
def _rendered(folder: Path) -> str:
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluated(text: str = TEXT, context: str = "kind-aegis") -> Tilt:
    tilt = Tilt(context, _rendered)
    tilt.evaluate(text)
    return tilt


@functools.cache
def tilt() -> Tilt:
    return evaluated()


def service(name: str) -> Manifest:
    """Give the pods of a service as Tilt deploys them."""
    found: Manifest = dict(tilt().workloads())[name]
    return found


def test_every_service_is_a_resource_after_the_bus_after_its_secrets() -> None:
    resources = tilt().resources
    assert {*SERVICES, "nats"} == set(dict(tilt().workloads()))
    for name in SERVICES:
        assert resources[name].after == ["nats"]
    assert resources["nats"].after == ["secrets"]
    assert {name: resource.labels[0] for name, resource in resources.items()} == {
        **dict.fromkeys(("secrets", "nats"), "bus"),
        **dict.fromkeys(("ingest", "detect", "embed", "match"), "pipeline"),
        **dict.fromkeys(("notify", "registry", "seed"), "people"),
        "test": "checks",
    }


def test_what_it_deploys_is_the_overlay_dev_but_for_code_that_can_be_changed() -> None:
    here = {f"{m['kind']}/{m['metadata']['name']}": m for m in tilt().manifests}
    there = {f"{m['kind']}/{m['metadata']['name']}": m for m in overlay("dev")}
    assert here.keys() == there.keys()
    assert {name for name, manifest in there.items() if here[name] != manifest} == {f"Deployment/{s}" for s in SERVICES}
    assert not pods.problems(tuple(tilt().manifests))
    for name in SERVICES:
        container = service(name)["containers"][0]
        plain = the(overlay("dev"), "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        assert container["command"][-len(plain["command"]) :] == plain["command"]


def test_the_ports_that_it_forwards_are_those_of_the_manifests() -> None:
    forwarded = {name: {f.container for f in r.forwards} for name, r in tilt().resources.items() if r.forwards}
    declared = {
        name: {port["containerPort"] for container in pod["containers"] for port in container.get("ports", [])}
        for name, pod in tilt().workloads()
    }
    # ingest listens for browsers on its own loopback, where a forwarded port arrives.
    whip = IngestSettings.__dataclass_fields__["whip_port"].default
    declared["ingest"].add(whip)
    assert whip in forwarded["ingest"]
    for name, ports in forwarded.items():
        assert ports <= declared[name], name
    assert {4222, 8222} == forwarded["nats"]
    assert all(8080 in forwarded[name] for name in SERVICES)


def test_saved_files_go_where_the_services_read_their_code_and_leave_the_bus_alone() -> None:
    images = tilt().images
    assert {container["image"] for _, pod in tilt().workloads() for container in pod["containers"]} == {
        "aegis:dev",
        "aegis-live",
    }
    assert images["aegis"] == []
    assert tilt().resources["nats"].trigger_mode == MANUAL
    synchronised = [step.arguments for step in images["aegis-live"] if step.kind == "sync"]
    assert {local for local, _ in synchronised} == {"services/aegis", "shared/aegis"}
    for name in SERVICES:
        pod, container = service(name), service(name)["containers"][0]
        writable = {
            m["mountPath"]
            for m in container["volumeMounts"]
            for v in pod["volumes"]
            if v["name"] == m["name"] and "emptyDir" in v
        }
        assert given.environment((), container | {"envFrom": []})["PYTHONPATH"] in writable
        for local, remote in synchronised:
            assert (ROOT / local).is_dir()
            assert (remote.removesuffix("/aegis"), local.rpartition("/")[2]) == (
                given.environment((), container | {"envFrom": []})["PYTHONPATH"],
                "aegis",
            )


@pytest.mark.parametrize("context", ["gke_school_production", "prod", "", "arn:aws:eks:x", "production-kind-1"])
def test_it_refuses_any_cluster_that_does_not_look_local(context: str) -> None:
    with pytest.raises(TiltError, match="does not look like a cluster of this machine"):
        evaluated(context=context)


@pytest.mark.parametrize("context", ["kind-aegis", "k3d-x", "minikube", "docker-desktop", "rancher-desktop"])
def test_a_local_cluster_is_taken_and_commands_go_to_it_alone(context: str) -> None:
    found = evaluated(context=context)
    for resource in found.resources.values():
        calls = re.findall(r"kubectl (.*)", resource.command)
        assert all(call.startswith(f"--context {context} --namespace aegis ") for call in calls)
    assert not [name for name in found.allowed if "prod" in name]


def test_buttons_wait_until_they_are_pressed_and_their_commands_are_ours() -> None:
    resources = tilt().resources
    for name in ("seed", "test"):
        assert (resources[name].trigger_mode, resources[name].auto_init) == (MANUAL, False)
    assert resources["secrets"].auto_init
    for name in ("seed", "secrets", "test"):
        assert not subprocess.run(["sh", "-n", "-c", resources[name].command], check=False).returncode
    calls = re.findall(r"\.venv/bin/aegis ([^|&\n]+)", resources["secrets"].command + resources["seed"].command)
    assert len(calls) == 3
    for call in calls:
        words = [word.strip("'\"") for word in re.findall(r"'[^']*'|\S+", call)]
        parser().parse_args(words)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make (\S+)", resources["test"].command)) <= set(targets)
    for path in re.findall(r"tests/\S+", resources["test"].command):
        assert (ROOT / path).is_dir()


def test_the_secrets_are_those_that_the_pods_want(tmp_path: Path) -> None:
    """The command itself, but for the cluster, which here takes what it is given."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\necho "$@" >> $CALLS\n[ "$5" = create ] && echo \'kind: Namespace\' || cat > /dev/null\n'
    )
    kubectl.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    command = tilt().resources["secrets"].command.replace("var/dev", str(tmp_path / "dev"))
    subprocess.run(["sh", "-c", command], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, check=True, timeout=60)
    assert "apply --kustomize" in (tmp_path / "calls").read_text()
    made = {
        line.split(": ")[1] for line in kustomize(tmp_path / "dev").stdout.splitlines() if line.startswith("  name: ")
    }
    wanted = {
        volume["secret"]["secretName"]
        for template in templates(tilt().manifests).values()
        for volume in template["spec"]["volumes"]
        if "secret" in volume
    }
    assert wanted <= made


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield process
        finally:
            process.kill()


PROBE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("{}", flush=True)
time.sleep(60)
"""


async def test_a_service_takes_on_changed_code_and_ends_as_it_would(tmp_path: Path) -> None:
    """The command of a pod and that of an update, in folders of this machine, on code compiled as in the image."""
    app, live = tmp_path / "app", tmp_path / "live"
    (app / "aegis").mkdir(parents=True)
    live.mkdir()
    (app / "aegis" / "probe.py").write_text(PROBE.format("before"))
    compiled = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(app)]
    subprocess.run(compiled, check=True)

    def here(text: str) -> str:
        return text.replace("/opt/aegis/app", str(app)).replace("/live", str(live))

    *shell, _, _, _ = service("match")["containers"][0]["command"]
    program = ["env", f"PYTHONPATH={live}", "python3", "-B", "-m", "aegis.probe"]
    log = tmp_path / "log"
    update = next(step.arguments[0] for step in tilt().images["aegis-live"] if step.kind == "run")
    with running([*map(here, shell), *program], log) as pod:
        await until(lambda: "before" in log.read_text(), "it runs")
        (live / "aegis" / "probe.py").write_text(PROBE.format("after"))
        subprocess.run(["sh", "-c", here(update)], check=True)
        await until(lambda: "after" in log.read_text(), "it runs the changed code")
        pod.send_signal(signal.SIGTERM)
        assert pod.wait(10) == 7
    with running([*map(here, shell), *program], log) as pod:
        await until(lambda: "after" in log.read_text(), "what was changed outlives a restart of the container")


BREAKS: dict[str, Callable[[str], str]] = {
    "is no list[str]": lambda text: text.replace("resource_deps=['nats']", "resource_deps='nats'"),
    "unexpected keyword argument": lambda text: text.replace("auto_init=False", "autoinit=False"),
    "which is no resource": lambda text: text.replace("resource_deps=['secrets']", "resource_deps=['keys']"),
    "there is no workload": lambda text: text.replace("'match':", "'matching':"),
    "is forwarded twice": lambda text: text.replace("8082", "8081"),
    "is built and nowhere used": lambda text: text.replace("service['image'] = 'aegis-live'", "pass"),
    "is no file": lambda text: text.replace("deploy/Dockerfile", "Dockerfile"),
    "not a valid directory": lambda text: text.replace("OVERLAY = 'deploy", "OVERLAY = 'deployed"),
    "not found": lambda text: text + "\nk8s_resources('match')\n",
    "taken for the path": lambda text: text.replace("k8s_yaml(encode_yaml_stream(", "k8s_yaml(str("),
    "must enable f-strings": lambda text: text + "\nx = f'{KEYS}'\n",
}


@pytest.mark.parametrize("problem", BREAKS)
def test_a_broken_tiltfile_is_seen(problem: str) -> None:
    broken = BREAKS[problem](TEXT)
    assert broken != TEXT
    with pytest.raises((TiltError, AssertionError)) as raised:
        evaluated(broken)
    assert problem in str(raised.value)
