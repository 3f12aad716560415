"""The reference pages and tables are those that the code gives."""

import inspect

import pytest
from tests.unit.docs import reference
from tests.unit.docs.pages import page

from aegis.cli.main import parser
from aegis.contracts import subjects
from aegis.runtime import metrics, topology

MEND = "run: .venv/bin/python tests/unit/docs/reference.py"


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_current(name: str) -> None:
    assert page(name) == reference.PAGES[name](), MEND


@pytest.mark.parametrize("name", reference.TABLES)
def test_a_table_is_current(name: str) -> None:
    assert reference.between(page("ARCHITECTURE.md"), name) == reference.TABLES[name](), MEND


def test_every_subject_is_documented() -> None:
    functions = {
        name
        for name, function in inspect.getmembers(subjects, inspect.isfunction)
        if function.__module__ == subjects.__name__ and name not in ("token", "partition_of")
    }
    assert functions == {name for name, *_ in reference.SUBJECTS}


def test_every_stream_is_documented() -> None:
    assert {stream.name for stream in topology.STREAMS} == set(reference.STREAM_CONTENT)


def test_every_metric_is_documented() -> None:
    declared = {metric._name for metric in reference.declared()}
    assert {family.name for family in metrics.REGISTRY.collect()} >= declared
    assert len(declared) == sum(family.name.startswith("aegis_") for family in metrics.REGISTRY.collect())
    assert set(reference.LABEL_VALUES) <= declared


def test_every_command_is_documented() -> None:
    found = {words for words, _ in reference.commands(parser())}
    assert ("aegis", "watchlist", "add") in found
    assert all(f"## {' '.join(words)}\n" in page("docs/commands.md") for words in found)
