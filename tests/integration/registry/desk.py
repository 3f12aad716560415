"""A registry with alerts, and people with keys who review them."""

import dataclasses
import secrets
import time

from tests.bus import until
from tests.integration.registry.conftest import Registry

from aegis.contracts import alerts, cloudevents, codec, reviews, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.messages import Severity
from aegis.contracts.people import AddUser, ShowAlert, SignedReview, Verdict
from aegis.contracts.reviews import Review
from aegis.runtime import person_keys
from aegis.runtime.person_keys import PersonKey
from aegis.runtime.references import new_alert

POLICY = """
categories:
  barred: {severity: high, false_alerts_per_week: 1}
  armed: {severity: critical}
notify:
  people:
    desk: {name: Desk, other: "json://127.0.0.1:9/desk"}
    police: {name: Police, outside: true, other: "json://127.0.0.1:9/police"}
  rules:
    - name: weapons
      when: {categories: [armed]}
      steps: [{tell: [desk]}]
      outside: {tell: [police], confirmations: 2}
    - name: others
      steps: [{tell: [desk]}]
"""


class Person:
    """Somebody with a key, who says things of alerts."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self.name = name
        self.id = ""
        self.key = PersonKey(person_keys.new_seed())

    async def join(self) -> "Person":
        added = await self._registry.ask("user-add", AddUser(name=self.name, public_key=self.key.public))
        self.id = added["id"]
        return self

    def signed(self, alert: str, verdict: Verdict, reason: str = "", late: float = 0.0) -> SignedReview:
        review = SignedReview(
            alert=alert,
            verdict=verdict,
            reason=reason,
            at=time.time() - late,
            public_key=self.key.public,
            signature=b"",
        )
        return dataclasses.replace(review, signature=self.key.sign(review.signed))

    async def say(self, alert: str, verdict: Verdict, reason: str = "") -> str:
        answer = await self._registry.ask("alert-review", self.signed(alert, verdict, reason))
        assert answer["by"] == self.name
        return "waits" if answer["waits"] else str(answer["state"])

    async def refused(self, alert: str, verdict: Verdict, reason: str = "", late: float = 0.0) -> str:
        return await self._registry.refused("alert-review", self.signed(alert, verdict, reason, late))

    async def sees(self, reference: str) -> list[str]:
        """Give who gave a view, of those that this person is shown."""
        request = ShowAlert(reference=reference, at=time.time(), public_key=self.key.public)
        request = dataclasses.replace(request, signature=self.key.sign(request.signed))
        return [view["by"] for view in (await self._registry.ask("alert-show", request))["views"]]


class Desk(Registry):
    """A registry with alerts to review."""

    async def person(self, name: str) -> Person:
        return await Person(self, f"{name} {secrets.token_hex(4)}").join()

    async def alert(self, category: str = "barred", entry: str = "", left: float = 600.0) -> Sighting:
        """Raise one that can be acted on for so many seconds yet."""
        now = time.time()
        alert, reference = new_alert()
        sighting = Sighting(
            alert=alert, reference=reference, site="north", site_name="North", category=category,
            severity=Severity.HIGH, entry=entry or f"p{secrets.token_hex(4)}", person="A Person", camera="lobby",
            camera_name="Lobby", captured_at=now, first_captured_at=now, score=0.7, threshold=0.5, looks=2,
            track="t", detector="d", embedder="e", watchlist_version=1, raised_at=now + left - 600,
            expires_at=now + left, drill=False, chip="", frame="",
        )  # fmt: skip
        await self.bus.store(self.subject(sighting), cloudevents.dump(alerts.event(alerts.RAISED, alert, sighting)))
        await self.read(reference)
        return sighting

    async def read(self, reference: str) -> None:
        """Wait until the registry has read of an alert."""

        async def known() -> bool:
            return not (await self._reply("alert-show", codec.encode(ShowAlert(reference=reference)))).problem

        await until(known, "the registry has read of the alert")

    @staticmethod
    def subject(sighting: Sighting) -> str:
        return subjects.alert(sighting.site, sighting.category, sighting.entry)

    async def add(self, sighting: Sighting, kind: str) -> None:
        """Tell of an alert in the place of notify."""
        last = await self.bus.last(subjects.ALERTS, self.subject(sighting))
        assert last is not None
        change = (await self.review(sighting)).change(kind, secrets.token_hex(8), time.time())
        await self.bus.store(self.subject(sighting), cloudevents.dump(change.event()), expected_last=last.seq)

    async def review(self, sighting: Sighting) -> Review:
        """Fold what stands on the bus."""
        review: Review | None = None
        for event in await self.story(sighting):
            review = reviews.fold(review, event)
        assert review is not None
        return review

    async def story(self, sighting: Sighting) -> list[cloudevents.CloudEvent]:
        info = await self.bus.client.jetstream().stream_info(subjects.ALERTS)
        found = []
        for sequence in range(max(1, info.state.first_seq), info.state.last_seq + 1):
            message = await self.bus.client.jetstream().get_msg(subjects.ALERTS, sequence)
            if message.subject == self.subject(sighting):
                found.append(cloudevents.load(message.data or b""))
        return found

    async def told(self, sighting: Sighting) -> list[tuple[str, str]]:
        """Give what was told since it was raised; each by its own id."""
        review, story = await self.review(sighting), await self.story(sighting)
        assert len({event.id for event in story}) == len(story)
        return [(change.type, change.update.by) for change in review.history]
