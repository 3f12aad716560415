"""Everyone who was not told of an alert is told why."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.contracts.escalation import (
    GATE_SMS,
    NIGHT,
    PEOPLE,
    RAISED_AT,
    SENT,
    STEPS,
    TELLING,
    ZONE,
    quiet,
    record,
    sighting,
)

from aegis.contracts.explaining import Explained, explain
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Due, Outside, Step, Telling


def reasons(explained: Sequence[Explained]) -> list[str]:
    return [e.reason for e in explained]


def test_everyone_who_was_not_told_is_told_why() -> None:
    told = [record(Due(contact=GATE_SMS, step=1), RAISED_AT)]
    steps = (STEPS[0], Step(tell=("head",)))
    telling = Telling(contacts=PEOPLE, rules=(replace(NIGHT, steps=steps),))
    found = explain(telling, sighting(), AlertState.ACKNOWLEDGED, told, ZONE, by="Ann")
    assert [(e.person, e.channel, e.step, e.state) for e in found[:2]] == [
        ("gate", "sms", 1, SENT),
        ("gate", "email", 0, None),
    ]
    assert reasons(found)[1:] == [
        "rule night does not tell gate by email",
        "step 2 was not reached: Ann acknowledged",
        "not in rule night",
        "outside: 0 of 2 confirmations",
    ]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (AlertState.RAISED, "step 2 was not reached yet"),
        (AlertState.DISMISSED, "step 2 was not reached: the alert was dismissed"),
        (AlertState.EXPIRED, "step 2 was not reached: the alert expired"),
    ],
)
def test_a_step_that_was_not_reached_says_what_stopped_it(state: AlertState, reason: str) -> None:
    told = [record(Due(contact=GATE_SMS, step=1), RAISED_AT)]
    assert explain(TELLING, sighting(), state, told, ZONE)[2].reason == reason


def test_quiet_hours_and_outside_parties_are_explained() -> None:
    one = replace(NIGHT, outside=Outside(tell=("police",), confirmations=1))
    found = explain(quiet((0, 1440)), sighting(), AlertState.CONFIRMED_ONCE, (), ZONE)
    assert reasons(found)[0] == "quiet hours"
    assert reasons(found)[4] == "outside: 1 of 2 confirmations"
    found = explain(Telling(contacts=PEOPLE, rules=(one,)), sighting(), AlertState.CONFIRMED_ONCE, (), ZONE)
    assert reasons(found)[4] == "not told yet"
    assert reasons(found)[0] == "not told in time: the alert was confirmed"
    assert reasons(explain(Telling(contacts=PEOPLE), sighting(), AlertState.RAISED, (), ZONE)) == [
        *["not told yet"] * 4,
        "not in rule everyone",
    ]
