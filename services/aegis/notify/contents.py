"""What a delivery says: found again from its record, so that a restarted notify tells the same."""

from aegis.contracts import cloudevents, deliveries
from aegis.contracts.alerts import LIFETIME, Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryRecord, NewsKind
from aegis.contracts.messages import Severity, SiteRecord
from aegis.contracts.reviews import Update
from aegis.notify import core
from aegis.notify.channel import News
from aegis.notify.core import Told
from aegis.notify.ledger import Ledger


class Contents:
    """Composes news from what the ledger knows."""

    def __init__(self, ledger: Ledger, site: SiteRecord) -> None:
        self._ledger = ledger
        self._site = site

    async def of(self, record: DeliveryRecord) -> News | None:
        """Give what a record's contact is to be told; None if it is not kept any more."""
        told = self._told(record)
        case = self._ledger.cases.get(record.alert)
        seen = told.data if told and isinstance(told.data, Sighting) else case.sighting if case else None
        if told is None or seen is None:
            return None
        return News(
            identity=core.repeat_id(record.event, record.recipient),
            kind=record.kind,
            sighting=seen,
            event=told.event,
            body=told.body,
            expires_at=record.expires_at,
            update=told.data if isinstance(told.data, Update) else None,
        )

    def _told(self, record: DeliveryRecord) -> Told | None:
        if record.kind is NewsKind.TEST:
            return self._test(record)
        case = self._ledger.cases.get(record.alert)
        if case is None:
            return None
        if record.kind is NewsKind.CORRECTION:
            return case.dismissed[1] if case.dismissed and case.dismissed[1].event.id == record.event else None
        events = case.updates if record.kind is NewsKind.UPDATE else case.raised
        return events[record.event][1] if record.event in events else None

    def _test(self, record: DeliveryRecord) -> Told:
        seen = invented(self._site, record.alert, "TEST", at=record.asked_at, category="test", camera="test")
        event = CloudEvent(
            id=record.event,
            source=f"/aegis/sites/{seen.site}",
            type=deliveries.TEST,
            time=cloudevents.rfc3339(record.asked_at),
            subject="test",
            data=cloudevents.to_data(seen),
        )
        return Told(event, cloudevents.dump(event), seen)


def invented(
    site: SiteRecord, alert: str, reference: str, *, at: float, category: str, camera: str, camera_name: str = ""
) -> Sighting:
    """Make up a sighting of nobody, for tests and drills."""
    known = site.categories.get(category)
    return Sighting(
        alert=alert,
        reference=reference,
        site=site.id,
        site_name=site.name,
        category=category,
        severity=known.severity if known else Severity.LOW,
        entry="drill",
        person="Nobody (an exercise)",
        camera=camera,
        camera_name=camera_name or camera,
        captured_at=at,
        first_captured_at=at,
        score=1.0,
        threshold=known.threshold if known else 0.5,
        looks=1,
        track="drill",
        detector="",
        embedder="",
        watchlist_version=0,
        raised_at=at,
        expires_at=at + LIFETIME,
        drill=True,
        chip="",
        frame="",
    )
