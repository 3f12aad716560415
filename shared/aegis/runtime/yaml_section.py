"""Maps of a YAML file that know their lines, so that an error can name the place."""

from collections.abc import Iterator
from typing import Self

import yaml


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
