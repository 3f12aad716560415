"""The documentation's files and what stands in them."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.unit.docs.reference import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(.+?)\1")


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(text: str, *languages: str) -> Iterator[str]:
    """Give the fenced blocks in one of these languages."""
    return (found[2] for found in _FENCE.finditer(text) if found[1] in languages)


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


def codes(text: str) -> list[str]:
    """Give what is marked as code within a line."""
    return [found[2].strip() for found in _CODE.finditer(text)]


def rows(text: str, mark: str) -> list[list[str]]:
    """Give the cells of the table that follows a mark, without its head."""
    table = text.split(f"<!-- {mark} -->\n")[1].split("\n\n", maxsplit=1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
