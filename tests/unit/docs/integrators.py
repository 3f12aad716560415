"""Writes what the documentation tells integrators, from the types: ``python -m tests.unit.docs.integrators``.

The AsyncAPI document, a JSON Schema for each event and for ONVIF's form, and the tables of the integrators' guide.
"""

import dataclasses
import functools
import json
import typing
from collections.abc import Callable
from typing import Any

import yaml
from tests.unit.docs.reference import ROOT, between, table

from aegis.contracts import asyncapi, deliveries, schemas

FOLDER = ROOT / "docs" / "integrators"
GUIDE = ROOT / "docs" / "guides" / "integrators.md"
MADE = "# Written by tests/unit/docs/integrators.py; do not edit by hand.\n"
WORDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}


class _Plain(yaml.SafeDumper):
    """Writes what stands in two places twice, instead of naming it."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def files() -> dict[str, str]:
    """Give every file below docs/integrators and what stands in it."""
    document = yaml.dump(asyncapi.document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=118)
    found = {"asyncapi.yaml": MADE + document}
    for event in schemas.EVENTS:
        found[f"schemas/{event.name}.json"] = json.dumps(schemas.event_schema(event), indent=2) + "\n"
    found["schemas/onvif.face.json"] = json.dumps(schemas.face_schema(), indent=2) + "\n"
    return found


def fields_table(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    schema = schemas.data_schema(kind)
    rows = []
    for field in dataclasses.fields(kind):
        name = field.name
        rows.append(
            (
                f"`{name}`",
                "time" if name.endswith("_at") else WORDS[schema["properties"][name]["type"]],
                "yes" if name in schema["required"] else "no",
                _meaning(kind, name, hints[name]),
            )
        )
    return table(("Field", "Type", "Required", "Meaning"), rows)


def _meaning(kind: type, name: str, hint: Any) -> str:
    values = schemas.data_schema(kind)["properties"][name].get("enum")
    listed = f" {', '.join(f'`{value}`' for value in values)}." if values else ""
    return schemas.description(kind, name) + listed


def events_table() -> str:
    posted = {message.name for message in asyncapi.WEBHOOK}
    rows = [
        (f"`{event.name}`", event.means, f"`{event.data.__name__}`", "yes" if event.name in posted else "no")
        for event in schemas.EVENTS
        if event.name != deliveries.TEST
    ]
    return table(("Type", "Means", "Data", "Webhook"), rows)


def channels_table() -> str:
    rows = [
        (
            f"`{channel.filter}`",
            f"`{channel.filter.replace('.', '/').replace('*', '+')}`",
            channel.stream,
            channel.means,
        )
        for channel in asyncapi.CHANNELS
    ]
    return table(("Subject", "MQTT topic", "Stream", "What"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "events": events_table,
    "channels": channels_table,
    **{f"fields {kind.__name__}": functools.partial(fields_table, kind) for kind in schemas.KINDS},
}


def write() -> None:
    """Bring every file and table up to date, and remove schemas of events that are no more."""
    wanted = files()
    for old in FOLDER.rglob("*.json"):
        if str(old.relative_to(FOLDER)) not in wanted:
            old.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    guide = GUIDE.read_text()
    for name, make in TABLES.items():
        before, _, rest = guide.partition(f"<!-- {name} -->\n")
        guide = f"{before}<!-- {name} -->\n{make()}{rest[len(between(guide, name)) :]}"
    GUIDE.write_text(guide)


if __name__ == "__main__":
    write()
