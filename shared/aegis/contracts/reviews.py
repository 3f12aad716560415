"""The life cycle of an alert after it was raised: the events that people and clocks add to its story, and its states.

How an alert stands is a pure fold over its story. Which event may follow in which state stands in one table; what it
does not allow is refused where it is written, and changes nothing where it is read.
"""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aegis.contracts import alerts, cloudevents
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.people import Verdict, Vote

ACKNOWLEDGED = "aegis.alert.acknowledged.v1"
CONFIRMED = "aegis.alert.confirmed.v1"
DISMISSED = "aegis.alert.dismissed.v1"
ESCALATED = "aegis.alert.escalated.v1"
EXPIRED = "aegis.alert.expired.v1"
CORRECTED = "aegis.alert.corrected.v1"
EVENT_TYPES = (ACKNOWLEDGED, CONFIRMED, DISMISSED, ESCALATED, EXPIRED, CORRECTED)


class AlertState(enum.Enum):
    """How an alert stands."""

    RAISED = "raised"
    ESCALATED = "escalated"
    """Nobody acknowledged it in time, so more people were told."""
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED_ONCE = "confirmed-once"
    CONFIRMED_TWICE = "confirmed-twice"
    DISMISSED = "dismissed"
    CORRECTED = "corrected"
    """Dismissed, and everyone who had been told was told so."""
    EXPIRED = "expired"

    @property
    def decided(self) -> bool:
        """Whether nobody's view can be influenced any more by that of others."""
        return self in (
            AlertState.CONFIRMED_TWICE,
            AlertState.DISMISSED,
            AlertState.CORRECTED,
            AlertState.EXPIRED,
        )


_OPEN = {
    ESCALATED: AlertState.ESCALATED,
    ACKNOWLEDGED: AlertState.ACKNOWLEDGED,
    CONFIRMED: AlertState.CONFIRMED_ONCE,
    DISMISSED: AlertState.DISMISSED,
    EXPIRED: AlertState.EXPIRED,
}
_SEEN = {kind: state for kind, state in _OPEN.items() if kind != ESCALATED}
NEXT: dict[AlertState, dict[str, AlertState]] = {
    AlertState.RAISED: _OPEN,
    AlertState.ESCALATED: _OPEN,
    AlertState.ACKNOWLEDGED: _SEEN,
    AlertState.CONFIRMED_ONCE: {
        **_SEEN,
        ACKNOWLEDGED: AlertState.CONFIRMED_ONCE,
        CONFIRMED: AlertState.CONFIRMED_TWICE,
    },
    AlertState.CONFIRMED_TWICE: {DISMISSED: AlertState.DISMISSED},
    AlertState.EXPIRED: {DISMISSED: AlertState.DISMISSED},
    AlertState.DISMISSED: {CORRECTED: AlertState.CORRECTED},
    AlertState.CORRECTED: {},
}
"""The table: what may follow in a state, and the state after it."""

_WHY_NOT = {
    AlertState.RAISED: "nobody dismissed it, so there is nothing to correct",
    AlertState.ESCALATED: "nobody dismissed it, so there is nothing to correct",
    AlertState.ACKNOWLEDGED: "somebody is looking into it already",
    AlertState.CONFIRMED_ONCE: "somebody has confirmed it already",
    AlertState.CONFIRMED_TWICE: "two people have confirmed it already; it can only be dismissed",
    AlertState.EXPIRED: "it is history and nobody may act on it any more; it can only be dismissed",
    AlertState.DISMISSED: "it was dismissed already",
    AlertState.CORRECTED: "it was dismissed, and those who had been told know so",
}


class TransitionError(ValueError):
    """What cannot happen to an alert as it stands; its text says why, to people."""


