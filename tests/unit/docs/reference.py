"""Writes the reference pages and tables of the documentation from the code: ``python tests/unit/docs/reference.py``.

The tests compare what it gives with what stands in the files.
"""

import argparse
import dataclasses
import importlib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nats.js.api import RetentionPolicy, StorageType

from aegis.cli.main import parser
from aegis.cli.state import SERVICES
from aegis.contracts import subjects
from aegis.runtime import metrics, topology
from aegis.runtime.settings import ServiceSettings, variable

ROOT = Path(__file__).resolve().parents[3]
MADE = "<!-- Written by tests/unit/docs/reference.py; do not edit by hand. -->\n"

SUBJECTS = (
    ("frame_captured", ("<partition>", "<camera>"), "ingest", "detect", "core NATS"),
    ("face_detected", ("<partition>", "<camera>"), "detect", "embed", "stream `FACES`"),
    ("face_embedded", ("<partition>", "<camera>"), "embed", "match", "stream `VECTORS`"),
    ("look_requested", ("<partition>", "<camera>"), "match", "detect", "core NATS, request and reply"),
    (
        "alert",
        ("<site>", "<category>", "<entry>"),
        "match, registry, notify",
        "notify, registry, command line",
        "stream `ALERTS`",
    ),
    ("shadow", ("<site>", "<category>", "<entry>"), "match", "command line", "stream `SHADOW`"),
    ("camera", ("<site>", "<camera>"), "ingest", "command line", "stream `CAMERAS`"),
    ("cap", ("<site>", "<category>", "<entry>"), "notify", "integrators", "stream `CAP`"),
    ("onvif", ("<site>", "<camera>", "<rule>"), "notify", "integrators", "stream `ONVIF`"),
    ("delivery", ("<channel>", "<alert>", "<event>", "<recipient>"), "notify", "notify", "stream `DELIVERIES`"),
    ("notify", ("<operation>",), "command line", "notify", "core NATS, request and reply"),
    ("registry", ("<operation>",), "command line", "registry", "core NATS, request and reply"),
    ("dead", ("<service>",), "every service", "people", "stream `DEAD`"),
)

STREAM_CONTENT = {
    "FACES": "looks on their way to embed",
    "VECTORS": "vectors on their way to match",
    "ALERTS": "the stories of alerts, as CloudEvents",
    "SHADOW": "what a site in shadow would have told, as CloudEvents",
    "CAMERAS": "cameras online, offline, ended, as CloudEvents",
    "CAP": "the stories of alerts, as messages of CAP 1.2",
    "ONVIF": "sightings, as face recognition events of ONVIF",
    "DELIVERIES": "what became of telling each recipient",
    "DEAD": "messages that could not be handled: subject, size, reason; not their content",
    "KV_leases": "who holds which camera or partition",
    "KV_policy": "the site: state, categories; not sealed",
    "KV_cameras": "cameras, sealed",
    "KV_watchlist": "people of the list and their templates, sealed",
    "KV_photos": "the enrolled photos, cropped, sealed",
    "KV_cohort": "templates of people who are never on the list, sealed; no names",
    "KV_impostors": "for each entry, counts of how well others matched it, sealed",
    "KV_evidence": "the pictures of alerts, sealed",
    "KV_users": "people who may review alerts: names and public keys, sealed",
    "KV_votes": "what they said of alerts, signed by them, sealed",
}

