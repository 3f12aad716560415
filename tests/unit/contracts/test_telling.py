"""Who is told of an alert, and when: rules, steps, quiet hours, outside parties, corrections."""

import datetime as dt
from dataclasses import replace

import pytest
from tests.unit.contracts.escalation import (
    FAILED,
    GATE,
    GATE_SMS,
    HEAD,
    NIGHT,
    NURSE,
    PENDING,
    PEOPLE,
    POLICE,
    RAISED_AT,
    SENT,
    STEPS,
    TELLING,
    WEDNESDAY,
    ZONE,
    World,
    contact,
    plan,
    quiet,
    record,
    sighting,
    whom,
)

from aegis.contracts import telling as policy
from aegis.contracts.alerts import LIFETIME
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.explaining import explain
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Due, Outside, Plan, Rule, Step, Telling


def test_a_whole_escalation() -> None:
    world = World(TELLING)
    world.run(LIFETIME + 1)
    assert world.history == [
        (0, "gate sms", 1),
        (60, "head email", 2),
        (60, "escalated", 2),
        (120, "gate email", 3),
        (120, "nurse email", 3),
        (120, "escalated", 3),
        (600, "expired", 0),
    ]


def test_who_acknowledges_ends_the_escalation_and_two_confirmations_tell_the_outside() -> None:
    world = World(TELLING)
    world.run(70)
    world.state = AlertState.ACKNOWLEDGED
    world.run(300)
    assert [what for _, what, _ in world.history] == ["gate sms", "head email", "escalated"]
    world.state = AlertState.CONFIRMED_ONCE
    world.run(310)
    assert len(world.history) == 3
    world.state = AlertState.CONFIRMED_TWICE
    world.run(LIFETIME + 1)
    assert world.history[3:] == [(310, "police email", 0)]


@pytest.mark.parametrize("drills", [False, True])
def test_the_outside_is_told_of_an_exercise_only_where_that_was_agreed(drills: bool) -> None:
    rule = replace(NIGHT, outside=Outside(tell=("police",), drills=drills))
    telling, exercise = Telling(contacts=PEOPLE, rules=(rule,)), sighting(drill=True)
    due = policy.plan(telling, exercise, AlertState.CONFIRMED_TWICE, (), RAISED_AT, ZONE).due
    assert due == ((Due(contact=POLICE),) if drills else ())
    told = {e.person: e.reason for e in explain(telling, exercise, AlertState.CONFIRMED_TWICE, (), ZONE)}
    assert told["police"] == ("not told yet" if drills else "outside: not told of drills")


@pytest.mark.parametrize("state", [AlertState.ACKNOWLEDGED, AlertState.CONFIRMED_ONCE])
def test_an_alert_that_nobody_decides_expires(state: AlertState) -> None:
    world = World(TELLING, state=state)
    world.run(LIFETIME + 1)
    assert world.history == [(600, "expired", 0)]


def test_a_step_whose_settings_are_wrong_does_not_wait() -> None:
    stuck = replace(record(Due(contact=GATE_SMS, step=1), RAISED_AT, PENDING), stuck=True)
    found = policy.plan(TELLING, sighting(), AlertState.RAISED, (stuck,), RAISED_AT + 1, ZONE)
    assert (found.due, found.escalate_to) == ((Due(contact=HEAD, step=2),), 2)


def test_a_step_that_failed_for_good_does_not_wait() -> None:
    world = World(TELLING, answers={GATE_SMS: FAILED})
    world.run(1)
    assert world.history == [(0, "gate sms", 1), (0, "head email", 2), (0, "escalated", 2)]


def test_a_step_of_which_one_delivery_still_may_succeed_waits() -> None:
    telling = Telling(contacts=PEOPLE, rules=(Rule(name="r", steps=(Step(tell=("gate",)), Step(tell=("head",)))),))
    world = World(telling, answers={GATE_SMS: FAILED, GATE: PENDING})
    world.run(59)
    assert [what for _, what, _ in world.history] == ["gate sms", "gate email"]


