"""The site file (``site.yaml``): read and checked before anything starts, every error with its line.

``${NAME}`` in a text is the environment variable NAME, so that no secret need stand in the file. Each section is
read by the service that needs it: the registry takes site, cameras, categories and calibration, notify its own, ingest
``whip``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import yaml

from aegis.contracts.messages import AddCamera, SiteRecord, SiteState
from aegis.contracts.subjects import MOST_EDGES
from aegis.contracts.telling import Telling
from aegis.runtime import site_addresses, site_categories, site_notify, site_telling
from aegis.runtime.site_categories import Calibration
from aegis.runtime.site_notify import NotifyConfig
from aegis.runtime.yaml_section import Section, Values

KINDS = ("demo", "k12-school", "university", "hospital", "venue", "workplace")
REFUSED = {
    ("k12-school", "US-NY"): "New York's K-12 schools may not use facial recognition (State Technology Law § 106-b)",
}
CAMERA_SCHEMES = ("file", "rtsp", "rtsps", "usb", "whip")

T = TypeVar("T")


class SiteFileError(ValueError):
    """What is wrong with the site file, one sentence each, with the line."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}{problem}" for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhipConfig:
    """Where browsers and phones deliver video; anything but a loopback address is served over TLS."""

    host: str = "127.0.0.1"
    port: int = 8480


class SiteFile:
    """A parsed file. Make one with :func:`read`; each section is checked when it is asked for."""

    def __init__(self, path: Path, tree: Section, environ: Mapping[str, str]) -> None:
        self.path = path
        self._tree = tree
        self._values = Values(environ)

    def check(self, *, pods: bool = False) -> None:
        """Read every section and the files that they name; with ``pods`` these are in pods, and only named.

        Raises:
            SiteFileError: with all that is wrong.

        """
        for section in (self._site, self._cameras, self._telling, self._whip, self._mqtt):
            section()
        self._calibration(pods=pods)
        site_notify.check_files(self._tree, self._values, pods=pods)
        self._raise()

    def site(self) -> SiteRecord:
        return self._checked(self._site())

    def cameras(self) -> tuple[AddCamera, ...]:
        return self._checked(self._cameras())

    def calibration(self) -> Calibration:
        return self._checked(self._calibration())

    def notify(self) -> NotifyConfig:
        return self._checked(self._notify())

    def telling(self) -> Telling:
        return self._checked(self._telling())

    def whip(self) -> WhipConfig:
        return self._checked(self._whip())

    def mqtt(self) -> tuple[str, int] | None:
        """Give the address and port on which the bus listens for MQTT, if it does."""
        return self._checked(self._mqtt())

    def _checked(self, value: T) -> T:
        self._raise()
        return value

    def _raise(self) -> None:
        if self._values.problems:
            problems, self._values.problems = sorted(set(self._values.problems), key=_line), []
            raise SiteFileError(self.path, problems)

    def _site(self) -> SiteRecord:
        self._tree.only(
            "site", "cameras", "categories", "calibration", "notify", "whip", "mqtt", problems=self._values.problems
        )
        site = self._tree.map("site", self._values.problems)
        site.only("id", "name", "kind", "jurisdiction", "state", problems=self._values.problems)
        identity = self._values.token(site, "id", "site")
        kind = self._values.choice(site, "kind", KINDS, "")
        jurisdiction = self._values.text(site, "jurisdiction", "")
        if reason := REFUSED.get((kind, jurisdiction.upper())):
            self._values.problem(site.line_of("jurisdiction"), f"refused: {reason}")
        default = SiteState.ARMED if kind == "demo" else SiteState.DISARMED
        state = self._values.choice(site, "state", tuple(s.value for s in SiteState), default.value)
        return SiteRecord(
            id=identity or "site",
            name=self._values.text(site, "name", identity),
            kind=kind or "demo",
            jurisdiction=jurisdiction,
            state=SiteState(state) if state else default,
            categories=site_categories.categories(self._tree, self._values),
        )

    def _calibration(self, *, pods: bool = False) -> Calibration:
        return site_categories.calibration(self._tree, self._values, None if pods else self.path.parent)

    def _cameras(self) -> tuple[AddCamera, ...]:
        found: dict[str, AddCamera] = {}
        for body in self._tree.maps("cameras", self._values.problems):
            body.only("id", "url", "name", "fps", "loop", "transport", "token", "edge", problems=self._values.problems)
            identity = self._values.token(body, "id", "camera")
            if identity in found:
                self._values.problem(body.line, f"camera {identity!r} stands twice")
            url = self._values.text(body, "url")
            try:
                url = check_camera_url(url, self.path.parent) if url else url
            except ValueError as error:
                self._values.problem(body.line_of("url"), f"camera {identity!r}: {error}")
            token = self._values.text(body, "token", "")
            if url.startswith("whip:") and not token:
                self._values.problem(body.line, f"camera {identity!r}: a whip camera needs token: ${{SOME_VARIABLE}}")
            found[identity] = AddCamera(
                camera=identity or "unknown",
                url=url,
                name=self._values.text(body, "name", identity),
                fps=self._values.number(body, "fps", 5.0, 0.1, 30.0),
                loop=self._values.flag(body, "loop"),
                transport=self._values.choice(body, "transport", ("tcp", "udp"), "tcp"),
                token=token,
                edge=self._values.token(body, "edge", "edge") if "edge" in body else "",
            )
        edges = {camera.edge for camera in found.values() if camera.edge}
        if len(edges) > MOST_EDGES:
            self._values.problem(0, f"cameras: there can be {MOST_EDGES} edges, not {len(edges)}")
        return tuple(found.values())

    def _notify(self) -> NotifyConfig:
        return site_notify.read(self._tree, self._values, pictures=self._site().kind == "demo")

    def _telling(self) -> Telling:
        # Their ids alone: whoever tells needs no address of a camera, and may not know its password.
        bodies = self._tree.maps("cameras", self._values.problems)
        cameras = [str(body.value("id")) for body in bodies if "id" in body]
        return site_telling.read(self._tree, self._values, self._notify(), self._site().categories, cameras)

    def _whip(self) -> WhipConfig:
        if "whip" not in self._tree:
            return WhipConfig()
        whip = self._tree.map("whip", self._values.problems)
        whip.only("listen", problems=self._values.problems)
        place = site_addresses.listen(self._values, whip)
        return WhipConfig(host=place[0], port=place[1]) if place else WhipConfig()

    def _mqtt(self) -> tuple[str, int] | None:
        if "mqtt" not in self._tree:
            return None
        mqtt = self._tree.map("mqtt", self._values.problems)
        mqtt.only("listen", problems=self._values.problems)
        return site_addresses.listen(self._values, mqtt)