LABEL_VALUES = {
    "aegis_canary_runs": "`outcome`: `seen`, `missed`, `failed` (it could not be shown)",
    "aegis_frames_dropped": "`reason`: ingest says `slow` (overtaken by a newer frame), `size`, `lease`, `bus`; "
    "detect says `newer`, `old`, `disarmed`, `lease`, `superseded`, `overwritten`",
    "aegis_looks": "`outcome`: `sent`, or the flaw: `small`, `cut`, `turned`, `dark`, `bright`, `blurred`, `landmarks`",
    "aegis_inference_provider": "`provider`: `openvino-bf16`, `openvino-f32`, `cuda`, `cpu`",
    "aegis_matches": "`outcome`: `matched`, `not matched`, `dropped`",
    "aegis_alerts": "`event`: `raise`, `raise again` (more severe), `sight`",
    "aegis_shadow_alerts": "`event`: as those of `aegis_alerts_total`",
    "aegis_alert_latency_seconds": "`since`: `first_look` (the first usable look of the track), `matched_look`",
    "aegis_deliveries": "`channel`: `email`, `sms`, `webhook`, `other`; `state`: `pending`, `sending`, `sent`, "
    "`delivered`, `failed`, `expired`, `withdrawn`, and `retried` for each attempt that will be repeated",
    "aegis_leases_held": "`kind`: `ingest`, `detect`, `match`, `registry`",
    "aegis_leases_wanted": "`kind`: the same; `pool`: the edge whose cameras these are, empty for all others",
    "aegis_leases_free": "as those of `aegis_leases_wanted`",
    "aegis_queue_waiting": "`stream`: `FACES`, `DELIVERIES`, `ALERTS`, whose readers are shared: take the largest of "
    "the replicas; `VECTORS`, where each partition has one: add them up",
    "aegis_site_state": "`state`: `disarmed`, `shadow`, `armed`; none is 1 while the policy is not known",
    "aegis_certificate_expires_seconds": "`file`: `bus` (what the bus showed), `bus-ca`, `whip`",
}


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Lay out a table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def settings_page() -> str:
    parts = [
        "# Settings\n\n",
        MADE,
        (
            "\nEach service reads its settings from environment variables, once, at its start. All bad ones are "
            "reported together and the process ends with exit code 2.\n\n"
            "`aegis up` gives every service its address, key file, CA, replica, run, site file, site key, models "
            "folder, log file and WHIP settings, whatever the environment says, except that it takes the site key "
            "from `AEGIS_SITE_KEY_FILE` and the models folder from `AEGIS_MODELS_DIR`. Other `AEGIS_*` variables reach "
            "every service, but for `AEGIS_HTTP_PORT`.\n\n"
            "The commands that ask a running system read `AEGIS_BUS_URL`, `AEGIS_BUS_CA` and `AEGIS_KEY_FILE`, if the "
            "first is set; otherwise they find the system through its state directory.\n\n"
        ),
        "## Every service\n\n",
        _settings_table(dataclasses.fields(ServiceSettings), ServiceSettings),
    ]
    common = {field.name for field in dataclasses.fields(ServiceSettings)}
    for name in sorted(SERVICES):
        kind = importlib.import_module(f"aegis.{name}.service").SERVICE.settings
        own = tuple(field for field in dataclasses.fields(kind) if field.name not in common)
        parts += [f"\n## {name}\n\n", _settings_table(own, kind)]
    return "".join(parts)


def _settings_table(fields: tuple[dataclasses.Field[Any], ...], kind: type) -> str:
    hints = typing.get_type_hints(kind)
    rows = [(f"`{variable(f.name)}`", _values(hints[f.name], f), _default(f), f.metadata["doc"]) for f in fields]
    return table(("Variable", "Value", "Default", "Meaning"), rows)