def after(state: AlertState, event_type: str) -> AlertState:
    """Give the state after an event.

    Raises:
        TransitionError: the event may not follow in this state.

    """
    if event_type not in NEXT[state]:
        raise TransitionError(_WHY_NOT[state])
    return NEXT[state][event_type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What changed: the data of all events of the life cycle. ``state`` is the one after it."""

    alert: str
    reference: str
    site: str
    category: str
    entry: str
    state: AlertState
    """How it stands after this event."""
    updated_at: float
    """When it was done."""
    expires_at: float = 0.0
    """Until when the alert can be acted on."""
    by: str = ""
    """Name of the user who did it; empty where a clock did."""
    reason: str = ""
    """Why it was dismissed."""
    step: int = 0
    """The step of the rule that an escalation went on to, from 2; 0 in other events."""
    drill: bool = False
    told: int | None = None
    """How many contacts had been told of the alert; in events that correct it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of the life cycle: its id, its type and its data."""

    id: str
    type: str
    update: Update

    def event(self) -> CloudEvent:
        """Wrap it for the bus."""
        return CloudEvent(
            id=self.id,
            source=f"/aegis/sites/{self.update.site}",
            type=self.type,
            time=cloudevents.rfc3339(self.update.updated_at),
            subject=f"{self.update.category}/{self.update.entry}",
            data=cloudevents.to_data(self.update),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """How one alert stands and how that came about. ``sighting`` is the newest that raised it."""

    sighting: Sighting
    state: AlertState = AlertState.RAISED
    history: tuple[Change, ...] = ()

    @property
    def confirmed_by(self) -> tuple[str, ...]:
        """The names of those who confirmed it, as everybody may know."""
        return tuple(change.update.by for change in self.history if change.type == CONFIRMED)

    @property
    def told(self) -> frozenset[str]:
        """The ids of its events."""
        return frozenset(change.id for change in self.history)

    def as_of(self, now: float) -> "Review":
        """Give it as it stands at ``now``: what has run out is expired, whether or not an event says so yet."""
        over = now >= self.sighting.expires_at and EXPIRED in NEXT[self.state]
        return replace(self, state=AlertState.EXPIRED) if over else self

    def change(self, event_type: str, identity: str, at: float, *, by: str = "", reason: str = "") -> Change:
        """Make the event that may come next.

        Raises:
            TransitionError: it may not follow.

        """
        state = after(self.state, event_type)
        if event_type == CONFIRMED and by in self.confirmed_by:
            raise TransitionError(f"{by} has confirmed it already; the second confirmation must be another person's")
        if event_type == DISMISSED and not reason:
            raise TransitionError("a dismissal needs a reason")
        seen = self.sighting
        update = Update(
            alert=seen.alert,
            reference=seen.reference,
            site=seen.site,
            category=seen.category,
            entry=seen.entry,
            state=state,
            updated_at=at,
            expires_at=seen.expires_at,
            by=by,
            reason=reason,
            drill=seen.drill,
        )
        return Change(id=identity, type=event_type, update=update)

    def followed(self, change: Change) -> "Review":
        """Give it as it stands after an event; one that may not follow changes nothing."""
        told = change.update
        try:
            made = self.change(change.type, change.id, told.updated_at, by=told.by, reason=told.reason)
        except TransitionError:
            return self
        return replace(self, state=made.update.state, history=(*self.history, change))

    def _raised_again(self, sighting: Sighting) -> "Review":
        """Give it with the time that it has anew; what people said before stays said."""
        state = self.state
        if state is AlertState.EXPIRED:
            said = {change.type for change in self.history}
            state = AlertState.ACKNOWLEDGED if ACKNOWLEDGED in said else AlertState.RAISED
            state = AlertState.CONFIRMED_ONCE if CONFIRMED in said else state
        return replace(self, sighting=sighting, state=state)


def fold(review: Review | None, event: CloudEvent) -> Review | None:
    """Read one more event of an alert's story; None until it is raised.

    Raises:
        DecodeError: the event is broken.

    """
    if event.type == alerts.RAISED:
        seen = cloudevents.from_data(Sighting, event.data)
        return review._raised_again(seen) if review else Review(sighting=seen)  # noqa: SLF001 - its own module
    if review is None or event.type not in EVENT_TYPES:
        return review
    update = cloudevents.from_data(Update, event.data)
    return review.followed(Change(id=event.id, type=event.type, update=update))


EVENTS = {Verdict.ACK: ACKNOWLEDGED, Verdict.CONFIRM: CONFIRMED, Verdict.DISMISS: DISMISSED}


def proposed(review: Review, vote: Vote, event_type: str = "") -> Change:
    """Make the event that tells of a vote, whose id is always the same; of the type of its verdict unless another.

    Raises:
        TransitionError: it may not follow.

    """
    kind = event_type or EVENTS[vote.review.verdict]
    identity = hashlib.sha256(f"{review.sighting.alert}\n{vote.user}\n{kind}".encode()).hexdigest()[:24]
    reason = vote.review.reason if kind == DISMISSED else ""
    return review.change(kind, identity, vote.at, by=vote.name, reason=reason)


def due(review: Review, votes: Iterable[Vote], needed: int) -> tuple[Change, ...]:
    """Say what has to be told of the votes that is not told yet, in order.

    Where ``needed`` people must confirm, a confirmation looks like an acknowledgement until so many are there: who
    has not given a view yet cannot see that of others.
    """
    ordered = sorted(votes, key=lambda vote: (vote.at, vote.user))
    confirmed = {vote.name for vote in ordered if vote.review.verdict is Verdict.CONFIRM} | {*review.confirmed_by}
    found = []
    for vote in ordered:
        hidden = vote.review.verdict is Verdict.CONFIRM and len(confirmed) < needed
        try:
            change = proposed(review, vote, ACKNOWLEDGED if hidden else "")
        except TransitionError:  # something else happened first
            continue
        known = change.type == ACKNOWLEDGED and vote.name in review.confirmed_by
        if change.id not in review.told and not known:
            found.append(change)
            review = review.followed(change)
    return tuple(found)


def visible(review: Review, votes: Iterable[Vote], viewer: str) -> tuple[Vote, ...]:
    """Give the views that a user (by id) may see: all that there are once it is decided or the user has given one."""
    views = tuple(vote for vote in votes if vote.review.verdict is not Verdict.ACK)
    return views if review.state.decided or any(vote.user == viewer for vote in views) else ()
