"""Links lead somewhere, and what is named exists."""

import re
from pathlib import Path

import pytest
from tests.unit.docs.pages import page, pages, without_blocks
from tests.unit.docs.reference import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PICTURE_BYTES = 120_000


def anchors(text: str) -> set[str]:
    """Give the anchors of the headings as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(without_blocks(text))
    }


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(path: Path) -> None:
    for link in LINK.findall(without_blocks(path.read_text())):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    named = {name for path in pages() for name in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE)}
    assert {"run", "test"} <= named <= targets


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").iterdir()), ids=lambda path: path.name)
def test_a_picture_is_small_and_shown(path: Path) -> None:
    assert path.stat().st_size < PICTURE_BYTES
    assert f"docs/pictures/{path.name}" in page("README.md")


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").iterdir()), ids=lambda path: path.name)
def test_a_decision_has_its_form_and_fits_a_screen(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Status", "Context", "Decision", "Consequences"]
    assert len(text) < 2500
    assert f"adr/{path.name}" in page("docs/README.md")


def test_files_that_are_named_as_code_exist() -> None:
    roots = ("services/", "shared/", "tests/")
    for path in pages():
        for name in re.findall(r"`([a-z_]+/[\w./-]+\.\w+)`", path.read_text()):
            if name.startswith(roots):
                assert (ROOT / name).exists(), (path, name)
