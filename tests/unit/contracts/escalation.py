"""A policy, an alert and a fake clock, for tests of who is told."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import pytest

from aegis.contracts import telling as policy
from aegis.contracts.alerts import LIFETIME, Sighting
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Contact, Due, Outside, Plan, QuietHours, Rule, Step, Telling

ZONE = ZoneInfo("America/New_York")
WEDNESDAY = dt.datetime(2026, 7, 15, 12, 0, tzinfo=ZONE)
RAISED_AT = WEDNESDAY.timestamp()
SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING
OPEN = (AlertState.RAISED, AlertState.ESCALATED)


def sighting(at: float = RAISED_AT, **changes: object) -> Sighting:
    seen = Sighting(
        alert="a1",
        reference="A-1",
        site="north",
        site_name="North",
        category="barred",
        severity=Severity.HIGH,
        entry="e1",
        person="Somebody",
        camera="gate",
        camera_name="Gate",
        captured_at=at,
        first_captured_at=at,
        score=0.7,
        threshold=0.5,
        looks=3,
        track="t",
        detector="d",
        embedder="e",
        watchlist_version=1,
        raised_at=at,
        expires_at=at + LIFETIME,
        drill=False,
        chip="",
        frame="",
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def contact(person: str, channel: str = "email", *, outside: bool = False) -> Contact:
    address = f"{channel}:{person}"
    return Contact(person=person, name=person.title(), channel=channel, address=address, outside=outside)


GATE_SMS, GATE, HEAD, NURSE = contact("gate", "sms"), contact("gate"), contact("head"), contact("nurse")
POLICE = contact("police", outside=True)
PEOPLE = (GATE_SMS, GATE, HEAD, NURSE, POLICE)
STEPS = (
    Step(tell=("gate",), via=("sms",), wait=60.0),
    Step(tell=("head",), wait=60.0),
    Step(tell=()),
)
NIGHT = Rule(name="night", steps=STEPS, outside=Outside(tell=("police",)))
TELLING = Telling(contacts=PEOPLE, rules=(NIGHT,))


def record(due: Due, at: float, state: DeliveryState = SENT) -> DeliveryRecord:
    return DeliveryRecord(
        alert="a1",
        channel=due.contact.channel,
        recipient=due.contact.token,
        state=state,
        at=at,
        kind=due.kind,
        person=due.contact.person,
        step=due.step,
        asked_at=at,
    )


def plan(
    state: AlertState = AlertState.RAISED,
    told: Sequence[DeliveryRecord] = (),
    after: float = 0.0,
    *,
    telling: Telling = TELLING,
    seen: Sighting | None = None,
) -> Plan:
    return policy.plan(telling, seen or sighting(), state, told, RAISED_AT + after, ZONE)


def whom(due: Sequence[Due]) -> list[tuple[Contact, int]]:
    return [(item.contact, item.step) for item in due]


@dataclass
class World:
    """An alert and a planner that wakes when its plan says so; ``answers`` is what becomes of a contact's delivery."""

    telling: Telling
    seen: Sighting = field(default_factory=sighting)
    answers: dict[Contact, DeliveryState] = field(default_factory=dict)
    state: AlertState = AlertState.RAISED
    now: float = RAISED_AT
    told: list[DeliveryRecord] = field(default_factory=list)
    history: list[tuple[float, str, int]] = field(default_factory=list)
    """Seconds since it was raised, person and channel, or ``escalated`` or ``expired``; step."""

    def run(self, until: float, *, wakes: int = 40) -> None:
        """Go from one time to wake up to the next."""
        for _ in range(wakes):
            plan = self.act()
            if plan.wake_at is None or plan.wake_at > RAISED_AT + until:
                self.now = RAISED_AT + until
                return
            assert plan.wake_at > self.now
            self.now = plan.wake_at
        pytest.fail("it does not come to rest")

    def act(self) -> Plan:
        for _ in range(10):
            plan = policy.plan(self.telling, self.seen, self.state, self.told, self.now, ZONE)
            for item in plan.due:
                self.note(f"{item.contact.person} {item.contact.channel}", item.step)
                self.told.append(record(item, self.now, self.answers.get(item.contact, SENT)))
            if plan.escalate_to:
                self.note("escalated", plan.escalate_to)
                self.state = AlertState.ESCALATED
            if plan.expired:
                self.note("expired", 0)
                self.state = AlertState.EXPIRED
            if not plan.due and not plan.escalate_to and not plan.expired:
                return plan
        pytest.fail("there is always more to do")

    def note(self, what: str, step: int) -> None:
        self.history.append((self.now - RAISED_AT, what, step))


def quiet(hours: tuple[int, int], below: Severity = Severity.CRITICAL) -> Telling:
    return Telling(contacts=PEOPLE, rules=(NIGHT,), quiet=QuietHours(hours=hours, below=below))
