"""Where a system on one machine keeps its things, and how other commands find it.

The state directory holds everything but the site's key and the model files, which several systems may share.
"""

import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.runtime import topology
from aegis.runtime.bus import BusConfig
from aegis.runtime.bus_server import BusServer
from aegis.runtime.certificates import write_private

SERVICES = ("registry", "detect", "embed", "match", "notify", "ingest")
SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
SMALL_PICTURES = {"OPENCV_IO_MAX_IMAGE_PIXELS": str(2**25)}
"""A picture of a few bytes can be larger than the memory; no service needs one above 33 megapixels."""
KNOWS_SECRETS = ("registry", "notify")
"""Services that expand variables of the site file, and so inherit the whole environment."""
HOLDS_SITE_KEY = ("registry", "ingest", "match", "notify")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is this user's alone
HARMLESS = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


def _xdg(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "aegis"


def default_state() -> Path:
    return _xdg("XDG_STATE_HOME", ".local/state")


def site_key_file() -> Path:
    return Path(os.environ.get("AEGIS_SITE_KEY_FILE") or _xdg("XDG_CONFIG_HOME", ".config") / "site.key")


def models_dir() -> Path:
    return Path(os.environ.get("AEGIS_MODELS_DIR") or _xdg("XDG_DATA_HOME", ".local/share") / "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a running ``aegis up`` leaves for the other commands to find."""

    pid: int
    run: str
    port: int
    site_file: str
    whip_host: str
    whip_port: int

    @property
    def whip_public(self) -> bool:
        """Whether others than this machine can reach the WHIP server, which is then served over TLS."""
        return not ipaddress.ip_address(self.whip_host).is_loopback


class State:
    """A state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    @property
    def bus_directory(self) -> Path:
        return self.directory / "bus"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def frames(self) -> Path:
        """Where frames go from ingest to detect, in memory."""
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        return SHARED_MEMORY / f"aegis-{os.getuid()}-{name}"

    @property
    def whip(self) -> Path:
        return self.directory / "whip"

    @property
    def _running_file(self) -> Path:
        return self.directory / "running.json"

    def write_running(self, running: Running) -> None:
        write_private(self._running_file, json.dumps(asdict(running)).encode())

    def forget_running(self) -> None:
        self._running_file.unlink(missing_ok=True)

    def running(self) -> Running:
        """Read what runs here.

        Raises:
            CommandError: nothing does.

        """
        try:
            return Running(**json.loads(self._running_file.read_text()))
        except (OSError, ValueError, TypeError):
            raise CommandError(
                f"no system runs with the state directory {self.directory}; start one with: aegis up --config site.yaml"
                f" --state {self.directory}"
            ) from None

    def bus_config(self, key: Path | None, role: str = "operator") -> BusConfig:
        """Tell how to reach the bus of the running system, or the one that ``AEGIS_BUS_URL`` names."""
        if url := os.environ.get("AEGIS_BUS_URL"):
            ca, key_file = os.environ.get("AEGIS_BUS_CA"), key or os.environ.get("AEGIS_KEY_FILE")
            return BusConfig(
                url=url,
                ca=Path(ca) if ca else None,
                key=Path(key_file) if key_file else None,
                inbox=topology.inbox(role),
            )
        server = BusServer(self.bus_directory, self.running().port)
        return BusConfig(url=server.url, ca=server.ca, key=key or server.key(role), inbox=topology.inbox(role))


def service_environment(state: State, running: Running, service: str, replica: str = "0") -> Mapping[str, str]:
    """Give the environment of one service process."""
    server = BusServer(state.bus_directory, running.port)
    if service in KNOWS_SECRETS:
        inherited = dict(os.environ)
    else:
        inherited = {name: value for name, value in os.environ.items() if name in HARMLESS or name.startswith("AEGIS_")}
    for name in ("AEGIS_HTTP_PORT", "AEGIS_SITE_KEY_FILE"):
        inherited.pop(name, None)
    whip = {"AEGIS_WHIP_HOST": running.whip_host, "AEGIS_WHIP_PORT": str(running.whip_port if replica == "0" else 0)}
    if running.whip_public:
        whip |= {"AEGIS_WHIP_CERT": str(state.whip / "whip.pem"), "AEGIS_WHIP_KEY": str(state.whip / "whip.key")}
    return {
        **inherited,
        **SINGLE_THREAD,
        **SMALL_PICTURES,
        "AEGIS_BUS_URL": server.url,
        "AEGIS_BUS_CA": str(server.ca),
        "AEGIS_KEY_FILE": str(server.key(service)),
        "AEGIS_REPLICA": replica,
        "AEGIS_RUN": running.run,
        "AEGIS_SITE_FILE": running.site_file,
        **({"AEGIS_SITE_KEY_FILE": str(site_key_file())} if service in HOLDS_SITE_KEY else {}),
        "AEGIS_MODELS_DIR": str(models_dir()),
        "AEGIS_FRAMES_DIR": os.environ.get("AEGIS_FRAMES_DIR", str(state.frames)),
        "AEGIS_LOG_FILE": str(state.logs / f"{service}-{replica}.log"),
        **whip,
    }
