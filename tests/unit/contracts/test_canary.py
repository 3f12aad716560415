"""An alert of the canary is told to nobody, in no form, whatever becomes of it."""

from dataclasses import replace

import pytest
from tests.unit.contracts import test_cap as told
from tests.unit.contracts.escalation import NIGHT, PEOPLE, TELLING, ZONE, plan, sighting

from aegis.contracts import alerts, cap, onvif, reviews
from aegis.contracts.alerts import LIFETIME
from aegis.contracts.cap import History
from aegis.contracts.explaining import explain
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Outside, Plan, Telling

CANARY = sighting(canary=True, drill=True)
EAGER = Telling(
    contacts=PEOPLE, rules=(replace(NIGHT, outside=Outside(tell=("police",), confirmations=1, drills=True)),)
)


@pytest.mark.parametrize("state", AlertState)
@pytest.mark.parametrize("after", [0.0, 61.0, LIFETIME - 1, LIFETIME + 1])
@pytest.mark.parametrize("telling", [TELLING, EAGER, Telling(contacts=PEOPLE)])
def test_nobody_is_due_and_it_neither_escalates_nor_expires(state: AlertState, after: float, telling: Telling) -> None:
    assert plan(state, after=after, telling=telling, seen=CANARY) == Plan()


def test_everyone_is_told_why_they_were_not() -> None:
    found = explain(EAGER, CANARY, AlertState.RAISED, (), ZONE)
    assert {one.reason for one in found} == {"nobody is told of the canary"}
    assert len(found) == len(PEOPLE)


def test_neither_cap_nor_onvif_tell_it() -> None:
    history = History()
    for number, event in enumerate(
        (
            told.raised(canary=True, drill=True),
            alerts.event(alerts.SIGHTED, "e2", replace(told.SEEN, canary=True)),
            told.update(reviews.ACKNOWLEDGED, AlertState.ACKNOWLEDGED, "e3"),
            told.update(reviews.DISMISSED, AlertState.DISMISSED, "e4"),
        ),
        1,
    ):
        history, message = cap.tell(history, number, event, names=True)
        assert (history.sequence, message) == (number, None)
        assert onvif.sighting(event) is None
