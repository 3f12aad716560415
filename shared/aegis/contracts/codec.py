"""msgpack for frozen dataclasses: a newer field is ignored, a missing one takes its default, a bad one is named.

Every message is a map with its fields and ``v``, the version of its meaning. Fields are only ever added; whatever
else changes gets a new version on new subjects, so a reader that meets another version refuses it.
"""

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgpack

VERSION = 1

M = TypeVar("M")
Parser = Callable[[Any, str], Any]


class DecodeError(ValueError):
    """Bytes that are not a message of the expected kind. ``field`` is the path of the offender, if it is one field."""

    def __init__(self, kind: str, problem: str, field: str = "") -> None:
        self.kind = kind
        self.field = field
        self.problem = problem
        super().__init__(f"{kind}{'.' if field else ''}{field}: {problem}")


class _FieldError(ValueError):
    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(problem)


def encode(message: object) -> bytes:
    """Write a dataclass as msgpack."""
    return cast("bytes", msgpack.packb({"v": VERSION, **to_plain(message)}, use_bin_type=True))


def to_plain(message: object) -> dict[str, Any]:
    """Give a dataclass as maps, lists and scalars, its bytes untouched."""
    return {f.name: _plain(getattr(message, f.name)) for f in dataclasses.fields(cast("Any", message))}


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def decode(kind: type[M], data: bytes) -> M:
    """Read a message of one kind.

    Raises:
        DecodeError: naming the field, when the bytes are not msgpack, not a map, of another version or ill-typed.

    """
    try:
        plain = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise DecodeError(kind.__name__, f"not msgpack ({str(error) or type(error).__name__})") from None
    if not isinstance(plain, dict):
        raise DecodeError(kind.__name__, f"a map is expected, not {type(plain).__name__}")
    if plain.get("v") != VERSION:
        raise DecodeError(kind.__name__, f"this reader knows version {VERSION}, not {plain.get('v')!r}", "v")
    return from_plain(kind, plain)


def from_plain(kind: type[M], plain: object) -> M:
    """Build a dataclass from what :func:`to_plain` gave; errors as in :func:`decode`."""
    try:
        return cast("M", _parser(cast("Any", kind))(plain, ""))
    except _FieldError as error:
        raise DecodeError(kind.__name__, error.problem, error.path) from None


def _fail(path: str, expected: str, value: object) -> typing.NoReturn:
    shown = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    raise _FieldError(path, f"{expected} is expected, not {shown[:80]}")


def _scalar(kind: type) -> Parser:
    def parse(value: object, path: str) -> object:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            _fail(path, kind.__name__, value)
        return value

    return parse


def _enumeration(kind: type[enum.Enum]) -> Parser:
    def parse(value: object, path: str) -> enum.Enum:
        try:
            return kind(value)
        except ValueError:
            _fail(path, "one of " + ", ".join(str(m.value) for m in kind), value)

    return parse


def _sequence(item: Parser) -> Parser:
    def parse(value: object, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            _fail(path, "a list", value)
        return tuple(item(element, f"{path}[{index}]") for index, element in enumerate(value))

    return parse


def _mapping(item: Parser) -> Parser:
    def parse(value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            _fail(path, "a map with text keys", value)
        return {key: item(element, f"{path}.{key}") for key, element in value.items()}

    return parse


def _optional(item: Parser) -> Parser:
    def parse(value: object, path: str) -> object:
        return None if value is None else item(value, path)

    return parse


def _record(kind: type) -> Parser:
    hints = typing.get_type_hints(kind)
    fields = [(f, _parser(hints[f.name])) for f in dataclasses.fields(kind)]

    def parse(value: object, path: str) -> object:
        if not isinstance(value, dict):
            _fail(path, "a map", value)
        prefix = f"{path}." if path else ""
        found = {}
        for field, parser in fields:
            if field.name in value:
                found[field.name] = parser(value[field.name], prefix + field.name)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise _FieldError(prefix + field.name, "is missing")
        try:
            return kind(**found)
        except ValueError as error:
            raise _FieldError(path, str(error)) from None

    return parse


@functools.cache
def _parser(kind: Any) -> Parser:  # noqa: ANN401 - a type expression has no narrower type
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        return _optional(_parser(inner[0]))
    if origin is tuple:
        return _sequence(_parser(arguments[0]))
    if origin is dict:
        return _mapping(_parser(arguments[1]))
    if dataclasses.is_dataclass(kind):
        return _record(cast("type", kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enumeration(kind)
    return _scalar(kind)
