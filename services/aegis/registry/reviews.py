"""What people say of alerts: verified, kept as sealed votes, and told as far as it may be known.

    review ──► vote (kept once) ──► what is due of all votes of the alert ──► aegis.v1.alert.<site>.<category>.<entry>

A vote is kept before anything of it is told. What is due follows from votes and story alone, so after a crash between
the two, the next review of the alert or the next leader tells the rest.
"""

import asyncio
import datetime as dt
import logging
import time
from dataclasses import asdict
from typing import Any

from aegis.contracts import reviews, telling
from aegis.contracts.people import ShowAlert, SignedReview, Verdict, Vote
from aegis.contracts.reviews import AlertState, Review, TransitionError
from aegis.contracts.telling import Telling
from aegis.registry import dismissals
from aegis.registry.alerts import Alerts
from aegis.registry.core import RequestError
from aegis.registry.users import Users
from aegis.registry.vault import Vault
from aegis.runtime.bus import BusUnavailableError, ConflictError, RefusedError
from aegis.runtime.site_notify import machine_zone

log = logging.getLogger(__name__)

REASON_LENGTH = 500
READ_SECONDS = 10.0


class Reviews:
    """The reviews of all alerts that are kept."""

    def __init__(self, vault: Vault, users: Users, alerts: Alerts) -> None:
        self._vault = vault
        self._users = users
        self._alerts = alerts
        self._one_at_a_time = asyncio.Lock()
        self.telling, self.zone = Telling(), machine_zone()
        """What the site file says."""

    async def take(self, request: SignedReview) -> object:
        """Keep a review and tell what may be told of it. The same once more changes nothing.

        Raises:
            RequestError: who may not say this, or of which alert it cannot be said any more.

        """
        now = time.time()
        user = self._users.signer(request, now)
        if request.verdict is Verdict.DISMISS and not request.reason:
            raise RequestError("a dismissal needs a reason")
        if len(request.reason) > REASON_LENGTH or not request.reason.isprintable():
            raise RequestError(f"a reason has at most {REASON_LENGTH} letters, all of them printable")
        await self._read()
        vote = Vote(user=user.id, name=user.name, at=now, review=request)
        async with self._one_at_a_time:
            review = self._known(self._alerts.get(request.alert), request.alert)
            key = f"{request.alert}.{user.id}.{request.verdict.value}"
            known = self._vault.mirrors["votes"].entries
            repeated = key in known and self._vault.unsealed(Vote, "votes", key).review != request
            if key not in known:
                _check(review.as_of(now), vote)
                try:
                    await self._vault.create("votes", key, vote)
                except ConflictError:
                    log.info("this review was kept already")
            review = await self._settle(review)
        return {**self._answer(review, vote), "repeated": repeated}

    async def show(self, request: ShowAlert) -> object:
        """Say how an alert stands, and to whom may see it what people said of it.

        Raises:
            RequestError: there is no such alert, or the request is not signed by who it says.

        """
        viewer = self._users.signer(request, time.time()).id if request.public_key else ""
        await self._read()
        review = self._known(self._alerts.find(request.reference), request.reference).as_of(time.time())
        votes = reviews.visible(review, self._votes(review.sighting.alert), viewer)
        views = [
            {"by": v.name, "verdict": v.review.verdict.value, "reason": v.review.reason, "at": v.at} for v in votes
        ]
        history = [{"type": change.type, **asdict(change.update)} for change in review.history]
        for told in history:
            told["state"] = told["state"].value
        return {
            **{name: getattr(review.sighting, name) for name in SHOWN},
            "severity": review.sighting.severity.value,
            "state": review.state.value,
            "decided": review.state.decided,
            "needed": self._needed(review),
            "history": history,
            "views": views,
        }

    async def finish(self) -> None:
        """Tell what was kept and not told, for example since the registry died in between."""
        try:
            await self._read()
            for alert in {key.partition(".")[0] for key in self._vault.mirrors["votes"].entries}:
                async with self._one_at_a_time:
                    if review := self._alerts.get(alert):
                        await self._settle(review)
        except (BusUnavailableError, RefusedError, RequestError) as error:
            log.warning("kept reviews are not all told yet: %s", error)

    async def dismissed(self, found: dict[str, Any], now: float) -> dict[str, Any]:
        """Add to what is known of each category how many of its alerts were dismissed as false."""
        await self._read()
        first = min((user.added_at for user in self._users.known().values()), default=now)
        counted = dismissals.count(self._alerts.all(), first, now)
        for name, category in found.get("categories", {}).items():
            category["dismissed"] = counted.category(name, category["accepted"])
        return found

    async def _settle(self, review: Review) -> Review:
        """Tell all that is due of an alert, and give it as it then stands."""
        alert = review.sighting.alert
        while True:
            review = self._known(self._alerts.get(alert), alert).as_of(time.time())
            changes = reviews.due(review, self._votes(alert), self._needed(review))
            if not changes:
                return review
            try:
                await self._alerts.add(changes[0])
            except ConflictError:
                log.info("something else was told of the alert; reading on")
                await self._alerts.read_on(changes[0])

    def _answer(self, review: Review, vote: Vote) -> dict[str, object]:
        """Say what became of a review: told, or kept until so many people have confirmed as must."""
        event_type, confirms = reviews.EVENTS[vote.review.verdict], vote.review.verdict is Verdict.CONFIRM
        said = any(change.type == event_type and change.update.by == vote.name for change in review.history)
        counted = confirms and review.state is AlertState.CONFIRMED_TWICE
        if not said and not counted:
            _check(review, vote)
        return {
            "reference": review.sighting.reference,
            "by": vote.name,
            "state": review.state.value,
            "waits": confirms and not said and not counted,
        }

    def _votes(self, alert: str) -> list[Vote]:
        """Give the votes of an alert by those who are users still."""
        users, prefix = self._users.known(), f"{alert}."
        keys = [key for key in self._vault.mirrors["votes"].entries if key.startswith(prefix)]
        votes = [self._vault.unsealed(Vote, "votes", key) for key in keys]
        return [vote for vote in votes if vote.user in users]

    def _needed(self, review: Review) -> int:
        # The rule is that of the moment of capture, as for notify.
        local = dt.datetime.fromtimestamp(review.sighting.captured_at, self.zone)
        return telling.confirmations(self.telling, review.sighting, local)

    def _known(self, review: Review | None, name: str) -> Review:
        if review is None:
            raise RequestError(f"there is no alert {name}; see: aegis alerts list")
        return review

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._alerts.synced.wait()
        except TimeoutError:
            raise RequestError("the registry is still reading what was told before; try again") from None


SHOWN = (
    "alert", "reference", "site", "category", "entry", "person", "camera", "camera_name", "raised_at", "expires_at",
    "drill",
)  # fmt: skip


def _check(review: Review, vote: Vote) -> None:
    try:
        reviews.proposed(review, vote)
    except TransitionError as error:
        raise RequestError(f"{review.sighting.reference}: {error}") from None