def test_a_step_of_which_somebody_was_not_asked_yet_has_not_failed() -> None:
    steps = (Step(tell=("gate",)), Step(tell=("head",)))
    telling = Telling(contacts=PEOPLE, rules=(Rule(name="r", steps=steps),))
    told = [record(Due(contact=GATE_SMS, step=1), RAISED_AT, FAILED)]
    assert whom(plan(told=told, telling=telling).due) == [(GATE, 1)]


def test_a_step_that_would_tell_nobody_new_does_not_wait() -> None:
    steps = (Step(tell=("gate",), wait=30), Step(tell=("nobody",)), Step(tell=("gate",)), Step(tell=("head",)))
    world = World(Telling(contacts=PEOPLE, rules=(Rule(name="r", steps=steps),)))
    world.run(30)
    assert world.history[2:] == [(30, "head email", 4), (30, "escalated", 4)]


def test_the_wait_counts_from_the_first_of_a_step_that_was_asked() -> None:
    told = [record(Due(contact=GATE_SMS, step=1), RAISED_AT + 5), record(Due(contact=GATE, step=1), RAISED_AT + 50)]
    assert plan(told=told, after=64.9).wake_at == RAISED_AT + 65
    assert whom(plan(told=told, after=65).due) == [(HEAD, 2)]


def test_a_planner_that_died_between_record_and_event_still_escalates() -> None:
    told = [record(Due(contact=GATE_SMS, step=1), RAISED_AT), record(Due(contact=HEAD, step=2), RAISED_AT + 60)]
    assert plan(told=told, after=61).escalate_to == 2
    assert plan(AlertState.ESCALATED, told, after=61).escalate_to == 0
    assert plan(AlertState.ESCALATED, told[:1], after=61).escalate_to == 2


def test_without_rules_everyone_of_the_site_is_told_at_once() -> None:
    due = plan(telling=Telling(contacts=PEOPLE)).due
    assert whom(due) == [(GATE_SMS, 1), (GATE, 1), (HEAD, 1), (NURSE, 1)]


def test_where_rules_are_and_none_matches_nobody_is_told() -> None:
    telling = Telling(contacts=PEOPLE, rules=(replace(NIGHT, categories=("other",)),))
    assert plan(telling=telling) == Plan(wake_at=RAISED_AT + LIFETIME)
    assert plan(telling=telling, after=LIFETIME).expired
    assert {e.reason for e in explain(telling, sighting(), AlertState.RAISED, (), ZONE)} == {"no rule matches"}


def test_an_address_that_two_people_have_is_told_once() -> None:
    telling = Telling(contacts=(GATE, replace(GATE, person="desk"), HEAD))
    assert whom(plan(telling=telling).due) == [(GATE, 1), (HEAD, 1)]


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(name="r", steps=STEPS), True),
        (Rule(name="r", steps=STEPS, categories=("barred", "other")), True),
        (Rule(name="r", steps=STEPS, categories=("other",)), False),
        (Rule(name="r", steps=STEPS, cameras=("gate",)), True),
        (Rule(name="r", steps=STEPS, cameras=("lobby",)), False),
        (Rule(name="r", steps=STEPS, severity=Severity.HIGH), True),
        (Rule(name="r", steps=STEPS, severity=Severity.CRITICAL), False),
        (Rule(name="r", steps=STEPS, days=(2,)), True),
        (Rule(name="r", steps=STEPS, days=(1, 3)), False),
        (Rule(name="r", steps=STEPS, hours=(720, 721)), True),
        (Rule(name="r", steps=STEPS, hours=(660, 720)), False),
        (Rule(name="r", steps=STEPS, hours=(721, 720)), False),
        (Rule(name="r", steps=STEPS, hours=(1080, 721)), True),
        (Rule(name="r", steps=STEPS, hours=(1080, 721), days=(1,)), True),
        (Rule(name="r", steps=STEPS, hours=(1080, 721), days=(2,)), False),
        (Rule(name="r", steps=STEPS, hours=(720, 0), days=(2,)), True),
    ],
)
def test_a_rule_matches_by_category_camera_severity_day_and_hours(rule: Rule, *, matches: bool) -> None:
    """It is Wednesday noon; hours across midnight belong to the day on which they began."""
    assert (policy.rule_for(Telling(rules=(rule,)), sighting(), WEDNESDAY) is rule) is matches


