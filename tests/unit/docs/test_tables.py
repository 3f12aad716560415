"""Fields, keys and error texts in the guides are those of the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from tests.unit.docs.pages import codes, page, rows
from tests.unit.docs.reference import ROOT

from aegis.runtime import site_file

SITE_FILE = "docs/guides/site-file.md"
OPERATIONS = "docs/guides/operations.md"


SECTIONS = {
    "site": "site: {odd: 1}",
    "cameras": "cameras: [{odd: 1}]",
    "categories": "categories: {some: {odd: 1}}",
    "calibration": "calibration: {odd: 1}",
    "notify": "notify: {odd: 1}",
    "email": "notify: {email: {odd: 1}}",
    "sms": "notify: {sms: {odd: 1}}",
    "receipts": "notify: {receipts: {odd: 1}}",
    "webhooks": "notify: {webhooks: [{odd: 1}]}",
    "people": "notify: {people: {some: {odd: 1}}}",
    "rules": "notify: {rules: [{odd: 1}]}",
    "when": "notify: {rules: [{when: {odd: 1}}]}",
    "steps": "notify: {rules: [{steps: [{odd: 1}]}]}",
    "outside": "notify: {rules: [{outside: {odd: 1}}]}",
    "quiet_hours": "notify: {quiet_hours: {odd: 1}}",
    "whip": "whip: {odd: 1}",
    "mqtt": "mqtt: {odd: 1}",
}


def known_keys(text: str, folder: Path) -> list[str]:
    """Give the keys that the site file's own error names where ``odd`` stands."""
    path = folder / "site.yaml"
    path.write_text(text)
    with pytest.raises(site_file.SiteFileError) as caught:
        site_file.read(path, {}).check()
    problem = next(p for p in caught.value.problems if "'odd' is not known here" in p)
    return problem.partition("known are ")[2].split(", ")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_site_file_is_documented(section: str, tmp_path: Path) -> None:
    documented = [codes(row[0])[0] for row in rows(page(SITE_FILE), f"keys {section}")]
    assert sorted(documented) == sorted(known_keys(SECTIONS[section], tmp_path))


def test_every_section_of_the_site_file_is_documented(tmp_path: Path) -> None:
    headings = re.findall(r"^## (.+)$", page(SITE_FILE), re.MULTILINE)
    assert set(known_keys("odd: 1", tmp_path)) <= set(headings)


@pytest.mark.parametrize("kind", site_file.KINDS)
def test_every_kind_of_site_is_documented(kind: str) -> None:
    row = next(row for row in rows(page(SITE_FILE), "keys site") if row[0] == "`kind`")
    assert kind in codes(row[3])


@cache
def texts_of_the_code() -> str:
    """Give every text in the code, one a line, with … for what is filled in."""
    found = []
    for path in sorted([*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%(\.\d)?[sdf]", "…", node.value))
    return "\n".join(found)


def errors(name: str) -> list[str]:
    """Give the error texts of a page: the code in the first column of its tables of errors."""
    tables = re.findall(r"^\| (?:It says|Problem) \| Do \|\n\| --- \| --- \|\n((?:\|.*\n)+)", page(name), re.MULTILINE)
    return [text for table in tables for line in table.splitlines() for text in codes(line.split(" | ")[0])]


@pytest.mark.parametrize("text", [*errors(OPERATIONS), *errors(SITE_FILE)])
def test_an_error_that_is_explained_is_one_of_the_code(text: str) -> None:
    assert text in texts_of_the_code()


# What a person is told because of something that the person gave or must mend.
FOR_PEOPLE = ("CommandError", "StartError", "RequestError", "EnrolmentError", "SealError")
# The sentence itself comes from elsewhere, or only a program that is not the command line can cause it.
ELSEWHERE = {"…: …", "the request is malformed; … is expected"}


def raised() -> set[str]:
    found = set()
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in FOR_PEOPLE and node.args):
                continue
            match node.args[0]:
                case ast.Constant(value=str(text)):
                    found.add(text)
                case ast.JoinedStr(values=values):
                    found.add("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in values))
    return found - ELSEWHERE


@pytest.mark.parametrize("text", sorted(raised()))
def test_an_error_for_people_is_explained(text: str) -> None:
    assert text in errors(OPERATIONS) + errors(SITE_FILE)
