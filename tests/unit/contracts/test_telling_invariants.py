"""Whatever the policy, and whatever people and providers do: nobody is told twice, too early or too late."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.contracts.escalation import (
    FAILED,
    OPEN,
    PENDING,
    RAISED_AT,
    SENT,
    ZONE,
    contact,
    record,
    sighting,
)

from aegis.contracts import telling as policy
from aegis.contracts.alerts import LIFETIME, Sighting
from aegis.contracts.deliveries import DeliveryRecord
from aegis.contracts.explaining import explain
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Outside, Plan, QuietHours, Rule, Step, Telling

NAMES = ("gate", "head", "nurse", "chief", "police", "sheriff")
OUTSIDERS = NAMES[4:]
channels = st.sampled_from(("email", "sms", "webhook", "other"))
minutes = st.integers(0, 1439)
severities = st.sampled_from(Severity)
vias = st.lists(channels, max_size=2, unique=True).map(tuple)
persons = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple)
steps = st.lists(
    st.builds(Step, tell=persons, via=vias, wait=st.sampled_from((5.0, 59.5, 60.0, 333.3, 3600.0))),
    min_size=1,
    max_size=4,
).map(tuple)
rules = st.lists(
    st.builds(
        Rule,
        name=st.just("r"),
        severity=severities,
        days=st.lists(st.integers(0, 6), max_size=6, unique=True).map(tuple),
        hours=st.none() | st.tuples(minutes, minutes),
        steps=steps,
        outside=st.none() | st.builds(Outside, tell=persons, via=vias, confirmations=st.integers(1, 5)),
    ),
    max_size=3,
).map(tuple)
policies = st.builds(
    Telling,
    contacts=st.lists(st.tuples(st.sampled_from(NAMES), channels), max_size=10, unique=True).map(
        lambda found: tuple(contact(name, channel, outside=name in OUTSIDERS) for name, channel in found)
    ),
    rules=rules,
    quiet=st.none() | st.builds(QuietHours, hours=st.tuples(minutes, minutes), below=severities),
)
times = st.floats(RAISED_AT - 200 * 86_400, RAISED_AT + 200 * 86_400)
reviews_given = st.lists(
    st.tuples(
        st.floats(0, LIFETIME + 60),
        st.sampled_from([state for state in AlertState if state not in (*OPEN, AlertState.EXPIRED)]),
    ),
    max_size=3,
).map(lambda given: sorted(given, key=lambda one: one[0]))


@settings(deadline=None)
@given(policies, times, severities, reviews_given, st.data())
def test_whatever_the_policy_nobody_is_told_twice_too_early_or_too_late(
    telling: Telling,
    start: float,
    severity: Severity,
    given_reviews: list[tuple[float, AlertState]],
    data: st.DataObject,
) -> None:
    seen = sighting(start, severity=severity)
    answers = {c: data.draw(st.sampled_from((SENT, FAILED, PENDING))) for c in telling.contacts}
    state, told, now = AlertState.RAISED, list[DeliveryRecord](), start
    rule = policy.rule_for(telling, seen, dt.datetime.fromtimestamp(start, ZONE))
    pending = list(given_reviews)
    for _ in range(100):
        found = policy.plan(telling, seen, state, told, now, ZONE)
        check_plan(telling, seen, state, rule, told, now, found)
        told += [record(item, now, answers[item.contact]) for item in found.due]
        if found.escalate_to:
            state = AlertState.ESCALATED
        if found.expired:
            state = AlertState.EXPIRED
        if found.due or found.escalate_to or found.expired:
            continue
        ends = [when for when in (found.wake_at, start + pending[0][0] if pending else None) if when is not None]
        if not ends:
            break
        now = max(now, min(ends))
        if pending and now >= start + pending[0][0]:
            state = pending.pop(0)[1]
    else:
        pytest.fail("it does not come to rest")
    assert now >= seen.expires_at or state not in OPEN
    assert state.decided
    explained = explain(telling, seen, state, told, ZONE)
    assert all(e.state is not None or e.reason for e in explained)
    assert [e.person for e in explained] == [c.person for c in telling.contacts]


def check_plan(  # noqa: PLR0917 - as plan(), and what it gave
    telling: Telling,
    seen: Sighting,
    state: AlertState,
    rule: Rule | None,
    told: Sequence[DeliveryRecord],
    now: float,
    found: Plan,
) -> None:
    tokens = [(item.contact.channel, item.contact.token) for item in found.due]
    assert len({*tokens, *((r.channel, r.recipient) for r in told)}) == len(tokens) + len(told), "told twice"
    assert not (found.due and (now >= seen.expires_at or rule is None))
    for item in found.due:
        if item.contact.outside:
            assert rule
            assert rule.outside
            assert item.contact.person in rule.outside.tell
            enough = {AlertState.CONFIRMED_TWICE} | (
                {AlertState.CONFIRMED_ONCE} if rule.outside.confirmations == 1 else set()
            )
            assert state in enough
            assert item.step == 0
        else:
            assert state in OPEN
            assert item.step >= 1
        if telling.quiet and seen.severity.rank < telling.quiet.below.rank and item.contact.channel in ("sms", "other"):
            local = dt.datetime.fromtimestamp(now, ZONE)
            start, end = telling.quiet.hours
            minute = local.hour * 60 + local.minute
            assert not (start <= minute < end if start < end else minute >= start or minute < end)
    for number in {item.step for item in found.due if item.step > 1}:
        assert rule
        before = [r for r in told if r.step == number - 1]
        late = any(r.step >= number for r in told)
        waited = before and now >= min(r.asked_at for r in before) + rule.steps[number - 2].wait
        assert late or waited or all(r.state is FAILED for r in before)
    if found.wake_at is not None:
        assert now < found.wake_at <= seen.expires_at
        middle = policy.plan(telling, seen, state, told, (now + found.wake_at) / 2, ZONE)
        assert middle == found or (now + found.wake_at) / 2 == found.wake_at
        after = policy.plan(telling, seen, state, told, found.wake_at, ZONE)
        assert replace(after, wake_at=None) != replace(found, wake_at=None)


@settings(deadline=None)
@given(policies, times, st.floats(0, LIFETIME - 1))
def test_nothing_changes_between_two_wakes(telling: Telling, start: float, after: float) -> None:
    seen = sighting(start)
    found = policy.plan(telling, seen, AlertState.RAISED, (), start, ZONE)
    if found.wake_at is None or start + after < found.wake_at:
        assert policy.plan(telling, seen, AlertState.RAISED, (), start + after, ZONE) == found
