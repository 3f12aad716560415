"""The image's file and locks: what a build of it would take, without building it (`make image-test` does)."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
from tests.conftest import ROOT, require

from aegis.cli.state import SERVICES, SINGLE_THREAD, SMALL_PICTURES

FILE = ROOT / "deploy/Dockerfile"
REQUIREMENTS = ROOT / "requirements"
VARIANTS = ("cpu", "cuda")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXT = re.sub(r"\\\n\s*", "", FILE.read_text())
LAST_STAGE = TEXT[TEXT.rindex("\nFROM ") :]
AGREED = {
    "AEGIS_MODELS_DIR": "/opt/aegis/models",
    "AEGIS_HTTP_HOST": "0.0.0.0",
    "AEGIS_HTTP_PORT": "8080",
    **SINGLE_THREAD,
    **SMALL_PICTURES,
}
"""What manifests count on, and what `aegis up` gives its services on one machine."""


def lock(name: str) -> dict[str, set[tuple[str, frozenset[str]]]]:
    """Give, for each package of a lock, its version for each Python, and the hashes of that."""
    found: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", (REQUIREMENTS / f"{name}.lock").read_text()):
        package, version = block.split()[0].split("==")
        found.setdefault(package, set()).add((version, frozenset(re.findall(r"--hash=(\S+)", block))))
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", requirement)[0] for requirement in requirements}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = require(Path(sys.executable).with_name("hadolint"), "hadolint")
    checked = subprocess.run([hadolint, FILE], stdout=subprocess.PIPE, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_it_says_what_it_is() -> None:
    labels = re.findall(r"org\.opencontainers\.image\.(\S+)=", LAST_STAGE)
    assert {"title", "description", "licenses", "version", "revision", "base.name"} <= set(labels)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_image_has_what_was_tested(variant: str) -> None:
    tested, image = lock("all"), lock(f"image-{variant}")
    other = {name for name, pins in image.items() if not pins <= tested.get(name, set())}
    assert {name for name in other if not (name.startswith("nvidia-") or name == "onnxruntime-gpu")} == set()
    assert bool(other) == (variant == "cuda")
    assert all(hashes for pins in image.values() for _, hashes in pins)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_image_knows_time_zones_whatever_it_stands_on(variant: str) -> None:
    """Without zone files a site file that names its zone is refused."""
    (line,) = re.findall(r"^tzdata==.*", (REQUIREMENTS / f"image-{variant}.lock").read_text(), re.MULTILINE)
    assert ";" not in line


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_image_has_what_services_need_and_no_more(variant: str) -> None:
    wanted = names(PROJECT["project"]["dependencies"])
    if variant == "cuda":
        wanted = (wanted - {"onnxruntime"}) | {"onnxruntime-gpu"}
    extras = names(
        [*chain(*PROJECT["project"]["optional-dependencies"].values()), *PROJECT["dependency-groups"]["dev"]]
    )
    image = lock(f"image-{variant}").keys()
    assert wanted <= image
    assert not (extras - wanted) & image


def test_both_variants_run_models_with_the_same_release() -> None:
    ((usual, _),), ((cuda, _),) = lock("image-cpu")["onnxruntime"], lock("image-cuda")["onnxruntime-gpu"]
    assert usual == cuda


@pytest.mark.parametrize("path", [FILE, *sorted(REQUIREMENTS.iterdir())], ids=lambda path: path.name)
def test_no_address_of_an_index_is_kept(path: Path) -> None:
    assert "://" not in path.read_text()
    assert "--index-url" not in path.read_text()


def test_nothing_unpinned_is_fetched() -> None:
    commands = [command for command in re.split(r"&&|\n", TEXT) if re.search(r"\bpip .*(install|wheel) ", command)]
    assert commands
    assert [c for c in commands if "--require-hashes" not in c and "--no-index" not in c] == []
    assert not re.search(r"\b(curl|wget|apt-get|ADD)\b", TEXT)


def test_the_environment_is_the_agreed_one() -> None:
    (line,) = re.findall(r"^ENV (.*)$", LAST_STAGE, re.MULTILINE)
    environ = dict(pair.split("=", 1) for pair in line.split())
    assert {name: environ.get(name) for name in AGREED} == AGREED
    assert environ["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environ["HOME"] == "/tmp"  # noqa: S108  what alone can be written


def test_it_is_nobody_in_particular_and_has_no_entrypoint() -> None:
    assert re.findall(r"^USER (.*)$", LAST_STAGE, re.MULTILINE) == ["10001:10001"]
    assert "ENTRYPOINT" not in TEXT


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_can_be_the_command(service: str) -> None:
    spec = find_spec(f"aegis.{service}.__main__")
    assert spec is not None
    assert spec.origin is not None
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert any(Path(spec.origin).is_relative_to(ROOT / folder) and taken(folder) for folder in included)


def taken(source: str) -> bool:
    """Tell whether the build's context has a file or directory of the repository."""
    lines = (ROOT / ".dockerignore").read_text().split()
    kept = [line.removeprefix("!/") for line in lines if line.startswith("!/")]
    return lines[0] == "*" and any(fnmatch(source, one) or source.startswith(f"{one}/") for one in kept)


def test_the_context_holds_what_is_copied() -> None:
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*$", TEXT, re.MULTILINE)]
    sources = {source.replace("${VARIANT}", variant) for line in copied for source in line for variant in VARIANTS}
    assert sources
    assert {source for source in sources if not (taken(source) and (ROOT / source).exists())} == set()