def _values(hint: Any, field: dataclasses.Field[Any]) -> str:
    if choices := field.metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in choices)
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    word = {str: "text", int: "whole number", float: "number", bool: "yes or no", Path: "path"}[hint]
    least, most = field.metadata["least"], field.metadata["most"]
    return f"{word}, {least:g} to {most:g}" if hint in (int, float) else word


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{field.default}`" if field.default not in (None, "") else "none"


def commands_page() -> str:
    parts = [
        "# Commands\n\n",
        MADE,
        (
            "\nEvery command ends with 0 when it did what it was asked, 1 when it could not, 2 when it was asked "
            "wrongly or a person must mend something first, and 130 when it was interrupted. A problem is one sentence "
            "on standard error. `--state` and `--as` may stand before or after the command, other options after it.\n"
        ),
    ]
    for words, command in commands(parser()):
        parts.append(f"\n## {' '.join(words)}\n\n{_about(parser(), words)}\n\n")
        rows = [(_spelling(a), _condition(a), _help(a)) for a in _own_actions(command)]
        parts.append(table(("Argument", "", "Meaning"), rows))
    return "".join(parts)


def commands(root: argparse.ArgumentParser, words: tuple[str, ...] = ("aegis",)) -> Iterator[tuple[Any, Any]]:
    """Give every command that does something, with its words."""
    groups = [a for a in root._actions if isinstance(a, argparse._SubParsersAction)]
    if not any(group.required for group in groups):
        yield words, root
    for group in groups:
        for name, child in group.choices.items():
            yield from commands(child, (*words, name))


def _about(root: argparse.ArgumentParser, words: tuple[str, ...]) -> str:
    texts = []
    for word in words[1:]:
        group = next(a for a in root._actions if isinstance(a, argparse._SubParsersAction))
        texts.append(next(c.help or "" for c in group._choices_actions if c.dest == word))
        root = group.choices[word]
    text = texts[-1]
    return f"{text[0].upper()}{text[1:]}."


def _own_actions(command: argparse.ArgumentParser) -> list[argparse.Action]:
    not_its_own = (argparse._HelpAction, argparse._SubParsersAction)
    actions = [a for a in command._actions if not isinstance(a, not_its_own)]
    return sorted(actions, key=lambda a: bool(a.option_strings))


def _spelling(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else " " + str(action.metavar or _choices(action) or action.dest.upper())
    return f"`{action.option_strings[-1]}{value}`" if action.option_strings else f"`{value.strip()}`"


def _choices(action: argparse.Action) -> str:
    return "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""


def _condition(action: argparse.Action) -> str:
    if action.dest == "state":
        return "`~/.local/state/aegis`"
    if action.required:
        return "required"
    return f"`{action.default}`" if action.default not in (None, False, argparse.SUPPRESS) else ""


def _help(action: argparse.Action) -> str:
    return action.help or {"name": "its id", "id": "its id, as the list shows it"}.get(action.dest, "")


def metrics_page() -> str:
    parts = [
        "# Metrics\n\n",
        MADE,
        (
            "\nEvery service answers `/metrics` in Prometheus' text format, on the port that `aegis status --json` "
            "shows as `port`. Each also gives the `process_*` metrics of its own process. "
            "All durations are seconds.\n\n"
        ),
    ]
    rows = [
        (f"`{_exposed(m)}`", m._type, ", ".join(f"`{n}`" for n in m._labelnames), m._documentation) for m in declared()
    ]
    parts.append(table(("Metric", "Kind", "Labels", "What"), rows))
    parts.append("\n## Values of labels\n\n")
    parts += [f"- `{_exposed(m)}`: {LABEL_VALUES[m._name]}\n" for m in declared() if m._name in LABEL_VALUES]
    bounds = ", ".join(f"{bound:g}" for bound in metrics.LATENCIES)
    parts.append(f"\n## Buckets of the histograms\n\n{bounds} seconds.\n")
    return "".join(parts)


def declared() -> list[Any]:
    """Give the metrics that the module declares, in its order."""
    return [value for value in vars(metrics).values() if hasattr(value, "_documentation")]


def _exposed(metric: Any) -> str:
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)


def subjects_table() -> str:
    rows = [
        (f"`{getattr(subjects, name)(*parts)}`", sender, reader, carrier)
        for name, parts, sender, reader, carrier in SUBJECTS
    ]
    rows.append((f"`{subjects.STATUS}`", "command line", "every service", "core NATS, request and many replies"))
    rows.append((f"`{subjects.TRACE_KEPT}`", "match", "every service", "core NATS"))
    return table(("Subject", "From", "To", "Carried by"), rows)


def streams_table() -> str:
    rows = []
    for stream in topology.STREAMS:
        name = str(stream.name)
        memory = stream.storage is StorageType.MEMORY
        limits = []
        if stream.max_age:
            limits.append(_age(float(stream.max_age)))
        if (stream.max_msgs_per_subject or 0) > 0:
            limits.append(f"{stream.max_msgs_per_subject} a subject")
        if (stream.max_bytes or 0) > 0:
            limits.append(f"{(stream.max_bytes or 0) // 2**20} MiB")
        kind = "memory" if memory else "file"
        kind += ", work queue" if stream.retention is RetentionPolicy.WORK_QUEUE else ""
        rows.append((f"`{name}`", STREAM_CONTENT[name], kind, ", ".join(limits) or "none"))
    return table(("Stream", "Holds", "Stored in", "Limits"), rows)


def _age(seconds: float) -> str:
    return f"{seconds / topology.DAY:g} days" if seconds >= topology.DAY else f"{seconds:g} s"


PAGES = {
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "docs/metrics.md": metrics_page,
}
TABLES = {"subjects": subjects_table, "streams": streams_table}


def between(text: str, name: str) -> str:
    """Give what stands between the marks of a table."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->", maxsplit=1)[0]


def write() -> None:
    """Bring every page and table up to date."""
    for name, make in PAGES.items():
        (ROOT / name).write_text(make())
    path = ROOT / "ARCHITECTURE.md"
    text = path.read_text()
    for name, make in TABLES.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{make()}{rest[len(between(text, name)) :]}"
    path.write_text(text)


if __name__ == "__main__":
    write()
