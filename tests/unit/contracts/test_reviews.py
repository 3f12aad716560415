"""The life cycle of an alert: what may follow what, who may say it, and who may see it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import alerts, cloudevents, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import Severity
from aegis.contracts.people import SignedReview, Verdict, Vote
from aegis.contracts.reviews import (
    ACKNOWLEDGED,
    CONFIRMED,
    CORRECTED,
    DISMISSED,
    ESCALATED,
    EVENT_TYPES,
    EXPIRED,
    AlertState,
    Change,
    Review,
    TransitionError,
    Update,
)

T = 1_780_000_000.0
SIGHTING = Sighting(
    alert="a1", reference="K7Q-2MX", site="north", site_name="North", category="barred", severity=Severity.HIGH,
    entry="p1", person="A Person", camera="lobby", camera_name="Lobby", captured_at=T, first_captured_at=T,
    score=0.75, threshold=0.5, looks=3, track="lobby-41-3", detector="d", embedder="e", watchlist_version=12,
    raised_at=T, expires_at=T + 600, drill=False, chip="c", frame="f",
)  # fmt: skip
RAISED = Review(sighting=SIGHTING)
S = AlertState

PATHS = {
    S.RAISED: [],
    S.ESCALATED: [ESCALATED],
    S.ACKNOWLEDGED: [ACKNOWLEDGED],
    S.CONFIRMED_ONCE: [CONFIRMED],
    S.CONFIRMED_TWICE: [CONFIRMED, CONFIRMED],
    S.EXPIRED: [EXPIRED],
    S.DISMISSED: [DISMISSED],
    S.CORRECTED: [DISMISSED, CORRECTED],
}
ALLOWED = {
    S.RAISED: {
        ESCALATED: S.ESCALATED, ACKNOWLEDGED: S.ACKNOWLEDGED, CONFIRMED: S.CONFIRMED_ONCE, DISMISSED: S.DISMISSED,
        EXPIRED: S.EXPIRED,
    },
    S.ESCALATED: {
        ESCALATED: S.ESCALATED, ACKNOWLEDGED: S.ACKNOWLEDGED, CONFIRMED: S.CONFIRMED_ONCE, DISMISSED: S.DISMISSED,
        EXPIRED: S.EXPIRED,
    },
    S.ACKNOWLEDGED: {
        ACKNOWLEDGED: S.ACKNOWLEDGED, CONFIRMED: S.CONFIRMED_ONCE, DISMISSED: S.DISMISSED, EXPIRED: S.EXPIRED,
    },
    S.CONFIRMED_ONCE: {
        ACKNOWLEDGED: S.CONFIRMED_ONCE, CONFIRMED: S.CONFIRMED_TWICE, DISMISSED: S.DISMISSED, EXPIRED: S.EXPIRED,
    },
    S.CONFIRMED_TWICE: {DISMISSED: S.DISMISSED},
    S.EXPIRED: {DISMISSED: S.DISMISSED},
    S.DISMISSED: {CORRECTED: S.CORRECTED},
    S.CORRECTED: {},
}  # fmt: skip


def told(review: Review, kind: str, by: str = "", reason: str = "no likeness", identity: str = "") -> Review:
    """Give the review with an event that says what it must, whether or not it may follow."""
    update = Update(
        alert="a1", reference="K7Q-2MX", site="north", category="barred", entry="p1", state=S.RAISED, updated_at=T,
        by=by, reason=reason,
    )  # fmt: skip
    event = Change(id=identity or f"{kind}-{by}-{len(review.history)}", type=kind, update=update).event()
    after = reviews.fold(review, event)
    assert after is not None
    return after


def brought(state: AlertState) -> Review:
    review = RAISED
    for number, kind in enumerate(PATHS[state]):
        review = told(review, kind, f"Person {number}")
    assert review.state is state
    return review


@pytest.mark.parametrize("state", AlertState)
@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_what_may_follow_and_to_what_it_leads(state: AlertState, kind: str) -> None:
    then = told(brought(state), kind, "Ann")
    if kind in ALLOWED[state]:
        assert reviews.after(state, kind) is then.state is ALLOWED[state][kind]
        assert then.history[-1].type == kind
    else:
        assert then == brought(state)
        with pytest.raises(TransitionError) as caught:
            reviews.after(state, kind)
        assert str(caught.value)


def test_an_event_that_nobody_knows_changes_nothing() -> None:
    event = CloudEvent(id="e", source="s", type="aegis.alert.newer.v1", time="", subject="", data={"any": "thing"})
    assert reviews.fold(RAISED, event) == RAISED
    assert reviews.fold(RAISED, alerts.event(alerts.SIGHTED, "e", SIGHTING)) == RAISED
    with pytest.raises(TransitionError):
        reviews.after(S.RAISED, "aegis.alert.newer.v1")


def test_what_was_not_raised_has_no_state() -> None:
    update = Update(
        alert="a1", reference="K", site="n", category="c", entry="p", state=S.ACKNOWLEDGED, updated_at=T, by="Ann"
    )
    assert reviews.fold(None, Change(id="e", type=ACKNOWLEDGED, update=update).event()) is None
    raised = reviews.fold(None, alerts.event(alerts.RAISED, "e", SIGHTING))
    assert raised == RAISED


def test_a_broken_event_is_an_error_with_the_field() -> None:
    event = Change(id="e", type=ACKNOWLEDGED, update=brought(S.ACKNOWLEDGED).history[0].update).event()
    del event.data["state"]
    with pytest.raises(DecodeError, match=r"Update\.state"):
        reviews.fold(RAISED, event)


def test_an_event_carries_what_changed() -> None:
    change = RAISED.change(DISMISSED, "e1", T + 9, by="Ann", reason="not her")
    event = change.event()
    assert (event.id, event.type, event.source, event.subject) == ("e1", DISMISSED, "/aegis/sites/north", "barred/p1")
    assert cloudevents.seconds(event.time) == T + 9
    assert cloudevents.from_data(Update, event.data) == Update(
        alert="a1", reference="K7Q-2MX", site="north", category="barred", entry="p1", state=S.DISMISSED,
        updated_at=T + 9, expires_at=T + 600, by="Ann", reason="not her",
    )  # fmt: skip


@pytest.mark.parametrize("state", AlertState)
def test_after_its_time_it_can_only_be_dismissed(state: AlertState) -> None:
    before, then = brought(state).as_of(T + 599.9), brought(state).as_of(T + 600)
    assert before == brought(state)
    undecided = {S.RAISED, S.ESCALATED, S.ACKNOWLEDGED, S.CONFIRMED_ONCE, S.EXPIRED}
    assert then.state is (S.EXPIRED if state in undecided else state)
    for kind in (ACKNOWLEDGED, CONFIRMED):
        with pytest.raises(TransitionError, match=r"history|two people|dismissed"):
            then.change(kind, "e", T + 601, by="Zoe")
    if state not in (S.DISMISSED, S.CORRECTED):
        assert then.change(DISMISSED, "e", T + 601, by="Zoe", reason="not her").update.state is S.DISMISSED


def test_a_person_confirms_once() -> None:
    once = told(RAISED, CONFIRMED, "Ann")
    assert told(once, CONFIRMED, "Ann") == once
    with pytest.raises(TransitionError, match="Ann has confirmed it already; the second"):
        once.change(CONFIRMED, "e", T, by="Ann")
    assert told(once, CONFIRMED, "Bob").confirmed_by == ("Ann", "Bob")


def test_a_dismissal_needs_a_reason() -> None:
    with pytest.raises(TransitionError, match="needs a reason"):
        RAISED.change(DISMISSED, "e", T, by="Ann")
    assert told(RAISED, DISMISSED, "Ann", reason="") == RAISED


@pytest.mark.parametrize(
    ("state", "then"),
    [
        (S.RAISED, S.RAISED),
        (S.ESCALATED, S.ESCALATED),
        (S.ACKNOWLEDGED, S.ACKNOWLEDGED),
        (S.CONFIRMED_ONCE, S.CONFIRMED_ONCE),
        (S.EXPIRED, S.RAISED),
        (S.DISMISSED, S.DISMISSED),
        (S.CORRECTED, S.CORRECTED),
    ],
)
def test_an_alert_that_is_raised_again_has_time_anew(state: AlertState, then: AlertState) -> None:
    worse = replace(SIGHTING, severity=Severity.CRITICAL, expires_at=T + 1200)
    again = reviews.fold(brought(state), alerts.event(alerts.RAISED, "e2", worse))
    assert again is not None
    assert (again.state, again.sighting, again.history) == (then, worse, brought(state).history)


@pytest.mark.parametrize(("kind", "state"), [(ACKNOWLEDGED, S.ACKNOWLEDGED), (CONFIRMED, S.CONFIRMED_ONCE)])
def test_what_was_said_before_it_expired_stays_said_when_it_is_raised_again(kind: str, state: AlertState) -> None:
    expired = told(told(RAISED, kind, "Ann"), EXPIRED)
    assert expired.state is S.EXPIRED
    again = reviews.fold(expired, alerts.event(alerts.RAISED, "e2", SIGHTING))
    assert again is not None
    assert again.state is state


PEOPLE = ("Ann", "Bob", "Cem")
STORY = st.lists(st.tuples(st.sampled_from(EVENT_TYPES), st.sampled_from(PEOPLE), st.booleans()), max_size=12)


@given(STORY)
def test_no_order_of_events_leads_where_the_table_does_not(story: list[tuple[str, str, bool]]) -> None:
    review = RAISED
    for number, (kind, by, reasoned) in enumerate(story):
        then = told(review, kind, by, "not her" if reasoned else "", f"e{number}")
        if then.history != review.history:
            assert then.state is ALLOWED[review.state][kind]
            assert kind != DISMISSED or reasoned
        else:
            assert then == review
        review = then
        assert review.state is not S.CONFIRMED_TWICE or len(set(review.confirmed_by)) == 2
        assert len(set(review.confirmed_by)) == len(review.confirmed_by) <= 2
        assert (review.state in (S.DISMISSED, S.CORRECTED)) == (DISMISSED in {c.type for c in review.history})


def vote(who: str, verdict: Verdict, at: float = T + 1, reason: str = "") -> Vote:
    signed = SignedReview(alert="a1", verdict=verdict, reason=reason, at=at, public_key="U", signature=b"s")
    return Vote(user=who.lower(), name=who, at=at, review=signed)


def settled(review: Review, votes: list[Vote], needed: int) -> Review:
    for change in reviews.due(review, votes, needed):
        review = review.followed(change)
    return review


def kinds(review: Review) -> list[tuple[str, str]]:
    return [(change.type, change.update.by) for change in review.history]


def test_where_one_person_is_enough_each_confirmation_is_told_at_once() -> None:
    once = settled(RAISED, [vote("Ann", Verdict.CONFIRM)], 1)
    assert kinds(once) == [(CONFIRMED, "Ann")]
    twice = settled(once, [vote("Ann", Verdict.CONFIRM), vote("Bob", Verdict.CONFIRM, T + 2)], 1)
    assert (kinds(twice), twice.state) == ([(CONFIRMED, "Ann"), (CONFIRMED, "Bob")], S.CONFIRMED_TWICE)


def test_where_two_must_confirm_the_first_looks_like_an_acknowledgement() -> None:
    first = [vote("Ann", Verdict.CONFIRM)]
    once = settled(RAISED, first, 2)
    assert (kinds(once), once.state) == ([(ACKNOWLEDGED, "Ann")], S.ACKNOWLEDGED)
    assert once == settled(RAISED, [vote("Ann", Verdict.ACK)], 2)
    twice = settled(once, [*first, vote("Bob", Verdict.CONFIRM, T + 2)], 2)
    assert kinds(twice) == [(ACKNOWLEDGED, "Ann"), (CONFIRMED, "Ann"), (CONFIRMED, "Bob")]
    assert twice.state is S.CONFIRMED_TWICE


def test_a_dismissal_is_told_at_once_and_the_confirmation_before_it_never() -> None:
    votes = [vote("Ann", Verdict.CONFIRM), vote("Bob", Verdict.DISMISS, T + 2, "not her")]
    review = settled(RAISED, votes, 2)
    assert kinds(review) == [(ACKNOWLEDGED, "Ann"), (DISMISSED, "Bob")]
    assert review.history[-1].update.reason == "not her"


VOTES = st.lists(
    st.builds(
        vote, st.sampled_from(PEOPLE), st.sampled_from(Verdict), st.integers(1, 9).map(lambda s: T + s), st.just("why")
    ),
    max_size=6,
    unique_by=lambda v: (v.user, v.review.verdict),
)


@given(VOTES, st.integers(1, 2), STORY, st.data())
def test_telling_can_stop_anywhere_and_go_on(
    votes: list[Vote], needed: int, story: list[tuple[str, str, bool]], data: st.DataObject
) -> None:
    """A crash after any event, and any event of others before: what is told in the end is told once."""
    review = RAISED
    for number, (kind, by, _) in enumerate(story[:3]):
        review = told(review, kind, by, "why", f"e{number}")
    whole = settled(review, votes, needed)
    assert reviews.due(whole, votes, needed) == ()
    changes = reviews.due(review, votes, needed)
    part = review
    for change in changes[: data.draw(st.integers(0, len(changes)))]:
        part = part.followed(change)
    assert settled(part, votes, needed) == whole
    assert len(whole.told) == len(whole.history)


@given(VOTES, st.sampled_from([v for v in Verdict if v is not Verdict.DISMISS]), st.integers(1, 9))
def test_nobody_sees_a_confirmation_before_giving_a_view(others: list[Vote], verdict: Verdict, at: int) -> None:
    """Whether Ann acknowledges or confirms, Zoe, who has said nothing, sees the same."""
    others = [v for v in others if v.name != "Ann" and v.review.verdict is Verdict.ACK]

    def seen_by_zoe(by_ann: Verdict) -> tuple[Review, tuple[Vote, ...]]:
        votes = [*others, vote("Ann", by_ann, T + at)]
        review = settled(RAISED, votes, 2)
        return review, reviews.visible(review, votes, "zoe")

    assert seen_by_zoe(verdict) == seen_by_zoe(Verdict.ACK)
    assert seen_by_zoe(verdict)[1] == ()


def test_views_are_seen_by_those_who_gave_one_and_by_all_once_it_is_decided() -> None:
    ann, bob, cem = vote("Ann", Verdict.CONFIRM), vote("Bob", Verdict.CONFIRM), vote("Cem", Verdict.ACK)
    acked = told(RAISED, ACKNOWLEDGED, "Ann")
    assert reviews.visible(acked, [ann, cem], "ann") == (ann,)
    for viewer in ("", "bob", "cem"):
        assert reviews.visible(acked, [ann, cem], viewer) == ()
        assert reviews.visible(acked.as_of(T + 600), [ann, cem], viewer) == (ann,)
        assert reviews.visible(brought(S.DISMISSED), [ann, cem], viewer) == (ann,)
        assert reviews.visible(brought(S.CONFIRMED_TWICE), [ann, bob, cem], viewer) == (ann, bob)


@pytest.mark.parametrize(
    "changes",
    [
        {"alert": "a2"},
        {"verdict": Verdict.CONFIRM},
        {"reason": "another"},
        {"at": T + 0.001},
        {"public_key": "UB"},
        {"alert": 'a1","x'},
    ],
)
def test_a_signature_is_over_all_that_is_said(changes: dict[str, object]) -> None:
    review = SignedReview(alert="a1", verdict=Verdict.ACK, reason="ä", at=T, public_key="UA", signature=b"")
    assert review.signed == b'aegis review 1\n["ack","a1","\xc3\xa4",1780000000000,"UA"]'
    assert replace(review, **changes).signed != review.signed  # type: ignore[arg-type]
