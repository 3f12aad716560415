"""A network of one machine's own: every process in a namespace with an address, on a bridge, behind a link of its own.

What an earlier run left behind because it was killed is swept away before the next one. It takes root, Debian's
iproute2 and /dev/net/tun.
"""

import contextlib
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "aegis-test"
LINK = "ae"
HOSTS = Path("/etc/netns")


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace: a machine as those in it see it."""

    name: str
    namespace: str
    address: str
    link: str
    """Its end of the cable that is plugged into the bridge."""


def missing() -> str:
    """Say why namespaces cannot be made here, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a cluster in network namespaces needs root on Linux"
    if absent := [tool for tool in ("ip", "setpriv") if shutil.which(tool) is None]:
        return f"{' and '.join(absent)} (Debian's iproute2 and util-linux) cannot be found"
    return "" if Path("/dev/net/tun").exists() else "/dev/net/tun is missing"


class Network:
    """The bridge and the hosts on it; the test itself is the host of address ``gateway``."""

    def __init__(self) -> None:
        self._mark = os.getpid()
        self._bridge = f"{LINK}{self._mark}-br"
        self._subnet = _free_subnet()
        self._slowed: dict[str, subprocess.Popen[bytes]] = {}
        self.gateway = str(self._subnet[1])
        self.hosts: dict[str, Host] = {}

    @contextlib.contextmanager
    def up(self) -> Iterator["Network"]:
        """Have the network until the block is left."""
        sweep()
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{self.gateway}/{self._subnet.prefixlen}", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            yield self
        finally:
            for slowed in list(self._slowed):
                self.mend(slowed)
            _clear(self._mark)

    def add(self, name: str) -> Host:
        """Make a host, or give the one of this name."""
        if name in self.hosts:
            return self.hosts[name]
        number = len(self.hosts) + 2
        host = Host(name, f"{PREFIX}-{self._mark}-{name}", str(self._subnet[number]), f"{LINK}{self._mark}-{number}")
        _ip("netns", "add", host.namespace)
        _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _ip("link", "set", host.link, "master", self._bridge, "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/{self._subnet.prefixlen}", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", host.namespace, "link", "set", device, "up")
        self.hosts[name] = host
        return host

    def name_hosts(self, names: Mapping[str, str]) -> None:
        """Have every host know others by name: its processes see this as their ``/etc/hosts``."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        for host in self.hosts.values():
            (HOSTS / host.namespace).mkdir(parents=True, exist_ok=True)
            (HOSTS / host.namespace / "hosts").write_text("\n".join(lines) + "\n")

    def run(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        """Start a process on a host. It is this process's child, by its own pid, and ends with it."""
        inside = ["ip", "netns", "exec", self.hosts[name].namespace, "setpriv", "--pdeathsig", "KILL"]
        with log.open("ab") as output:
            return subprocess.Popen([*inside, *command], env=environ, stdout=output, stderr=output)

    def cut(self, name: str) -> None:
        """Pull the cable: nothing goes in or out, and nobody is told."""
        _ip("link", "set", self.hosts[name].link, "nomaster")

    def cut_between(self, name: str, others: Sequence[str]) -> None:
        """Have nothing come through to some others, while all the rest is reached."""
        for other in others:
            _ip("-n", self.hosts[name].namespace, "route", "add", "blackhole", self.hosts[other].address)

    def slow(self, name: str, delay: float, jitter: float, loss: float, seed: int) -> None:
        """Delay every packet in both directions by seconds, in their order, and lose a share of them."""
        host = self.hosts[name]
        tap = f"{host.link}t"
        _ip("tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
        _ip("link", "set", host.link, "nomaster", "promisc", "on")
        relay = [sys.executable, str(Path(__file__).with_name("slow_link.py")), host.link, tap]
        numbers = map(str, (delay, jitter, loss, seed))
        self._slowed[name] = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *relay, *numbers])
        _ip("link", "set", tap, "master", self._bridge, "up")

    def mend(self, name: str) -> None:
        """Undo all of the above."""
        host = self.hosts[name]
        if relay := self._slowed.pop(name, None):
            relay.kill()
            relay.wait()
            _ip("link", "del", f"{host.link}t")
            _ip("link", "set", host.link, "promisc", "off")
        _ip("-n", host.namespace, "route", "flush", "type", "blackhole")
        _ip("link", "set", host.link, "master", self._bridge)


def sweep() -> None:
    """Remove what runs left behind that were killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    marks = {int(name.split("-")[2]) for name in listed if name.startswith(f"{PREFIX}-")}
    for link in Path("/sys/class/net").glob(f"{LINK}*-br"):
        marks.add(int(link.name.removeprefix(LINK).removesuffix("-br")))
    for mark in marks:
        if not Path(f"/proc/{mark}").exists():
            _clear(mark)


def _clear(mark: int) -> None:
    for path in Path("/run/netns").glob(f"{PREFIX}-{mark}-*"):
        pids = subprocess.run(["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False).stdout
        for pid in pids.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", path.name], check=False)
        shutil.rmtree(HOSTS / path.name, ignore_errors=True)
    # Those whose other end went with its namespace are gone already.
    for link in Path("/sys/class/net").glob(f"{LINK}{mark}-*"):
        subprocess.run(["ip", "link", "del", link.name], stderr=subprocess.DEVNULL, check=False)


def _free_subnet() -> ipaddress.IPv4Network:
    taken = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    numbers = (os.getpid() + more for more in range(200))
    return next(
        ipaddress.IPv4Network(f"10.83.{number % 200}.0/24")
        for number in numbers
        if f" 10.83.{number % 200}." not in taken
    )


def _ip(*words: str) -> None:
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"ip {' '.join(words)}: {result.stderr.strip()}")
