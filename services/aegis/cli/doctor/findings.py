"""What a check says: one line, with the remedy where there is one."""

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    """It works, and may not for long or not as somebody may think."""
    PROBLEM = "problem"
    """Something does not work."""
    SKIPPED = "skipped"
    """It could not be looked at; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``aegis doctor``."""

    check: str
    level: Level
    text: str
    remedy: str = ""

    def line(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level.value:<8} {self.check}: {self.text}{remedy}"


def ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Level.WARNING, text, remedy)


def problem(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Level.PROBLEM, text, remedy)


def skipped(check: str, text: str) -> Finding:
    return Finding(check, Level.SKIPPED, text)
