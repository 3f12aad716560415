"""Which rule of the site file's section ``notify`` holds for which alerts, and the steps that it takes."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from aegis.contracts import telling as policy
from aegis.contracts.messages import Category, Severity
from aegis.contracts.telling import Outside, Rule, Step, Telling
from aegis.runtime.yaml_section import Section, Values

CHANNELS = ("email", "sms", "webhook", "other")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEVERITIES = tuple(severity.value for severity in Severity)
NO_HOURS = (0, 0)
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")


def names(values: Values, body: Section, name: str, known: Collection[str]) -> tuple[str, ...]:
    """Read a list of names, each of which must be known; give those that are."""
    line = body.line_of(name)
    found = [values.expand(text, line) for text in body.texts(name, values.problems)]
    for text in found:
        if text not in known:
            values.problem(line, f"{name}: {text!r} is not one of {', '.join(known) or 'none'}")
    return tuple(text for text in found if text in known)


def hours(values: Values, body: Section) -> tuple[int, int]:
    """Read ``HH:MM-HH:MM`` under the key ``hours`` as minutes since midnight."""
    text = values.text(body, "hours")
    match = _HOURS.fullmatch(text)
    start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else NO_HOURS
    if text and (start == end or end > 24 * 60):
        values.problem(body.line_of("hours"), f"hours: {text!r} is not HH:MM-HH:MM with two different times")
    return start, end


class RuleReader:
    """Reads rules, given whom and what they may name.

    ``cameras`` are the cameras behind each name of a camera or a group of cameras.
    """

    def __init__(
        self,
        values: Values,
        people: Telling,
        categories: Mapping[str, Category],
        cameras: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._values, self._people, self._categories, self._cameras = values, people, categories, cameras
        self._persons = tuple(dict.fromkeys(contact.person for contact in people.contacts))

    def read(self, bodies: Iterable[Section]) -> tuple[Rule, ...]:
        found: list[Rule] = []
        for body in bodies:
            rule = self._rule(body)
            if rule.name in (earlier.name for earlier in found):
                self._values.problem(body.line, f"rule {rule.name!r} stands twice")
            elif reason := self._idle(rule, found):
                self._values.problem(body.line, f"rule {rule.name!r} never matches: {reason}")
            found.append(rule)
        return tuple(found)

    def _rule(self, body: Section) -> Rule:
        values = self._values
        body.only("name", "when", "steps", "outside", problems=values.problems)
        when = body.map("when", values.problems if "when" in body else [])
        when.only("categories", "cameras", "severity", "days", "hours", problems=values.problems)
        cameras = names(values, when, "cameras", self._cameras) if "cameras" in when else ()
        days = names(values, when, "days", DAYS) if "days" in when else ()
        steps = body.maps("steps", values.problems)
        if not steps:
            values.problem(body.line_of("steps"), "steps is a list with at least one step")
        return Rule(
            name=values.text(body, "name"),
            categories=names(values, when, "categories", self._categories) if "categories" in when else (),
            cameras=tuple(dict.fromkeys(c for name in cameras for c in self._cameras[name])),
            severity=Severity(values.choice(when, "severity", SEVERITIES, Severity.LOW.value)),
            days=tuple(DAYS.index(day) for day in days),
            hours=hours(values, when) if "hours" in when else None,
            steps=tuple(self._step(step) for step in steps),
            outside=self._outside(body.map("outside", values.problems)) if "outside" in body else None,
        )

    def _step(self, body: Section) -> Step:
        body.only("tell", "via", "wait", problems=self._values.problems)
        tell, via = self._whom(body, outside=False)
        return Step(tell=tell, via=via, wait=self._values.number(body, "wait", 60.0, 5, 3600))

    def _outside(self, body: Section) -> Outside:
        body.only("tell", "via", "confirmations", "drills", problems=self._values.problems)
        tell, via = self._whom(body, outside=True)
        number = self._values.number(body, "confirmations", 2.0, 1, 2)
        if not number.is_integer():
            line = body.line_of("confirmations")
            self._values.problem(line, f"confirmations: a whole number is expected, not {number:g}")
        drills = self._values.flag(body, "drills")
        return Outside(tell=tell, via=via, confirmations=int(number), drills=drills)

    def _whom(self, body: Section, *, outside: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Read people, none for everyone, and channels; whoever is told must have one of these."""
        values, line = self._values, body.line_of("tell")
        via = names(values, body, "via", CHANNELS) if "via" in body else ()
        if "tell" not in body:
            values.problem(line, "tell is missing")
            return (), via
        if not outside and body.value("tell") == "everyone":
            if not policy.contacts(self._people, Step(tell=(), via=via)):
                values.problem(line, f"tell: nobody of the site has {', '.join(via) or 'a contact'}")
            return (), via
        tell = names(values, body, "tell", self._persons)
        for person in tell:
            contacts = [c for c in self._people.contacts if c.person == person]
            if any(c.outside is not outside for c in contacts):
                only = "is of the site; only people with outside: true" if outside else "is outside; only the site's"
                values.problem(line, f"tell: {person!r} {only} are told here")
            elif contacts and via and not any(c.channel in via for c in contacts):
                values.problem(line, f"tell: {person!r} has none of {', '.join(via)}")
        return tell, via

    def _idle(self, rule: Rule, earlier: Sequence[Rule]) -> str:
        """Say why a rule can never be the one that holds; empty if it can."""
        severities = [
            c.severity for name, c in self._categories.items() if name in rule.categories or not rule.categories
        ]
        if severities and all(severity.rank < rule.severity.rank for severity in severities):
            return f"none of its categories is as severe as {rule.severity.value}"
        covering = next((other.name for other in earlier if _covers(other, rule)), None)
        return f"{covering!r} before it matches all of it" if covering is not None else ""


def _covers(rule: Rule, later: Rule) -> bool:
    """Tell whether a rule certainly matches all that a later one does."""
    always = not rule.days and rule.hours is None
    return (
        _holds(rule.categories, later.categories)
        and _holds(rule.cameras, later.cameras)
        and rule.severity.rank <= later.severity.rank
        and (always or (rule.hours == later.hours and _holds(rule.days, later.days)))
    )


def _holds(wider: tuple[object, ...], narrower: tuple[object, ...]) -> bool:
    """Tell whether one list has all of another; an empty one stands for everything."""
    return not wider or (bool(narrower) and set(narrower) <= set(wider))