def test_the_first_rule_that_matches_decides_and_is_that_of_the_capture() -> None:
    day = Rule(name="day", hours=(0, 721), steps=(Step(tell=("gate",), via=("sms",)),))
    other = Rule(name="other", steps=(Step(tell=("head",)),))
    telling = Telling(contacts=PEOPLE, rules=(day, other))
    assert whom(plan(telling=telling, after=0).due) == whom(plan(telling=telling, after=120).due) == [(GATE_SMS, 1)]


@pytest.mark.parametrize(("rules", "number"), [((), 1), ((NIGHT,), 2), ((replace(NIGHT, outside=None),), 1)])
def test_confirmations_are_those_that_the_rule_asks(rules: tuple[Rule, ...], number: int) -> None:
    assert policy.confirmations(Telling(rules=rules), sighting(), WEDNESDAY) == number


def test_quiet_hours_spare_phones_until_they_end() -> None:
    """Until 12:01: the SMS of step 1 waits, and since that step has told nobody, the mail of step 2 does not."""
    world = World(quiet((1320, 721)))
    world.run(61)
    assert world.history == [
        (0, "head email", 2),
        (0, "escalated", 2),
        (60, "gate sms", 1),
        (60, "gate email", 3),
        (60, "nurse email", 3),
        (60, "escalated", 3),
    ]


def test_quiet_hours_that_begin_later_change_nothing_now() -> None:
    assert whom(plan(telling=quiet((721, 800))).due) == [(GATE_SMS, 1)]
    assert plan(telling=quiet((721, 800))).wake_at == RAISED_AT + 60


def test_severe_alerts_ignore_quiet_hours() -> None:
    assert whom(plan(telling=quiet((0, 1440), below=Severity.HIGH)).due) == [(GATE_SMS, 1)]


def test_quiet_hours_end_by_the_clock_on_the_wall_when_it_is_put_forward() -> None:
    """From 01:59:30 on the day on which 02:00 becomes 03:00, hours until 02:30 last half a minute."""
    start = dt.datetime(2026, 3, 8, 1, 59, 30, tzinfo=ZONE).timestamp()
    telling = replace(quiet((60, 150)), rules=(Rule(name="r", steps=STEPS[:1]),))
    found = policy.plan(telling, sighting(start), AlertState.RAISED, (), start, ZONE)
    assert (found.due, found.wake_at) == ((), start + 30)


def test_a_dismissal_is_told_to_all_who_know_and_only_once() -> None:
    states = dict(zip(PEOPLE, (SENT, DeliveryState.DELIVERED, FAILED, DeliveryState.SENDING, SENT), strict=True))
    told = [record(Due(contact=c, step=1), RAISED_AT, state) for c, state in states.items()]
    due = policy.corrections(TELLING, told)
    assert [item.contact for item in due] == [GATE_SMS, GATE, NURSE, POLICE]
    assert {(item.kind, item.step) for item in due} == {(NewsKind.CORRECTION, 0)}
    done = [record(item, RAISED_AT) for item in due[:2]]
    assert [item.contact for item in policy.corrections(TELLING, [*told, *done])] == [NURSE, POLICE]


def test_what_is_pending_when_it_is_dismissed_needs_no_correction() -> None:
    assert not policy.corrections(TELLING, [record(Due(contact=GATE, step=1), RAISED_AT, PENDING)])


def test_systems_that_know_of_an_alert_are_told_once_what_becomes_of_it() -> None:
    vms, chat = contact("vms", "webhook"), contact("chat", "webhook")
    telling = Telling(contacts=(*PEOPLE, vms, chat))
    told = [record(Due(contact=who, step=1), RAISED_AT) for who in (GATE, vms)]
    told.append(record(Due(contact=chat, step=1), RAISED_AT, FAILED))
    assert policy.updates(telling, told, "e2") == (Due(contact=vms, kind=NewsKind.UPDATE),)
    told.append(replace(record(Due(contact=vms, kind=NewsKind.UPDATE), RAISED_AT + 9), event="e2"))
    assert policy.updates(telling, told, "e2") == ()
    assert policy.updates(telling, told, "e3") == (Due(contact=vms, kind=NewsKind.UPDATE),)
