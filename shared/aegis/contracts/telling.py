"""Who is told of an alert, when, and by what: the policy as data, and what it says to do next. Pure."""

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState, NewsKind
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState

DAY = 86_400.0
OPEN = (AlertState.RAISED, AlertState.ESCALATED)
"""Nobody has said yet that they take care of it."""
DISTURBING = ("sms", "other")
"""Channels that wake people up; quiet hours hold for these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One way to reach one person or system."""

    person: str
    """The key in the site file."""
    name: str
    channel: str
    """``email``, ``sms``, ``webhook`` or ``other`` (Apprise)."""
    address: str = field(repr=False)
    secret: str = field(default="", repr=False)
    outside: bool = False
    """Not of the site, as the police: told only after the confirmations that the rule asks."""

    @property
    def token(self) -> str:
        """The name of this contact on the bus, which does not tell the address to who merely reads subjects."""
        return hashlib.sha256(f"{self.channel}\n{self.address}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Whom to tell next, and how long to wait for an acknowledgement before the step after it."""

    tell: tuple[str, ...]
    """Keys of people; empty for everyone of the site."""
    via: tuple[str, ...] = ()
    """Channels; empty for all that a person has."""
    wait: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Outside parties, and how many people must have confirmed before they are told."""

    tell: tuple[str, ...]
    via: tuple[str, ...] = ()
    confirmations: int = 2
    drills: bool = False
    """Whether they are told of exercises, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do with the alerts that it matches; what is empty matches all. Hours are minutes since midnight."""

    name: str
    categories: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    severity: Severity = Severity.LOW
    """At least so severe."""
    days: tuple[int, ...] = ()
    """0 is Monday."""
    hours: tuple[int, int] | None = None
    """From, until; across midnight where the second is not later."""
    steps: tuple[Step, ...]
    outside: Outside | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """When whom not to disturb: alerts less severe than ``below`` are then told by mail and webhook alone."""

    hours: tuple[int, int]
    below: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """The policy: contacts, and the first rule that matches decides."""

    contacts: tuple[Contact, ...] = ()
    rules: tuple[Rule, ...] = ()
    quiet: QuietHours | None = None
    sms_names: bool = False
    """Whether an SMS may name the person, besides category, camera, time and reference."""


EVERYONE = Rule(name="everyone", steps=(Step(tell=()),))
"""What holds where there are no rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A contact who is to be told now. ``step`` counts from 1; 0 for outside parties and corrections."""

    contact: Contact
    step: int = 0
    kind: NewsKind = NewsKind.ALERT


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done about an alert now."""

    due: tuple[Due, ...] = ()
    escalate_to: int = 0
    """The step that the alert has gone on to, which no record or state tells yet; 0 if to none."""
    expired: bool = False
    """Its time is over, nobody decided, and its state does not tell so yet."""
    wake_at: float | None = None
    """When the same alert with the same records has another plan; None if never."""


def rule_for(telling: Telling, sighting: Sighting, local: dt.datetime) -> Rule | None:
    """Give the first rule that matches at ``local``, a time in the site's zone; None if none of the rules does."""
    return next((rule for rule in telling.rules or (EVERYONE,) if _matches(rule, sighting, local)), None)


def confirmations(telling: Telling, sighting: Sighting, local: dt.datetime) -> int:
    """Tell how many people must confirm the alert before it counts as confirmed to the outside."""
    rule = rule_for(telling, sighting, local)
    return rule.outside.confirmations if rule and rule.outside else 1


def plan(  # noqa: PLR0917 - all that it depends on, and nothing of it is a choice
    telling: Telling,
    sighting: Sighting,
    state: AlertState,
    told: Sequence[DeliveryRecord],
    now: float,
    zone: dt.tzinfo,
) -> Plan:
    """Say whom to tell of a raised event now.

    ``told`` are the newest records of that event's deliveries. The rule is that of the moment of capture, so it does
    not change while the alert lives.
    """
    case = Case(telling, sighting, state, told, zone)
    present = case.at(now)
    wake_at = next((when for when in case.changes(now) if case.at(when) != present), None)
    return replace(present, wake_at=wake_at)


def corrections(telling: Telling, told: Sequence[DeliveryRecord]) -> tuple[Due, ...]:
    """Say who must be told that an alert was dismissed: whoever knows of it, or may, by the channel that told them.

    ``told`` are the newest records of all deliveries of the alert, those of corrections too.
    """
    corrected = {key(r) for r in told if r.kind is NewsKind.CORRECTION}
    return tuple(Due(contact=c, kind=NewsKind.CORRECTION) for c in _knowing(telling, told) if key(c) not in corrected)


def updates(telling: Telling, told: Sequence[DeliveryRecord], event: str) -> tuple[Due, ...]:
    """Say which systems must be told of an event of an alert's life: every webhook that knows of the alert, or may."""
    heard = {key(r) for r in told if r.event == event}
    systems = (c for c in _knowing(telling, told) if c.channel == "webhook")
    return tuple(Due(contact=c, kind=NewsKind.UPDATE) for c in systems if key(c) not in heard)


def knowing(told: Sequence[DeliveryRecord]) -> set[tuple[str, str]]:
    """Give the key of every contact that knows of an alert, or may, be it in the site file still or not."""
    return {key(r) for r in told if r.kind is NewsKind.ALERT and r.state.handed_over}


def _knowing(telling: Telling, told: Sequence[DeliveryRecord]) -> list[Contact]:
    known = knowing(told)
    return list({key(c): c for c in telling.contacts if key(c) in known}.values())


class Case:
    """An alert, its rule and what became of it so far, of which can be asked what is due at any time."""

    def __init__(
        self,
        telling: Telling,
        sighting: Sighting,
        state: AlertState,
        told: Sequence[DeliveryRecord],
        zone: dt.tzinfo,
    ) -> None:
        self.telling, self.sighting, self.state, self._zone = telling, sighting, state, zone
        self.rule = rule_for(telling, sighting, self.local(sighting.captured_at))
        self.told = {key(record): record for record in told if record.kind is NewsKind.ALERT}
        self.furthest = max((record.step for record in self.told.values()), default=0)

    def local(self, when: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(when, self._zone)

    def at(self, now: float) -> Plan:
        """Give the plan at ``now``, which does not tell when it changes."""
        if self.sighting.canary:
            return Plan()
        if now >= self.sighting.expires_at:
            return Plan(expired=not self.state.decided)
        if self.rule is None:
            return Plan()
        if self.state not in OPEN:
            return Plan(due=tuple(self._outside(self.rule, now)))
        due = tuple(self._steps(self.rule, now))
        reached = max((item.step for item in due), default=0)
        if reached <= self.furthest:  # whoever is late in an earlier step is told, but that is no news of the alert
            reached = self.furthest if self.state is AlertState.RAISED else 0
        return Plan(due=due, escalate_to=reached if reached > 1 else 0)

    def changes(self, now: float) -> list[float]:
        """Give the times after ``now`` at which the plan may change, in order."""
        end = self.sighting.expires_at
        steps = enumerate(self.rule.steps if self.rule else (), 1)
        found = {end, *(self._asked(number) + step.wait for number, step in steps if self._of(number))}
        if self.telling.quiet:
            minutes = range(int(now // 60) + 1, int(min(end, now + DAY) // 60) + 1)
            found.update(60.0 * m for m in minutes if self._quiet(60.0 * m) != self._quiet(60.0 * (m - 1)))
        return sorted(when for when in found if now < when <= end)

    def hushed(self, contact: Contact, now: float) -> bool:
        """Tell whether quiet hours keep this from a contact for now."""
        quiet = self.telling.quiet
        if quiet is None or contact.channel not in DISTURBING or self.sighting.severity.rank >= quiet.below.rank:
            return False
        return self._quiet(now)

    def enough(self, outside: Outside) -> bool:
        """Tell whether so many people have confirmed that outside parties are told."""
        if self.sighting.drill and not outside.drills:
            return False
        once = self.state is AlertState.CONFIRMED_ONCE and outside.confirmations == 1
        return once or self.state is AlertState.CONFIRMED_TWICE

    def _outside(self, rule: Rule, now: float) -> Iterator[Due]:
        if rule.outside and self.enough(rule.outside):
            new = self._new(contacts(self.telling, rule.outside), set(self.told), now)
            yield from (Due(contact=contact) for contact in new)

    def _steps(self, rule: Rule, now: float) -> Iterator[Due]:
        asked = set(self.told)
        for number, step in enumerate(rule.steps, 1):
            new = self._new(contacts(self.telling, step), asked, now)
            yield from (Due(contact=contact, step=number) for contact in new)
            if not self._passed(number, step, new, now):
                return

    def _new(self, these: Sequence[Contact], asked: set[tuple[str, str]], now: float) -> list[Contact]:
        """Give those who were not asked and may be disturbed, and add them to ``asked``."""
        new = []
        for contact in these:
            if key(contact) not in asked and not self.hushed(contact, now):
                asked.add(key(contact))
                new.append(contact)
        return new

    def _passed(self, number: int, step: Step, new: Sequence[Contact], now: float) -> bool:
        """Tell whether the step after this one is reached."""
        records = self._of(number)
        if number < self.furthest:
            return True
        if not records:
            return not new  # there is nobody whom it would tell: nothing to wait for
        if not new and all(record.state is DeliveryState.FAILED or record.stuck for record in records):
            return True
        return now >= self._asked(number) + step.wait

    def _of(self, number: int) -> list[DeliveryRecord]:
        return [record for record in self.told.values() if record.step == number]

    def _asked(self, number: int) -> float:
        return min(record.asked_at for record in self._of(number))

    def _quiet(self, now: float) -> bool:
        quiet = self.telling.quiet
        return quiet is not None and _began(quiet.hours, self.local(now)) is not None


def contacts(telling: Telling, party: Step | Outside) -> tuple[Contact, ...]:
    """Give whom a step tells, who are never outside parties, or which outside parties a rule names."""
    outside = isinstance(party, Outside)
    everyone = not party.tell and not outside
    return tuple(
        c
        for c in telling.contacts
        if c.outside is outside and (everyone or c.person in party.tell) and (not party.via or c.channel in party.via)
    )


def key(of: Contact | DeliveryRecord) -> tuple[str, str]:
    """Give the channel and token by which a record tells of a contact."""
    return (of.channel, of.token if isinstance(of, Contact) else of.recipient)


def _matches(rule: Rule, sighting: Sighting, local: dt.datetime) -> bool:
    day = _began(rule.hours or (0, 24 * 60), local)
    return (
        (not rule.categories or sighting.category in rule.categories)
        and (not rule.cameras or sighting.camera in rule.cameras)
        and sighting.severity.rank >= rule.severity.rank
        and day is not None
        and (not rule.days or day in rule.days)
    )


def _began(hours: tuple[int, int], local: dt.datetime) -> int | None:
    """Give the weekday on which the hours began that it is now; None if it is outside of them."""
    start, end = hours
    minute = local.hour * 60 + local.minute
    if start < end:
        return local.weekday() if start <= minute < end else None
    if minute >= start:
        return local.weekday()
    return (local.weekday() - 1) % 7 if minute < end else None
