"""The public events as JSON Schemas, derived from the dataclasses that are their data.

A schema says what an event has, not all that it may ever have: fields and values of enumerations may be added, so
readers pass over what they do not know.
"""

import ast
import dataclasses
import enum
import functools
import inspect
import itertools
import textwrap
import types
import typing
from dataclasses import dataclass
from typing import Any

from aegis.contracts import alerts, cameras, deliveries, onvif, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.cameras import CameraReport
from aegis.contracts.cloudevents import SPEC_VERSION
from aegis.contracts.reviews import Update

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS: tuple[type, ...] = (Sighting, Update, CameraReport)
_TYPES = {str: "string", float: "number", int: "integer", bool: "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicEvent:
    """A type of event that integrators get: what its data is, and what it means."""

    name: str
    """The type that stands in it."""
    data: type
    means: str

    @property
    def title(self) -> str:
        """Its short name, as ``alert.raised``."""
        return self.name.removeprefix("aegis.").removesuffix(".v1")


EVENTS = tuple(
    PublicEvent(name=name, data=data, means=means)
    for name, data, means in (
        (alerts.RAISED, Sighting, "A person of the list was seen, or an open alert became more severe."),
        (alerts.SIGHTED, Sighting, "The person is still seen; at most every 10 s."),
        (reviews.ESCALATED, Update, "Nobody acknowledged it in time, so the next people of the rule are told."),
        (reviews.ACKNOWLEDGED, Update, "Somebody looks into it. This decides nothing about the match."),
        (reviews.CONFIRMED, Update, "A person compared the pictures and takes it for a match; once more by a second."),
        (reviews.DISMISSED, Update, "A person takes it for a mistake. Do not act on it, and undo what was done."),
        (reviews.CORRECTED, Update, "Dismissed, and everyone who had been told of the alert was told so."),
        (reviews.EXPIRED, Update, "Its time is over and nobody decided. It was not found to be wrong."),
        (cameras.ONLINE, CameraReport, "The camera delivers."),
        (cameras.OFFLINE, CameraReport, "It does not; `reason` says why."),
        (cameras.ENDED, CameraReport, "A file that plays once was played to its end."),
        (deliveries.TEST, Sighting, "A test of a webhook, about nobody; it comes on no subject of the bus."),
    )
)


def event_schema(event: PublicEvent) -> dict[str, Any]:
    """Give the schema of one type of event, envelope and data."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:aegis:event:{event.name}",
        "title": event.name,
        "description": event.means,
        **envelope(event, data_schema(event.data)),
    }


def envelope(event: PublicEvent, data: dict[str, Any]) -> dict[str, Any]:
    """Give what CloudEvents 1.0 in structured JSON puts around ``data``, a schema or a reference to one."""
    properties = {
        "specversion": {"const": SPEC_VERSION},
        "id": _text("Unique. A repeat of the same event has the same id.", minLength=1),
        "source": _text("The site: `/aegis/sites/<site>`.", pattern="^/aegis/sites/[a-z0-9_-]{1,64}$"),
        "type": {"const": event.name},
        "time": _text("When it was captured, reported or done.", format="date-time"),
        "subject": _subject(event),
        "datacontenttype": {"const": "application/json"},
        "data": data,
    }
    return _object(properties)


def _subject(event: PublicEvent) -> dict[str, Any]:
    if event.name == deliveries.TEST:
        return {"const": "test", "description": "A test is about nobody."}
    says = "The camera." if event.data is CameraReport else "The person of the list: `<category>/<entry>`."
    return _text(says, minLength=1)


def face() -> dict[str, Any]:
    """Give the schema of what ``onvif.face`` writes."""
    source = {
        "VideoSource": _text("The camera's id."),
        "Rule": _text(f"The category; `{onvif.DRILL}` before a drill's."),
    }
    data = {
        "Likelihood": {"type": "number", "minimum": 0, "maximum": 1, "description": "The score; no probability."},
        "EnrollmentID": _text("The person's id on the list."),
        "aegis:Event": _text("Id of the sighting's event; a repeat has the same.", minLength=1),
        **{f"aegis:{item}": _item(name) for item, name in _FACE_ITEMS},
    }
    optional = {"aegis:Name": _text("The person's name, only where the site file says `notify.sms.names: true`.")}
    return {
        "title": "ONVIF face event",
        "description": "A sighting as a face recognition event of ONVIF Profile M.",
        **_object(
            {
                "UtcTime": _text("When it was captured.", format="date-time"),
                "Source": _object(source),
                "Data": _object(data, optional),
            }
        ),
    }


def face_schema() -> dict[str, Any]:
    """Give the schema of a face event as a document of its own."""
    return {"$schema": DIALECT, "$id": "urn:aegis:onvif:face", **face()}


_FACE_ITEMS = (
    ("Alert", "alert"),
    ("Reference", "reference"),
    ("Severity", "severity"),
    ("Threshold", "threshold"),
    ("ExpiresAt", "expires_at"),
    ("Drill", "drill"),
)
"""What a face event takes over from the sighting."""


def _item(name: str) -> dict[str, Any]:
    return {**_field(name, typing.get_type_hints(Sighting)[name]), "description": description(Sighting, name)}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


def data_schema(kind: type) -> dict[str, Any]:
    """Give the schema of an event's data, a flat dataclass."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {
        "title": kind.__name__,
        "type": "object",
        "required": [field.name for field in fields if field.default is dataclasses.MISSING],
        "properties": {
            field.name: {**_field(field.name, hints[field.name]), "description": description(kind, field.name)}
            for field in fields
        },
    }


def _field(name: str, hint: Any) -> dict[str, Any]:  # noqa: ANN401 - a type expression has no narrower type
    if isinstance(hint, types.UnionType):
        # What is absent is left out and never null.
        (hint,) = (inner for inner in typing.get_args(hint) if inner is not types.NoneType)
    if name.endswith("_at"):
        return {"type": "string", "format": "date-time"}
    if issubclass(hint, enum.Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return {"type": _TYPES[hint]}


def description(kind: type, name: str) -> str:
    """Say what a field means: its docstring, that of its enumeration, or that of the same field in another kind.

    Raises:
        LookupError: nothing says it.

    """
    hint = typing.get_type_hints(kind)[name]
    listed = inspect.getdoc(hint) if isinstance(hint, type) and issubclass(hint, enum.Enum) else None
    found = (_docstrings(kind).get(name), listed, *(_docstrings(other).get(name) for other in KINDS))
    text = next((text for text in found if text), None)
    if text is None:
        raise LookupError(f"{kind.__name__}.{name} has no docstring")
    return text.replace("``", "`")


@functools.cache
def _docstrings(kind: type) -> dict[str, str]:
    """Read the docstring below each field of a dataclass."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    statements = body.body if isinstance(body, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(statements)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _text(says: str, **more: object) -> dict[str, Any]:
    return {"type": "string", **more, "description": says}