def check_camera_url(url: str, folder: Path) -> str:
    """Check a camera's address and make a file's absolute, seen from ``folder``.

    Raises:
        ValueError: saying what is wrong with it; never with a password in the text.

    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may hold the password
        raise ValueError("this is not an address; write [ ] / @ of a password as %5B %5D %2F %40") from None
    if parts.scheme not in CAMERA_SCHEMES:
        expected = ", ".join(f"{scheme}:" for scheme in CAMERA_SCHEMES)
        raise ValueError(
            f"an address begins with one of {expected}, not with {parts.scheme or 'nothing'}; a file is file:PATH"
        )
    if parts.scheme == "file":
        name = url.removeprefix("file://").removeprefix("file:")
        if not name:
            raise ValueError("file: is followed by a path")
        return f"file:{(folder / name).resolve()}"
    if parts.scheme.startswith("rtsp"):
        _check_host(parts)
    if parts.scheme == "usb" and not parts.path:
        raise ValueError("usb: is followed by a device, as in usb:/dev/video0 or usb:0")
    return url


def _check_host(parts: SplitResult) -> None:
    if not parts.hostname:
        raise ValueError("rtsp:// is followed by a host")
    try:
        _ = parts.port
    except ValueError:  # whose text may hold a piece of the password
        raise ValueError("its port is no number to 65535; write / and # of a password as %2F and %23") from None


def _line(problem: str) -> tuple[int, str]:
    return int(problem.split(":", 2)[1]), problem


def read(path: Path, environ: Mapping[str, str]) -> SiteFile:
    """Parse a site file.

    Raises:
        SiteFileError: it cannot be read or is not YAML.

    """
    try:
        node = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except OSError as error:
        raise SiteFileError(path, [f": {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # The whole text would quote the line, in which a password may stand.
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is nested too deeply"
        raise SiteFileError(path, [f":{mark.line + 1 if mark else 1}: not YAML: {problem}"]) from None
    if not isinstance(node, yaml.MappingNode):
        raise SiteFileError(path, [":1: a map with site, cameras, categories, notify is expected"])
    return SiteFile(path, Section(node), environ)
