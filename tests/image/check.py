"""Try a built image: ``python -m tests.image.check IMAGE``, as root, with buildah.

Everything runs from inside the image with a read-only root: nats-server, the declaration of the streams, every service.
"""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.image.container import USER, Container, buildah

from aegis.cli.state import HOLDS_SITE_KEY, KNOWS_SECRETS, SERVICES
from aegis.runtime import bus_server, sealing
from aegis.runtime.bus_server import BusServer
from aegis.runtime.models import load_cards

PATIENCE_S = 60.0
SITE = "site: {id: test-site, name: Test site, kind: venue, jurisdiction: US-PA, state: armed}\n"
MODULES = """
from importlib.metadata import distributions
for found in distributions():
    print(found.metadata["Name"] + "==" + found.version)
"""
LOADED = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(f"aegis.{name}.service")
specs = [m.__spec__ for m in sys.modules.values() if (getattr(m, "__file__", None) or "").endswith(".py")]
read = [spec for spec in specs if spec and spec.origin != "frozen"]
print(*(spec.name for spec in read if not os.path.exists(spec.cached or "")))
"""
Listing = dict[str, tuple[int, int, int]]


def say(text: str) -> None:
    print(f"== {text}", flush=True)  # noqa: T201  progress is what it is for


def listing(root: Path) -> Listing:
    """Give mode, size and time of every file outside /tmp."""
    found: Listing = {}
    for path in walk(root):
        status = path.lstat()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in {"tmp", "proc", "sys", "dev"}]
        yield from (Path(folder, name) for name in (*folders, *files))


def check_description(container: Container) -> None:
    config = container.config
    assert config["User"] == f"{USER}:{USER}", config["User"]
    assert not config.get("Entrypoint"), config["Entrypoint"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"], labels
    layers = [layer["size"] for layer in json.loads(container.description["Manifest"])["layers"]]
    say(f"{sum(layers) / 1e6:.0f} MB in layers of {', '.join(f'{size / 1e6:.1f}' for size in layers)} MB")
    for file, key in (("setuid", stat.S_ISUID | stat.S_ISGID), ("others may write", stat.S_IWOTH)):
        statuses = ((path, path.lstat()) for path in walk(container.root))
        wrong = [path for path, s in statuses if s.st_mode & key and stat.S_ISREG(s.st_mode)]
        assert not wrong, (file, wrong)
    mine = [path for path in walk(container.root) if path.lstat().st_uid == USER or path.lstat().st_gid == USER]
    assert not mine, mine
    say("no file is setuid, setgid, the services' own or anybody's")


def check_commands(container: Container) -> None:
    version = container.config["Labels"]["org.opencontainers.image.version"]
    told = buildah("run", "--user", f"{USER}:{USER}", container.name, "--", "aegis", "--version")
    assert told == f"aegis {version}", told
    for command in (["aegis", "--help"], ["nats-server", "--version"], ["aegis", "models", "verify"]):
        code, output = container.run(*command)
        assert code == 0, (command, output)
        say(f"{' '.join(command)}: {output.splitlines()[-1][:100]}")
    for python in ("/usr/bin/env", "/opt/aegis/venv/bin/python"):
        words = ["python3"] if python == "/usr/bin/env" else []
        for module in ("pip", "setuptools", "ensurepip"):
            code, output = container.run(python, *words, "-c", f"import {module}")
            assert code == 1, (python, module)
            assert "No module named" in output, output
    installers = [
        path for path in walk(container.root) if path.name.startswith(("pip", "setuptools")) and path.suffix == ".whl"
    ]
    assert not installers, installers
    code, output = container.run("touch", "/opt/aegis/app/x")
    assert code != 0, "the root can be written"
    say(f"no pip, no setuptools; {output}")
    code, output = container.run("python", "-c", LOADED, *SERVICES)
    assert (code, output) == (0, ""), f"not compiled: {output}"
    say("all that the services import is compiled")
    for provider in container.root.glob("opt/aegis/venv/lib/*/site-packages/onnxruntime/capi/*_cuda.so"):
        code, output = container.run("ldd", f"/{provider.relative_to(container.root)}")
        assert code == 0, output
        assert "not found" not in output, output
        say(f"the loader finds all {output.count('=>')} libraries of {provider.name}")


def check_bill(container: Container) -> None:
    share = container.root / "opt/aegis/share"
    bill = json.loads((share / "sbom.cdx.json").read_text())
    named = {(component["name"], component.get("version")) for component in bill["components"]}
    code, output = container.run("python", "-c", MODULES)
    installed = {(name, version) for name, version in (line.split("==") for line in output.splitlines())}
    assert code == 0, output
    assert installed, output
    assert installed <= named, installed - named
    hashes = {c["name"]: c["hashes"][0]["content"] for c in bill["components"] if c["type"] == "machine-learning-model"}
    cards = load_cards().values()
    for card in cards:
        data = (container.root / "opt/aegis/models" / card.file).read_bytes()
        assert hashes[card.id] == hashlib.sha256(data).hexdigest() == card.sha256, card.id
    owed = {*(f"{name}-{version}" for name, version in installed), *(card.id for card in cards)}
    empty = [name for name in owed if not any(file.stat().st_size for file in (share / "licences" / name).iterdir())]
    assert not empty, empty
    inner = sum(len(component.get("components", ())) for component in bill["components"])
    say(f"the bill names {len(named)} components and {inner} inside them; {len(owed)} licences")


def check_services(container: Container) -> None:
    """Start the bus and every service, ask each service's probes, and end it."""
    bus = secrets(container.shared)
    server = container.start(["nats-server", "-c", str(bus.config)], log=container.shared / "nats-server.log")
    reached = {"AEGIS_BUS_URL": bus.url, "AEGIS_BUS_CA": str(bus.ca)}
    code, output = container.run(
        *("aegis", "cluster", "declare", "--replicas", "1", "--wait", "20"),
        environ={**reached, "AEGIS_KEY_FILE": str(bus.key("admin"))},
    )
    assert code == 0, output
    say(f"nats-server and aegis cluster declare: {output}")
    running: dict[str, subprocess.Popen[bytes]] = {}
    for service in SERVICES:
        environ = {**reached, "AEGIS_KEY_FILE": str(bus.key(service)), "AEGIS_REPLICA": f"{service}-0"}
        if service in HOLDS_SITE_KEY:
            environ["AEGIS_SITE_KEY_FILE"] = str(container.shared / "site.key")
        if service in KNOWS_SECRETS:
            environ["AEGIS_SITE_FILE"] = str(container.shared / "site.yaml")
        # All services share this machine's addresses, where in a cluster each has its own.
        port = bus_server.free_port()
        environ["AEGIS_HTTP_PORT"] = str(port)
        started = time.monotonic()
        process = running[service] = container.start(
            ["python", "-m", f"aegis.{service}"], environ, container.shared / f"{service}.log"
        )
        await_ready(process, port, container.shared / f"{service}.log")
        ready = time.monotonic() - started
        assert get(port, "livez") == (200, "ok\n")
        code, metrics = get(port, "metrics")
        assert code == 200, metrics
        assert "aegis_" in metrics, metrics
        say(f"{service}: ready in {ready:.1f} s; livez, readyz and metrics ({len(metrics.splitlines())} lines) answer")
    for service, process in running.items():
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)
        assert code == 0, (service, code, (container.shared / f"{service}.log").read_text())
    say("SIGTERM ends every service with code 0")
    server.send_signal(signal.SIGTERM)
    say(f"nats-server ends with code {server.wait(timeout=10)}")


def secrets(folder: Path) -> BusServer:
    """Write keys, certificates and site file as a cluster mounts its Secrets: root's, and readable to the group."""
    bus = bus_server.prepare(folder / "bus")
    (folder / "site.yaml").write_text(SITE)
    sealing.load_or_create(folder / "site.key")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, USER)
        path.chmod(0o750 if path.is_dir() else 0o440)
    for path in (bus.directory, bus.directory / "jetstream"):
        os.chown(path, USER, USER)
    return bus


def await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while get(port, "readyz")[0] != 200:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def get(port: int, path: str) -> tuple[int, str]:
    """Ask a probe; gives 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def main(image: str) -> None:
    started = time.monotonic()
    # Below /tmp, which the container has an own of.
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary, Container(image, Path(temporary)) as container:
        check_description(container)
        check_commands(container)
        check_bill(container)
        before = listing(container.root)
        check_services(container)
        changed = {path for path, _ in before.items() ^ listing(container.root).items()}
        assert not changed, changed
    say(f"nothing outside /tmp was written; {image} is good, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
