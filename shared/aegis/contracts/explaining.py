"""Why whom an alert was told, or was not: what :mod:`aegis.contracts.telling` decided, in words. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from aegis.contracts import telling as policy
from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Case, Contact, Rule, Telling

STOPPED = {
    AlertState.ACKNOWLEDGED: "acknowledged",
    AlertState.CONFIRMED_ONCE: "confirmed",
    AlertState.CONFIRMED_TWICE: "confirmed",
    AlertState.DISMISSED: "dismissed",
    AlertState.CORRECTED: "dismissed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What became of telling one contact: the state of its delivery, or None and the reason why there is none."""

    person: str
    name: str
    channel: str
    recipient: str
    """The contact's token."""
    step: int = 0
    """Of the rule, from 1; 0 where none names the contact, and for outside parties."""
    state: DeliveryState | None = None
    reason: str = ""


def explain(  # noqa: PLR0917 - as plan()
    telling: Telling,
    sighting: Sighting,
    state: AlertState,
    told: Sequence[DeliveryRecord],
    zone: dt.tzinfo,
    by: str = "",
) -> tuple[Explained, ...]:
    """Explain every contact of the site; the arguments are those of ``plan()``, and who gave the alert its state."""
    case = Case(telling, sighting, state, told, zone)
    return tuple(_explain(case, contact, by) for contact in telling.contacts)


def _explain(case: Case, contact: Contact, by: str) -> Explained:
    record = case.told.get(policy.key(contact))
    step, reason = (record.step, record.detail) if record else _why_not(case, contact, by)
    return Explained(
        person=contact.person,
        name=contact.name,
        channel=contact.channel,
        recipient=contact.token,
        step=step,
        state=record.state if record else None,
        reason=reason,
    )


def _why_not(case: Case, contact: Contact, by: str) -> tuple[int, str]:
    rule = case.rule
    if case.sighting.canary:
        return 0, "nobody is told of the canary"
    if rule is None:
        return 0, "no rule matches"
    if contact.outside:
        return 0, _why_not_outside(case, rule, contact)
    step = next((n for n, step in enumerate(rule.steps, 1) if contact in policy.contacts(case.telling, step)), 0)
    if not step:
        return 0, _not_in(rule, contact, any(contact.person in step.tell for step in rule.steps))
    reached = step <= max(case.furthest, 1)
    if reached and case.hushed(contact, case.sighting.raised_at):
        return step, "quiet hours"
    return step, f"step {step} was not reached{_stop(case.state, by)}" if not reached else _late(case.state, by)


def _why_not_outside(case: Case, rule: Rule, contact: Contact) -> str:
    outside = rule.outside
    if outside is None or contact not in policy.contacts(case.telling, outside):
        return _not_in(rule, contact, outside is not None and contact.person in outside.tell)
    if case.sighting.drill and not outside.drills:
        return "outside: not told of drills"
    if not case.enough(outside):
        given = 1 if case.state is AlertState.CONFIRMED_ONCE else 0
        return f"outside: {given} of {outside.confirmations} confirmations"
    return "quiet hours" if case.hushed(contact, case.sighting.raised_at) else "not told yet"


def _not_in(rule: Rule, contact: Contact, named: bool) -> str:  # noqa: FBT001 - of this module alone
    return (
        f"rule {rule.name} does not tell {contact.person} by {contact.channel}" if named else f"not in rule {rule.name}"
    )


def _stop(state: AlertState, by: str) -> str:
    if state is AlertState.EXPIRED:
        return ": the alert expired"
    if state not in STOPPED:
        return " yet"
    return f": {by} {STOPPED[state]}" if by else f": the alert was {STOPPED[state]}"


def _late(state: AlertState, by: str) -> str:
    """Say why nobody was told though the step was reached: it is about to be done, or too late."""
    return "not told yet" if state in policy.OPEN else f"not told in time{_stop(state, by)}"
