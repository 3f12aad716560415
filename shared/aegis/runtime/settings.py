"""Settings: environment variables ``AEGIS_*``, read once into a service's frozen dataclass.

All bad ones are reported together, by name, before anything starts.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

S = TypeVar("S")
PREFIX = "AEGIS_"
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class SettingsError(ValueError):
    """Every setting that is wrong, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def setting(
    default: Any = dataclasses.MISSING,  # noqa: ANN401 - the field's own type says it
    doc: str = "",
    *,
    least: float = -math.inf,
    most: float = math.inf,
    choices: tuple[str, ...] = (),
    schemes: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401
    """Declare a field of a settings dataclass; ``doc`` says what choosing a value does."""
    limits = {"least": least, "most": most, "choices": choices, "schemes": schemes}
    return dataclasses.field(default=default, metadata={"doc": doc, **limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What every service is told."""

    bus_url: str = setting(
        "tls://127.0.0.1:4222", "Address of the NATS server, `tls://` or `nats://`; several with commas between."
    )
    bus_ca: Path | None = setting(None, "Certificate of the authority that signed the server's. Required for TLS.")
    key_file: Path | None = setting(None, "This service's nkey seed: who it is on the bus, so what it may do.")
    replica: str = setting("0", "Name of this replica, unique within its service and stable over restarts.")
    run: str = setting("", "Name of the running system; what an earlier one left of the policy does not count in it.")
    http_host: str = setting("127.0.0.1", "Address on which `/livez`, `/readyz` and `/metrics` answer.")
    http_port: int = setting(0, "Port of those; 0 picks a free one.", least=0, most=65535)
    log_level: str = setting(
        "info", "From this level on, lines are logged.", choices=("debug", "info", "warning", "error")
    )
    log_file: Path | None = setting(None, "Log there (5 MB, three files) instead of to standard error.")
    traces_url: str = setting(
        "",
        "Send traces there, by OTLP over HTTP: `http://collector:4318/v1/traces`. Nothing is traced without it.",
        schemes=("http", "https"),
    )
    traces_share: float = setting(
        0.001, "Share of all traces that is sent. Those of alerts are sent in any case.", least=0, most=1
    )


def variable(field_name: str) -> str:
    """Give the name of a field's environment variable."""
    return PREFIX + field_name.upper()


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """Read a settings dataclass.

    Raises:
        SettingsError: with all that is wrong.

    """
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    problems: list[str] = []
    for field in dataclasses.fields(cast("Any", kind)):
        name = variable(field.name)
        text = environ.get(name, "")
        if text == "":
            if field.default is dataclasses.MISSING:
                problems.append(f"{name} is not set: {field.metadata['doc']}")
            continue
        try:
            values[field.name] = _parse(hints[field.name], text, field.metadata)
        except ValueError as error:
            problems.append(f"{name}={text!r}: {error}")
    if problems:
        raise SettingsError(problems)
    return kind(**values)


def _parse(kind: Any, text: str, limits: Mapping[str, Any]) -> object:  # noqa: ANN401
    if isinstance(kind, types.UnionType):
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    if kind is bool:
        if text.lower() not in TRUE + FALSE:
            raise ValueError(f"expected one of {', '.join(TRUE + FALSE)}")
        return text.lower() in TRUE
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            raise ValueError(f"expected {'a whole number' if kind is int else 'a number'}") from None
        if not limits["least"] <= number <= limits["most"]:
            raise ValueError(f"expected {limits['least']:g} to {limits['most']:g}")
        return number
    if limits["choices"] and text not in limits["choices"]:
        raise ValueError(f"expected one of {', '.join(limits['choices'])}")
    if limits["schemes"] and not text.startswith(tuple(f"{scheme}://" for scheme in limits["schemes"])):
        raise ValueError(f"expected an address that begins with {' or '.join(f'{s}://' for s in limits['schemes'])}")
    return kind(text)
