"""CloudEvents 1.0 in structured JSON: the form in which integrators, webhooks and the command line see events."""

import dataclasses
import datetime as dt
import enum
import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from aegis.contracts import codec

CONTENT_TYPE = "application/cloudevents+json"
SPEC_VERSION = "1.0"

D = TypeVar("D")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """An event: its envelope and its data as plain JSON values."""

    id: str
    source: str
    type: str
    time: str
    subject: str
    data: dict[str, Any]


def rfc3339(seconds: float) -> str:
    """Write a time as RFC 3339 in UTC with milliseconds."""
    stamp = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """Read an RFC 3339 time as seconds since the epoch.

    Raises:
        ValueError: it is none, for example for lack of an offset.

    """
    if not _RFC3339.fullmatch(text.upper()):
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    return (dt.datetime.fromisoformat(text.upper()) - dt.datetime.fromtimestamp(0, dt.UTC)).total_seconds()


def dump(event: CloudEvent) -> bytes:
    """Write an event as JSON."""
    document = {"specversion": SPEC_VERSION, "datacontenttype": "application/json", **dataclasses.asdict(event)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def load(data: bytes) -> CloudEvent:
    """Read an event.

    Raises:
        DecodeError: naming the attribute that is missing or wrong.

    """
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise codec.DecodeError("CloudEvent", f"not JSON ({error})") from None
    if not isinstance(plain, dict):
        raise codec.DecodeError("CloudEvent", "a JSON object is expected")
    if plain.get("specversion") != SPEC_VERSION:
        raise codec.DecodeError("CloudEvent", f"{SPEC_VERSION} is expected", "specversion")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(CloudEvent):
        value = plain.get(field.name)
        if not isinstance(value, dict if field.name == "data" else str):
            raise codec.DecodeError("CloudEvent", "is missing or of the wrong type", field.name)
        values[field.name] = value
    return CloudEvent(**values)


def to_data(record: object) -> dict[str, Any]:
    """Give a flat dataclass as JSON values: fields that end in ``_at`` become RFC 3339, absent ones are left out."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if value is None:
            continue
        if field.name.endswith("_at"):
            value = rfc3339(value)
        elif isinstance(value, enum.Enum):
            value = value.value
        plain[field.name] = value
    return plain


def from_data(kind: type[D], data: dict[str, Any]) -> D:
    """Build a flat dataclass from an event's data; unknown fields are ignored.

    Raises:
        DecodeError: naming the field.

    """
    plain = {}
    for name, value in data.items():
        if name.endswith("_at") and isinstance(value, str):
            try:
                plain[name] = seconds(value)
            except ValueError:
                raise codec.DecodeError(kind.__name__, f"{value!r} is not an RFC 3339 time", name) from None
        else:
            plain[name] = value
    return codec.from_plain(kind, plain)
