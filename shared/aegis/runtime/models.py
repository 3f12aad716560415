"""Model cards: what Aegis knows of a network's file, as data.

A card pins the bytes (size and SHA-256), says under which licence they are used, where they can be had, and, for an
embedder, how a face must be handed to it. Two cards ship with Aegis; a site adds its own as TOML files.
"""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

SHIPPED_CARDS = Path(__file__).with_name("model_cards")

FACE_SIZE = 112
"""Width and height in pixels of an aligned face; every embedder must take it."""


class ModelError(Exception):
    """Anything that keeps a model from being used; the message says what to do."""


class ModelCardError(ModelError):
    """A card that cannot be used: which file, which field, and what is wrong with it."""

    def __init__(self, file: Path, field: str, problem: str) -> None:
        super().__init__(f"{file}: {field}: {problem}")
        self.file = file
        self.field = field
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class UrlSource:
    """A model's file at a web address."""

    address: str

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True, kw_only=True)
class WheelSource:
    """A model's file inside a wheel of the package index; the wheel is read, never installed."""

    distribution: str
    version: str
    member: str
    """Path inside the wheel."""

    def __str__(self) -> str:
        return f"the wheel {self.distribution}=={self.version}"


Source = UrlSource | WheelSource


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model. The fields from ``rgb`` on describe an embedder and keep their defaults on a detector's card."""

    id: str
    """Goes into every message that leads to an alert, and never names other bytes."""
    task: Literal["detect", "embed"]
    file: str
    """Name inside the models directory, without a path."""
    bytes: int
    sha256: str
    """64 lower-case hexadecimal digits."""
    licence: str
    """SPDX identifier."""
    notice: str
    """Whom the licence wants named."""
    sources: tuple[Source, ...] = ()
    """Tried in order; none means that somebody copies the file into the models directory."""

    rgb: bool = False
    """Colour order of the input: red first (true) or, like cv2, blue first."""
    mean: float = 0.0
    """Subtracted from pixels of 0 to 255, before ..."""
    std: float = 1.0
    """... this divides them."""
    size: int = 0
    """Width and height of the input in pixels."""
    dimension: int = 0
    """Numbers in a template."""
    template_version: str = ""
    """Templates are compared only within one version: change it whenever weights, alignment or input change."""


def load_cards(extra_dir: Path | None = None) -> dict[str, ModelCard]:
    """Read the shipped cards and every ``*.toml`` of a site's directory; keys are the cards' ids.

    Raises ModelCardError for the first card that is wrong, or that takes another one's id or file name.
    """
    cards: dict[str, ModelCard] = {}
    taken: dict[tuple[str, str], Path] = {}
    for directory in (SHIPPED_CARDS, extra_dir):
        if directory is None:
            continue
        if not directory.is_dir():
            raise ModelCardError(directory, "directory", "does not exist")
        for path in sorted(directory.glob("*.toml")):
            card = read_card(path)
            for field, name in (("id", card.id), ("file", card.file)):
                if (field, name) in taken:
                    raise ModelCardError(path, field, f"{name!r} is already used by {taken[field, name]}")
                taken[field, name] = path
            cards[card.id] = card
    return cards


def read_card(path: Path) -> ModelCard:
    """Read one card. Raises ModelCardError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelCardError(path, "file", f"cannot be read as TOML: {error}") from error
    if table.get("task") not in ("detect", "embed"):
        raise ModelCardError(path, "task", f'must be "detect" or "embed", not {table.get("task")!r}')
    fields = _CARD_FIELDS | (_EMBED_FIELDS if table["task"] == "embed" else {})
    raw_sources = table.pop("sources", [])
    if not isinstance(raw_sources, list):
        raise ModelCardError(path, "sources", "must be written as [[sources]] tables")
    sources = tuple(_source(path, number, raw) for number, raw in enumerate(raw_sources, start=1))
    return ModelCard(sources=sources, **_checked(path, "", table, fields))


def _source(path: Path, number: int, table: object) -> Source:
    where = f"sources[{number}]."
    if not isinstance(table, dict):
        raise ModelCardError(path, where[:-1], "must be a table")
    match table.pop("kind", None):
        case "url":
            return UrlSource(**_checked(path, where, table, _URL_FIELDS))
        case "wheel":
            return WheelSource(**_checked(path, where, table, _WHEEL_FIELDS))
        case other:
            raise ModelCardError(path, f"{where}kind", f'must be "url" or "wheel", not {other!r}')


@dataclass(frozen=True)
class _Field:
    type: type[str | int | float | bool]
    holds: Callable[[Any], bool]
    rule: str


def _checked(path: Path, where: str, table: Mapping[str, object], fields: Mapping[str, _Field]) -> dict[str, Any]:
    for name in table:
        if name not in fields:
            raise ModelCardError(path, where + name, f"is not a field here; known are {', '.join(fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in table:
            raise ModelCardError(path, where + name, f"is missing; it {field.rule}")
        value = table[name]
        if field.type is float and type(value) is int:
            value = float(value)
        # Exactly this type: Python counts a bool as an int, a card must not.
        if type(value) is not field.type or not field.holds(value):
            raise ModelCardError(path, where + name, f"{field.rule}, not {value!r}")
        values[name] = value
    return values


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    # A password in an address would end up in logs and error messages.
    return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.username is None


def _is_member(text: str) -> bool:
    return bool(text) and not text.startswith("/") and ".." not in PurePosixPath(text).parts


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LINE = _Field(str, _like(r"[^\x00-\x1f]*\S[^\x00-\x1f]*"), "must be one line of text")
_POSITIVE = _Field(int, lambda number: number > 0, "must be a whole number above 0")

_CARD_FIELDS = {
    "id": _Field(str, _like(r"[a-z0-9][a-z0-9.-]{0,63}"), "must be lower-case letters, digits, '.' and '-'"),
    "task": _LINE,
    "file": _Field(str, _like(_NAME), "must be a file name without a path"),
    "bytes": _POSITIVE,
    "sha256": _Field(str, _like(r"[0-9a-f]{64}"), "must be 64 lower-case hexadecimal digits"),
    "licence": _LINE,
    "notice": _LINE,
}
_EMBED_FIELDS = {
    "rgb": _Field(bool, lambda _: True, "must be true or false"),
    "mean": _Field(float, math.isfinite, "must be a number"),
    "std": _Field(float, lambda number: math.isfinite(number) and number > 0, "must be a number above 0"),
    "size": _Field(int, lambda number: number == FACE_SIZE, f"must be {FACE_SIZE}, to which faces are aligned"),
    "dimension": _POSITIVE,
    "template_version": _Field(str, _like(_NAME), "must be letters, digits, '.', '_' and '-'"),
}
_URL_FIELDS = {"address": _Field(str, _is_web_address, "must be an https or http address without a user name")}
_WHEEL_FIELDS = {
    # These reach pip's command line: nothing that it could take for an option.
    "distribution": _Field(str, _like(_NAME), "must be the name of a distribution"),
    "version": _Field(str, _like(r"[A-Za-z0-9][A-Za-z0-9.!+]*"), "must be one version"),
    "member": _Field(str, _is_member, "must be a path inside the wheel"),
}
