"""Answers people who ask notify: to send a test, to explain an alert, to begin a drill."""

import asyncio
import datetime as dt
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aegis.contracts import alerts, cloudevents, codec, explaining, subjects
from aegis.contracts.deliveries import DeliveryRecord, DeliveryState, ExplainAlert, NewsKind, SendTest, StartDrill
from aegis.contracts.messages import Reply, SiteRecord
from aegis.contracts.telling import Contact, Telling
from aegis.notify.contents import invented
from aegis.notify.courier import Courier
from aegis.notify.ledger import Ledger
from aegis.runtime import tracing
from aegis.runtime.bus import BusUnavailableError, ConflictError, Msg, RefusedError
from aegis.runtime.references import new_alert
from aegis.runtime.service import Context

log = logging.getLogger(__name__)

M = TypeVar("M")

TEST_SECONDS = 120.0
HEADERS = {"content-type": cloudevents.CONTENT_TYPE}


class RequestError(ValueError):
    """What was asked for cannot be done, in a sentence for people."""


class Desk:
    """The requests that notify answers."""

    def __init__(
        self,
        context: Context[Any],
        ledger: Ledger,
        *,
        policy: Telling,
        zone: dt.tzinfo,
        site: SiteRecord,
        cameras: dict[str, str],
        couriers: dict[str, Courier],
    ) -> None:
        self._context = context
        self._bus = context.bus
        self._ledger = ledger
        self._policy = policy
        self._zone = zone
        self._site = site
        self._cameras = cameras
        self._couriers = couriers

    async def serve(self) -> None:
        """Answer, for ever."""
        await self._ledger.synced()
        operations = {
            "test": self._operation(SendTest, self._test),
            "explain": self._operation(ExplainAlert, self._explain),
            "drill": self._operation(StartDrill, self._drill),
        }
        for name, operation in operations.items():
            await self._bus.serve(subjects.notify(name), operation)
        await asyncio.Event().wait()

    def _operation(
        self, kind: type[M], perform: Callable[[M], Awaitable[object]]
    ) -> Callable[[Msg], Awaitable[bytes | None]]:
        async def answer(message: Msg) -> bytes | None:
            request = await self._context.read(kind, message)
            if request is None:
                return codec.encode(Reply(problem=f"the request is malformed; {kind.__name__} is expected"))
            try:
                return codec.encode(Reply(body=json.dumps(await perform(request))))
            except (RequestError, BusUnavailableError, RefusedError, ConflictError) as error:
                return codec.encode(Reply(problem=str(error)))
            except Exception:  # whoever asks must not wait for an answer that never comes
                log.exception("a request on %s failed", message.subject)
                return codec.encode(Reply(problem="notify made a mistake; its log says which"))

        return answer

    async def _test(self, request: SendTest) -> object:
        contacts = [c for c in self._policy.contacts if c.person == request.person]
        if not contacts:
            known = ", ".join(dict.fromkeys(c.person for c in self._policy.contacts)) or "nobody"
            raise RequestError(f"{request.person!r} is not in the site file's section notify; known are: {known}")
        contacts = [c for c in contacts if request.via in ("", c.channel)]
        if not contacts:
            raise RequestError(f"{request.person!r} has no {request.via}")
        identity, now = f"test-{secrets.token_hex(8)}", time.time()
        for contact in contacts:
            record = DeliveryRecord(
                alert=identity,
                channel=contact.channel,
                recipient=contact.token,
                state=DeliveryState.PENDING,
                at=now,
                event=identity,
                kind=NewsKind.TEST,
                person=contact.person,
                asked_at=now,
                expires_at=now + TEST_SECONDS,
            )
            await self._ledger.write(
                subjects.delivery(contact.channel, identity, identity, contact.token), None, record
            )
        return {"test": identity, "contacts": [self._named(contact) for contact in contacts]}

    def _named(self, contact: Contact) -> dict[str, object]:
        to = self._couriers[contact.channel].label(contact)
        return {"person": contact.person, "name": contact.name, "channel": contact.channel, "to": to}

    async def _explain(self, request: ExplainAlert) -> object:
        history = [_listed(record) for record in await self._ledger.history(request.alert)]
        case = await self._ledger.load(request.alert, request.subject) if request.subject else None
        if case is None or case.review is None:
            return {"state": "", "contacts": [], "history": history}
        newest = next(reversed(case.raised))
        last = case.review.history[-1].update if case.review.history else None
        by = last.by if last else ""
        told = [kept.record for kept in case.deliveries.values() if kept.record.event == newest]
        said = explaining.explain(self._policy, case.review.sighting, case.review.state, told, self._zone, by)
        contacts = {(c.channel, c.token): c for c in self._policy.contacts}
        return {
            "state": case.review.state.value,
            "by": by,
            "since": last.updated_at if last else case.review.sighting.raised_at,
            "contacts": [
                {
                    **self._named(contacts[one.channel, one.recipient]),
                    "recipient": one.recipient,
                    "step": one.step,
                    "state": one.state.value if one.state else None,
                    "reason": one.reason,
                    "problem": self._couriers[one.channel].problem(contacts[one.channel, one.recipient]),
                }
                for one in said
            ],
            "history": history,
        }

    async def _drill(self, request: StartDrill) -> object:
        # A drill tells people, which the canary's category never does.
        known = [name for name, category in self._site.categories.items() if not category.canary]
        category = request.category or next(iter(known), "")
        camera = request.camera or next(iter(self._cameras), "drill")
        if category not in known:
            raise RequestError(f"there is no category {category!r}; known are {', '.join(known)}")
        if request.camera and camera not in self._cameras:
            raise RequestError(
                f"there is no camera {camera!r} in the site file; known are {', '.join(self._cameras) or 'none'}"
            )
        alert, reference = new_alert()
        seen = invented(
            self._site,
            alert,
            reference,
            at=time.time(),
            category=category,
            camera=camera,
            camera_name=self._cameras.get(camera, camera),
        )
        event = alerts.event(alerts.RAISED, secrets.token_hex(12), seen)
        subject = subjects.alert(seen.site, seen.category, seen.entry)
        with tracing.started("notify.drill", always=True, alert=alert):
            await self._bus.store(subject, cloudevents.dump(event), message_id=event.id, headers=HEADERS)
        log.warning("a drill was begun: %s", reference)
        return {"alert": alert, "reference": reference, "subject": subject, "raised_at": seen.raised_at}


def _listed(record: DeliveryRecord) -> dict[str, object]:
    return {
        "at": record.at,
        "kind": record.kind.value,
        "person": record.person,
        "channel": record.channel,
        "recipient": record.recipient,
        "state": record.state.value,
        "detail": record.detail,
        "attempts": record.attempts,
        "provider_id": record.provider_id,
        "repeated": record.repeated,
        "asked_at": record.asked_at,
    }
