"""The servers of a rendered overlay's bus as real processes on this machine, from the very configuration it deploys.

Only what a machine without a cluster cannot have is put in another's place: host names and ports, and the folders of
the volumes.
"""

import contextlib
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
from tests.bus import until
from tests.deploy import given
from tests.deploy.rendering import Manifest, containers, the

from aegis.cli.cluster import KEYS
from aegis.runtime import bus_server, certificates, topology
from aegis.runtime.bus import BusConfig

HEADLESS = r"nats-(\d)\.nats-headless\.aegis\.svc\.cluster\.local:6222"


def _free_ports() -> Iterator[int]:
    """Find ports that no server has, and that no outgoing connection is given: the servers make many.

    Each worker of a parallel run has ports of its own, as a server that is restarted leaves its port for a moment.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(20_000 + worker, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    for port in random.sample(ports, len(ports)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((bus_server.HOST, port))
            yield port


class BusCluster:
    """All servers of one overlay's StatefulSet."""

    def __init__(self, manifests: tuple[Manifest, ...], folder: Path, secrets: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._spec = the(manifests, "StatefulSet", "nats")["spec"]
        self._container = containers(self._spec["template"])[0]
        self._files: dict[str, str] = the(manifests, "ConfigMap", self._config_map())["data"]
        self._environ = given.environment(manifests, self._container, secrets or {})
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.size: int = self._spec["replicas"]
        free = _free_ports()
        self.ports = [{port: next(free) for port in (4222, 6222, 8222, 7422, 8883)} for _ in range(self.size)]
        certificates.issue(folder, "server", ["localhost"])
        self.mount(folder)
        self.nkeys = {topology.key_variable(role): bus_server.user_key(folder / f"{role}.nk") for role in KEYS}
        for number in range(self.size):
            self._write(number)

    def mount(self, secret: Path) -> None:
        """Have the servers find these certificates when they start, as with the Secret that is made of them."""
        for ours, theirs in (("server.pem", "tls.crt"), ("server.key", "tls.key"), ("ca.pem", "ca.crt")):
            (self.folder / theirs).write_bytes((secret / ours).read_bytes())

    def _config_map(self) -> str:
        volumes = {volume["name"]: volume for volume in self._spec["template"]["spec"]["volumes"]}
        name: str = volumes["config"]["configMap"]["name"]
        return name

    def _write(self, number: int) -> None:
        home = self.folder / f"nats-{number}"
        home.mkdir()
        for name, text in self._files.items():
            here = re.sub(HEADLESS, lambda found: f"localhost:{self.ports[int(found[1])][6222]}", text)
            for port, free in self.ports[number].items():
                here = here.replace(f'"0.0.0.0:{port}"', f'"127.0.0.1:{free}"')
            (home / name).write_text(self._folders(here, home))
        assert "0.0.0.0" not in "".join(path.read_text() for path in home.iterdir())

    def _folders(self, text: str, home: Path) -> str:
        """Put this machine's folders in the place of a pod's, all in one go, since ours may lie below theirs."""
        folders = {"/etc/aegis/bus-tls": self.folder, "/data": home / "data", "/tmp": home}  # noqa: S108 - a pod's own
        return re.sub(f'(?<=")({"|".join(folders)})', lambda found: str(folders[found[1]]), text)

    def _command(self, command: list[str], number: int) -> list[str]:
        """Put this machine's paths in the place of a pod's."""
        home = self.folder / f"nats-{number}"
        binary = bus_server.BusServer(self.folder, 0).command()[0]
        places = (("/etc/nats/", f"{home}/"), ("=/tmp/", f"={home}/"))
        changed = [binary, *command[1:]]
        for there, here in places:
            changed = [argument.replace(there, here) for argument in changed]
        return changed

    def start(self, number: int) -> None:
        environ = {**self._environ, **self.nkeys, "POD_NAME": f"nats-{number}"}
        with (self.folder / f"nats-{number}.log").open("ab") as log:
            command = self._command(self._container["command"], number)
            self._processes[number] = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def declare(self, command: list[str]) -> str:
        """Run the command by which a pod declares the streams, with the environment that this pod gives it."""
        port = self.ports[0][4222]
        places = {"/etc/aegis/bus-tls": self.folder, "/etc/aegis/key/key.nk": self.folder / "admin.nk"}
        environ = {name: value.replace(":4222", f":{port}") for name, value in self._environ.items()}
        for there, here in places.items():
            environ = {name: value.replace(there, str(here)) for name, value in environ.items()}
        program = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
        done = subprocess.run(program, env=os.environ | environ, capture_output=True, text=True, check=True)
        return done.stdout

    def lame_duck(self, number: int) -> int:
        """End a server as the kubelet does: what its preStop says, then SIGTERM at once. Gives the exit code."""
        subprocess.run(
            self._command(self._container["lifecycle"]["preStop"]["exec"]["command"], number), check=True, timeout=10
        )
        self._processes[number].terminate()
        return self._processes[number].wait(self._spec["template"]["spec"]["terminationGracePeriodSeconds"])

    def kill(self, number: int) -> None:
        self._processes[number].kill()
        self._processes[number].wait()

    def close(self) -> None:
        for number in self._processes:
            self.kill(number)

    async def asked(self, number: int, path: str) -> tuple[int, dict[str, object]]:
        """Ask a server's monitoring port; gives status 0 where nobody answers."""
        url = f"http://127.0.0.1:{self.ports[number][8222]}{path}"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError):
            return 0, {}

    async def passes(self, probe: str) -> None:
        """Wait until a probe of the manifest succeeds at every server that runs."""
        path = self._container[probe]["httpGet"]["path"]
        for number in self._processes:

            async def healthy(number: int = number) -> bool:
                return (await self.asked(number, path))[0] == 200

            log = self.folder / f"nats-{number}.log"
            await until(healthy, f"{probe} of nats-{number}: see {log}", patience=30)

    def config(self, role: str, number: int | None = None) -> BusConfig:
        """Tell how a role reaches one server, or any."""
        urls = [f"tls://localhost:{ports[4222]}" for ports in self.ports]
        return BusConfig(
            url=",".join(urls) if number is None else urls[number],
            ca=self.folder / "ca.crt",
            key=self.folder / f"{role}.nk",
            inbox=topology.inbox(role),
        )
