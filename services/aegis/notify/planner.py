"""Decides who is told of what, and writes it down as deliveries: the channels take it from there.

It wakes when something of an alert was read and when time runs out for a step. What it decides follows from what
stands on the bus alone, so a restarted planner goes on, and two of them write the same.
"""

import asyncio
import contextlib
import datetime as dt
import heapq
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from aegis.contracts import cloudevents, codec, reviews, subjects, telling
from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState, NewsKind
from aegis.contracts.reviews import AlertState
from aegis.contracts.telling import Due, Telling
from aegis.notify import core
from aegis.notify.core import Told
from aegis.notify.ledger import Case, Kept, Ledger, patiently
from aegis.runtime import tracing
from aegis.runtime.bus import Bus, ConflictError
from aegis.runtime.service import Start

log = logging.getLogger(__name__)

AT_ONCE = 64
FORGET_SECONDS = 60.0
HEADERS = {"content-type": cloudevents.CONTENT_TYPE}


class Planner:
    """Give it a policy and let it :meth:`run`; call :meth:`look_at` when something of an alert was read."""

    def __init__(self, bus: Bus, policy: Telling, zone: dt.tzinfo) -> None:
        self._bus = bus
        self._policy = policy
        self._zone = zone
        self._waiting: dict[str, None] = {}
        self._working: set[str] = set()
        self._alarms: list[tuple[float, str]] = []
        self._woken = asyncio.Event()

    @property
    def busy(self) -> int:
        return len(self._waiting) + len(self._working)

    def look_at(self, alert: str) -> None:
        """Have an alert looked at."""
        self._waiting[alert] = None
        self._woken.set()

    async def run(self, ledger: Ledger, start: Start) -> None:
        """Look at what changed, for ever; several alerts at once, each by one task at a time."""
        await ledger.synced()
        forgotten = time.monotonic()
        room = asyncio.Semaphore(AT_ONCE)

        async def one(alert: str) -> None:
            try:
                case = ledger.cases.get(alert)
                if case is not None:
                    await self._see_to(ledger, case)
            except Exception:  # one alert must not stop the others
                log.exception("an alert could not be seen to; it is tried again in a second")
                heapq.heappush(self._alarms, (time.time() + 1.0, alert))
            finally:
                self._working.discard(alert)
                self._woken.set()
                room.release()

        while True:
            self._woken.clear()
            now = time.time()
            while self._alarms and self._alarms[0][0] <= now:
                self._waiting[heapq.heappop(self._alarms)[1]] = None
            for alert in [a for a in self._waiting if a not in self._working]:
                await room.acquire()
                self._waiting.pop(alert, None)
                self._working.add(alert)
                start(one(alert))
            if time.monotonic() - forgotten > FORGET_SECONDS:
                ledger.forget(time.time())
                forgotten = time.monotonic()
            delay = min(FORGET_SECONDS, max(0.0, self._alarms[0][0] - time.time()) if self._alarms else FORGET_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._woken.wait()

    async def _see_to(self, ledger: Ledger, case: Case) -> None:
        for event, (sequence, _) in list(case.updates.items()):
            if case.sighting is not None:
                records = [kept.record for kept in case.deliveries.values()]
                due = telling.updates(self._policy, records, event)
                await self._write(ledger, event, sequence, case.sighting, due)
        if case.dismissed is not None:
            await self._correct(ledger, case)
            return
        for event, (sequence, told) in list(case.raised.items()):
            if isinstance(told.data, Sighting):
                await self._tell(ledger, case, event, sequence, told.data)

    async def _tell(self, ledger: Ledger, case: Case, event: str, sequence: int, seen: Sighting) -> None:
        now, records = time.time(), case.records(event)
        state = case.review.state if case.review else AlertState.RAISED
        plan = telling.plan(self._policy, seen, state, records, now, self._zone)
        if plan.expired and not records:
            await self._report_backlog(ledger, event, sequence, seen)
        newest = event == next(reversed(case.raised))
        step = plan.escalate_to if newest and reviews.ESCALATED in reviews.NEXT[state] else 0
        # First, since the records alone do not tell that it was not announced.
        if step and not await self._announce(ledger, case, reviews.ESCALATED, step):
            return
        await self._write(ledger, event, sequence, seen, plan.due)
        if newest and plan.expired and reviews.EXPIRED in reviews.NEXT[state] and not case.unfinished:
            await self._announce(ledger, case, reviews.EXPIRED)
        if plan.wake_at is not None:
            heapq.heappush(self._alarms, (max(plan.wake_at, now + 0.01), case.alert))
            self._woken.set()

    async def _correct(self, ledger: Ledger, case: Case) -> None:
        """Take back what was not handed over yet, and tell everyone else that it was dismissed."""
        if case.sighting is None:
            await ledger.load(case.alert, case.subject)
        seen = case.sighting
        if case.dismissed is None or seen is None:
            return
        for subject, kept in list(case.deliveries.items()):
            if kept.record.kind is NewsKind.ALERT and kept.record.state is DeliveryState.PENDING:
                with contextlib.suppress(ConflictError):
                    await ledger.write(subject, kept, _after(kept, DeliveryState.WITHDRAWN, "the alert was dismissed"))
        sequence, told = case.dismissed
        records = [kept.record for kept in case.deliveries.values()]
        due = telling.corrections(self._policy, records)
        await self._write(ledger, told.event.id, sequence, seen, due)
        if case.review and reviews.CORRECTED in reviews.NEXT[case.review.state] and not case.unfinished:
            told_of_it = telling.knowing([kept.record for kept in case.deliveries.values()])
            await self._announce(ledger, case, reviews.CORRECTED, told=len(told_of_it))

    async def _write(
        self,
        ledger: Ledger,
        event: str,
        sequence: int,
        seen: Sighting,
        due: Sequence[Due],
        *,
        state: DeliveryState = DeliveryState.PENDING,
        detail: str = "",
    ) -> None:
        now = time.time()
        lifetime = seen.expires_at - seen.raised_at

        async def one(item: Due) -> None:
            contact = item.contact
            record = DeliveryRecord(
                alert=seen.alert,
                channel=contact.channel,
                recipient=contact.token,
                state=state,
                at=now,
                detail=detail,
                event=event,
                sequence=sequence,
                kind=item.kind,
                person=contact.person,
                step=item.step,
                asked_at=now,
                # What became of an alert is news for as long again as an alert is.
                expires_at=seen.expires_at if item.kind is NewsKind.ALERT else now + lifetime,
            )
            subject = subjects.delivery(contact.channel, seen.alert, event, contact.token)
            with contextlib.suppress(ConflictError):  # another replica was faster
                await ledger.write(subject, None, record)

        if due:
            trace = ledger.cases[seen.alert].trace(event)
            with tracing.continued("notify.plan", trace, alert=seen.alert, due=len(due)):
                await asyncio.gather(*(one(item) for item in due))

    async def _report_backlog(self, ledger: Ledger, event: str, sequence: int, seen: Sighting) -> None:
        """Write down who was not told of an alert, since it had expired before it could be told."""
        in_time = min(seen.raised_at, seen.expires_at - 1.0)
        then = telling.plan(self._policy, seen, AlertState.RAISED, (), in_time, self._zone)
        if then.due:
            log.error("alert %s expired before anybody could be told of it", seen.reference)
        detail = "it had expired before it could be told"
        await self._write(ledger, event, sequence, seen, then.due, state=DeliveryState.EXPIRED, detail=detail)

    async def _announce(self, ledger: Ledger, case: Case, kind: str, step: int = 0, told: int | None = None) -> bool:
        """Add to the story what the clock or the channels brought about.

        False if something was told of this alert that is not read here yet; it is looked at again when it is.
        """
        if case.review is None:
            return False
        change = case.review.change(kind, f"{case.alert}-{kind.split('.')[2]}-{case.last}", time.time())
        update = replace(change.update, step=step, told=told)
        event = replace(change, update=update).event()
        body = cloudevents.dump(event)
        while (last := await self._last_of(case)) is not None:
            with contextlib.suppress(ConflictError):
                sequence = await patiently(
                    partial(
                        self._bus.store, case.subject, body, message_id=event.id, expected_last=last, headers=HEADERS
                    )
                )
                ledger.note(case.subject, sequence, Told(event, body, update))
                return True
        return False

    async def _last_of(self, case: Case) -> int | None:
        """Give the newest sequence of the story's subject, if nothing of this alert's is there that was not read."""
        newest = await patiently(lambda: self._bus.last(subjects.ALERTS, case.subject))
        if newest is None or newest.seq is None:
            return None
        with contextlib.suppress(codec.DecodeError):
            told = core.read(newest.data or b"")
            if told is not None and told.data.alert == case.alert and newest.seq != case.last:
                return None
        return newest.seq


def _after(kept: Kept, state: DeliveryState, detail: str) -> DeliveryRecord:
    return replace(kept.record, state=state, at=time.time(), detail=detail)
