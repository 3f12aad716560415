# ruff: noqa: INP001 - a script of the image's build, in no package
"""Complete the bill of materials that cyclonedx-py made of the Python packages, and gather everything's licence.

Usage: bill.py PACKAGES.JSON /opt/aegis. Writes share/sbom.cdx.json and share/licences there. Ends the build where a
licence text is missing or the bill is not valid CycloneDX.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from aegis.runtime.models import ModelCard, load_cards

TEXTS = Path(__file__).with_name("licences")
"""Texts for what comes without its own: of a model by its id, else by the licence's SPDX id."""
LICENCE_FILE = re.compile(r"licen[cs]e|copying", re.IGNORECASE)
NOTICE_FILE = re.compile(r"licen[cs]e|copying|notice|authors|third[-_]?party|patents|copyright", re.IGNORECASE)
SPDX = {"License :: OSI Approved :: Apache Software License": "Apache-2.0"}
"""What some packages say instead of a licence's id."""
NO_TEXTS = {".py", ".pyc", ".so"}
FFMPEG = ("libavcodec", "libavdevice", "libavfilter", "libavformat", "libavutil", "libswresample", "libswscale")
GNU = ("libgmp", "libhogweed", "libnettle", "libunistring")
COPYLEFT = {
    **dict.fromkeys(FFMPEG, "LGPL-2.1-or-later"),
    **dict.fromkeys(GNU, "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libasound": "LGPL-2.1-or-later",
    "libgnutls": "LGPL-2.1-or-later",
    "libmp3lame": "LGPL-2.0-or-later",
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
}
"""Of the libraries inside wheels, those whose licence asks more than being named."""
LGPL_3 = b"license: LGPL version 3 or later"
"""What FFmpeg's libraries say where they were built with parts that ask for it."""

Component = dict[str, Any]


def main(packages: Path, root: Path) -> None:
    """Write the bill and the licences below ``root``/share."""
    bill: dict[str, Any] = json.loads(packages.read_text())
    installed = {
        normal(found.metadata["Name"]): found
        for found in distributions(path=[str(root / "app"), *map(str, root.glob("venv/lib/python*/site-packages"))])
    }
    for component in bill["components"]:
        distribution = installed.pop(normal(component["name"]))
        gather(component, distribution, root / "share" / "licences")
        if inside := [*libraries(distribution), *declared(distribution)]:
            component["components"] = inside
    if installed:
        sys.exit(f"not on the bill: {', '.join(sorted(installed))}")
    cards = load_cards().values()
    for card in cards:
        write(root / "share" / "licences" / card.id, {"LICENCE": f"{card.notice}\n\n{text_for(card.id, card.licence)}"})
    bill["components"] += [*map(model, cards), python(), nats_server(root), *debian()]
    own = next(component for component in bill["components"] if component["name"] == "aegis-watch")
    bill["metadata"]["component"] = {
        "type": "container",
        "name": "aegis",
        "version": own["version"],
        "bom-ref": "image",
    }
    text = json.dumps(bill, indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"not a valid bill of materials: {error}")
    (root / "share" / "sbom.cdx.json").write_text(text)


def normal(name: str) -> str:
    """Give a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def gather(component: Component, distribution: Distribution, folder: Path) -> None:
    """Copy a package's licence files, or the text of the licence that it declares."""
    files = [file for file in distribution.files or () if NOTICE_FILE.search(file.name) and file.suffix not in NO_TEXTS]
    texts = {
        "_".join(file.parts[1:]): Path(str(distribution.locate_file(file))).read_text(errors="replace")
        for file in files
    }
    if not any(LICENCE_FILE.search(file.name) for file in files):
        stated = [entry.get("license", {}) for entry in component.get("licenses", ())]
        ids = [SPDX.get(name, name) for one in stated if (name := one.get("id") or one.get("name"))]
        by = distribution.metadata["Author"] or distribution.metadata["Author-email"] or "its authors"
        texts["LICENCE"] = f"{component['name']} by {by}\n\n{text_for(component['name'], *ids)}"
    write(folder / f"{component['name']}-{component['version']}", texts)


def text_for(*names: str) -> str:
    """Give the first text that is here under one of these names."""
    for path in (TEXTS / f"{name}.txt" for name in names):
        if path.is_file():
            return path.read_text()
    sys.exit(f"no licence text for {names[0]} ({', '.join(names[1:]) or 'no licence declared'})")


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write files into a new directory."""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def libraries(distribution: Distribution) -> list[Component]:
    """List the shared libraries that a wheel brings in beside its own modules."""
    found: list[Component] = []
    for file in distribution.files or ():
        if not file.parts[0].endswith(".libs"):
            continue
        data = Path(str(distribution.locate_file(file))).read_bytes()
        name = re.split(r"-[0-9a-f]{8}|\.so", file.name)[0]
        entry = {"type": "library", "name": name, "bom-ref": f"{distribution.metadata['Name']}/{file}"}
        hashes = [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]
        spdx = "LGPL-3.0-or-later" if LGPL_3 in data else COPYLEFT.get(name)
        found.append({**entry, "hashes": hashes, **licence(spdx)})
    return found


def declared(distribution: Distribution) -> list[Component]:
    """List what a wheel's own bills of materials name inside it."""
    found: dict[str, Component] = {}
    for file in distribution.files or ():
        if "sboms" not in file.parts:
            continue
        for part in json.loads(file.read_text()).get("components", ()):
            kept = {key: part[key] for key in ("type", "name", "version", "purl", "licenses") if key in part}
            ref = f"{distribution.metadata['Name']}/{part['name']}@{part.get('version')}"
            if normal(part["name"]) != normal(distribution.metadata["Name"]):
                found[ref] = {**kept, "bom-ref": ref}
    return list(found.values())


def model(card: ModelCard) -> Component:
    """Describe a model by its card."""
    return {
        "type": "machine-learning-model",
        "name": card.id,
        "bom-ref": f"model/{card.id}",
        "description": card.notice,
        "hashes": [{"alg": "SHA-256", "content": card.sha256}],
        **licence(card.licence),
    }


def python() -> Component:
    """Describe the interpreter, which is the base image's."""
    return {
        "type": "platform",
        "name": "python",
        "bom-ref": "python",
        "version": platform.python_version(),
        **licence("PSF-2.0"),
    }


def nats_server(root: Path) -> Component:
    """Describe the bus, a Go program inside a Python package."""
    command = [str(root / "venv/bin/nats-server"), "--version"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own server
    version = re.search(r"v\d\S*", output)
    if version is None:
        sys.exit("nats-server does not tell its version")
    purl = f"pkg:golang/github.com/nats-io/nats-server/v2@{version.group()}"
    return {
        "type": "application",
        "name": "nats-server",
        "bom-ref": purl,
        "purl": purl,
        "version": version.group(),
        **licence("Apache-2.0"),
    }


def debian() -> list[Component]:
    """List the base's packages, where it is a Debian; their licences stand in /usr/share/doc."""
    status = Path("/var/lib/dpkg/status")
    found: list[Component] = []
    for paragraph in status.read_text().split("\n\n") if status.exists() else ():
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        if fields.get("Status", "").endswith(" installed"):
            purl = f"pkg:deb/debian/{fields['Package']}@{fields['Version']}?arch={fields['Architecture']}"
            entry = {"type": "library", "name": fields["Package"], "version": fields["Version"]}
            found.append({**entry, "purl": purl, "bom-ref": purl})
    return found


def licence(expression: str | None) -> Component:
    """Give the field for a licence, if one is known."""
    return {"licenses": [{"expression": expression}]} if expression else {}


main(Path(sys.argv[1]), Path(sys.argv[2]))
