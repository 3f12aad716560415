"""Maps of a YAML file that know their lines, so that an error can name the place."""

import re
from collections.abc import Iterator, Mapping
from typing import Self

import yaml

from aegis.contracts import subjects

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Section:
    """A map of a YAML file. What is wrong is added to ``problems`` as ``:<line>: <sentence>``."""

    def __init__(self, node: yaml.MappingNode) -> None:
        self.line = node.start_mark.line + 1
        self._items = {str(key.value): (key, value) for key, value in node.value}
        names = [str(key.value) for key, _ in node.value]
        self._twice = [
            (name, key.start_mark.line + 1)
            for index, (name, (key, _)) in enumerate(zip(names, node.value, strict=True))
            if name in names[:index]
        ]

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def line_of(self, name: str) -> int:
        """Give the line of a key, or the map's own if it has none such."""
        return int(self._items[name][0].start_mark.line) + 1 if name in self._items else self.line

    def value(self, name: str) -> object:
        """Give a key's plain value; None for what plain YAML does not know."""
        try:
            return yaml.safe_load(yaml.serialize(self._items[name][1]))
        except (yaml.YAMLError, ValueError):  # a tag of somebody else's, or a date that is none
            return None

    def only(self, *names: str, problems: list[str]) -> None:
        """Refuse every key that is not one of ``names`` or stands twice."""
        problems.extend(f":{line}: {name!r} stands twice" for name, line in self._twice)
        problems.extend(
            f":{self.line_of(name)}: {name!r} is not known here; known are {', '.join(names)}"
            for name in self._items
            if name not in names
        )

    def map(self, name: str, problems: list[str]) -> Self:
        """Give the map under a key, an empty one if it is none."""
        node = self._items.get(name, (None, None))[1]
        if isinstance(node, yaml.MappingNode):
            return type(self)(node)
        problems.append(f":{self.line_of(name)}: {name} {'is a map' if name in self._items else 'is missing'}")
        return type(self)(yaml.MappingNode("", [], start_mark=yaml.Mark("", 0, self.line - 1, 0, None, 0)))

    def maps(self, name: str, problems: list[str]) -> list[Self]:
        """Give the list of maps under a key, empty if it is none."""
        node = self._items.get(name, (None, None))[1]
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(n, yaml.MappingNode) for n in node.value):
            problems.append(f":{self.line_of(name)}: {name} is a list of maps")
            return []
        return [type(self)(item) for item in node.value]

    def texts(self, name: str, problems: list[str]) -> tuple[str, ...]:
        """Give the texts under a key, of which there must be one at least."""
        node = self._items.get(name, (None, None))[1]
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        if not items or not all(isinstance(item, yaml.ScalarNode) for item in items):
            problems.append(f":{self.line_of(name)}: {name} is a list with at least one text")
            return ()
        return tuple(str(item.value) for item in items)


class Values:
    """The values of a file's sections by what they are to be; ``problems`` fills with what is wrong, by line.

    ``${NAME}`` in a text is the variable NAME of ``environ``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def problem(self, line: int, text: str) -> None:
        """Take note of what is wrong."""
        self.problems.append(f":{line}: {text}")

    def text(self, body: Section, name: str, default: str | None = None) -> str:
        """Give a text; without a default it must be there."""
        if name not in body:
            if default is None:
                self.problem(body.line, f"{name} is missing")
            return default or ""
        value = body.value(name)
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            self.problem(body.line_of(name), f"{name}: a text is expected")
            return default or ""
        return self.expand(str(value), body.line_of(name))

    def expand(self, text: str, line: int) -> str:
        """Fill in the variables of a text."""

        def replace(match: re.Match[str]) -> str:
            if match[1] not in self.environ:
                self.problem(line, f"the environment variable {match[1]} is not set")
            return self.environ.get(match[1], "")

        return _VARIABLE.sub(replace, text)

    def choice(self, body: Section, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(body, name, default or None)
        if value and value not in choices:
            self.problem(body.line_of(name), f"{name}: {value!r} is not one of {', '.join(choices)}")
            return default
        return value

    def number(self, body: Section, name: str, default: float, least: float, most: float) -> float:
        value = body.value(name) if name in body else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.problem(body.line_of(name), f"{name}: a number from {least:g} to {most:g} is expected, not {value!r}")
            return default
        return float(value)

    def flag(self, body: Section, name: str, *, default: bool = False) -> bool:
        value = body.value(name) if name in body else default
        if not isinstance(value, bool):
            self.problem(body.line_of(name), f"{name}: true or false is expected, not {value!r}")
            return default
        return value

    def token(self, body: Section, name: str, what: str) -> str:
        text = self.text(body, name)
        return self.as_token(text, what, body.line_of(name)) if text else text

    def as_token(self, text: str, what: str, line: int) -> str:
        try:
            return subjects.token(text, what)
        except ValueError as error:
            self.problem(line, str(error))
            return ""
