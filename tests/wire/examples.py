"""One example of every message and event, whose bytes are committed beside this file in ``golden/``.

``python -m tests.wire.examples`` writes the files that are missing, for a new kind of message. It never changes one
that is there: those bytes are on the wire and in stores, and must be read for ever.
"""

from dataclasses import replace
from pathlib import Path

from aegis.contracts import alerts, cameras, cloudevents, codec, deliveries, messages, people, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.cameras import CameraReport
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import DeliveryState, NewsKind
from aegis.contracts.messages import Severity, SiteState
from aegis.contracts.people import Verdict
from aegis.contracts.reviews import AlertState, Change, Update

GOLDEN = Path(__file__).with_name("golden")

NOON = 1_780_000_000.25

_REVIEW = people.SignedReview(
    alert="a1", verdict=Verdict.DISMISS, reason="not him", at=NOON, public_key="UA", signature=bytes(range(64))
)

MESSAGES: tuple[object, ...] = (
    messages.FrameCaptured(
        camera="lobby",
        lease=41,
        sequence=7,
        captured_at=NOON,
        media_time=1.5,
        jpeg=b"\xff\xd8\xff\xd9",
        shared=messages.SharedPicture(file="lobby.41.0", place=2, turn=8, width=1280, height=720),
    ),
    messages.FacesDetected(
        camera="lobby",
        lease=41,
        detector="yunet-2023mar",
        looks=(
            messages.Look(
                track=3,
                look=1,
                captured_at=NOON,
                first_captured_at=NOON - 2,
                seen_at=NOON + 1,
                media_time=None,
                quality=0.875,
                chip=bytes(range(12)),
            ),
        ),
    ),
    messages.FacesEmbedded(
        camera="lobby",
        lease=41,
        detector="yunet-2023mar",
        embedder="sface-2021dec",
        looks=(
            messages.EmbeddedLook(
                track=3,
                look=1,
                captured_at=NOON,
                first_captured_at=NOON - 2,
                seen_at=NOON + 1,
                media_time=1.5,
                quality=0.875,
                vector=bytes(range(16)),
            ),
        ),
    ),
    messages.LookRequested(camera="lobby", lease=41, track=3, look=1),
    messages.LookFound(chip_png=b"\x89PNG", frame_jpeg=b"\xff\xd8", problem=""),
    messages.SiteRecord(
        id="north",
        name="North High",
        kind="k12-school",
        jurisdiction="US-PA",
        state=SiteState.SHADOW,
        state_since=NOON,
        run="r1",
        cohort="c1",
        categories={
            "barred": messages.Category(
                severity=Severity.CRITICAL,
                threshold=0.625,
                accepted=1.0,
                expected=0.5,
                upper=0.875,
                basis="extrapolated",
                problem="no",
                canary=True,
            )
        },
    ),
    messages.CameraRecord(
        id="lobby",
        partition=3,
        url="rtsp://user:word@10.0.0.7/stream2",
        name="Lobby",
        fps=2.5,
        loop=True,
        transport="udp",
        token="t",
        origin="site",
        edge="gym",
    ),
    messages.EntryRecord(
        id="p1",
        name="A Person",
        category="barred",
        embedder="sface-2021dec",
        added_at=NOON,
        templates=(messages.Template(vector=bytes(range(16)), photo="p1-1"),),
    ),
    messages.CohortPart(cohort="c1", number=1, embedder="sface-2021dec", vectors=bytes(range(16))),
    messages.CohortRecord(id="c1", embedder="sface-2021dec", built_at=NOON, size=120, parts=2),
    messages.UseCohort(cohort="c1", parts=2),
    messages.ImpostorRecord(embedder="sface-2021dec", cohort="c1", since=NOON, histogram=bytes(range(10))),
    messages.Reply(problem="no", body='{"a": 1}'),
    messages.AddCamera(
        camera="lobby",
        url="file:/clips/a.mkv",
        name="Lobby",
        fps=2.5,
        loop=True,
        transport="udp",
        token="t",
        edge="gym",
    ),
    messages.AddEntry(name="A Person", category="barred", photos=(b"\xff\xd8", b"\x89PNG")),
    messages.Remove(id="p1"),
    messages.ListAll(),
    messages.ShowPictures(chip="a1-chip", frame="a1-frame", entry="p1"),
    messages.SetState(state=SiteState.DISARMED),
    messages.DeadLetter(service="embed", subject="a.b", problem="chip: is missing", size=12, at=NOON),
    messages.TraceKept(trace=bytes(range(16))),
    messages.LeaseRecord(owner="0", place="b.1.2"),
    deliveries.DeliveryRecord(
        alert="a1",
        channel="email",
        recipient="r1",
        state=DeliveryState.SENT,
        at=NOON,
        detail="250 OK",
        attempts=2,
        event="e1",
        sequence=31,
        kind=NewsKind.CORRECTION,
        person="guard",
        step=2,
        asked_at=NOON - 3,
        expires_at=NOON + 600,
        provider_id="SM1",
        stuck=True,
        repeated=True,
    ),
    deliveries.SendTest(person="guard", via="sms"),
    deliveries.ExplainAlert(alert="a1", subject="aegis.v1.alert.north.barred.p1"),
    deliveries.StartDrill(category="barred", camera="lobby"),
    people.UserRecord(id="u1", name="Ann", public_key="UA", added_at=NOON),
    people.AddUser(name="Ann", public_key="UA"),
    _REVIEW,
    people.ShowAlert(reference="K7Q-2MX", at=NOON, public_key="UA", signature=bytes(range(64))),
    people.Vote(user="u1", name="Ann", at=NOON + 1, review=_REVIEW),
)

_SIGHTING = Sighting(
    alert="a1",
    reference="K7Q2",
    site="north",
    site_name="North High",
    category="barred",
    severity=Severity.HIGH,
    entry="p1",
    person="A Person",
    camera="lobby",
    camera_name="Lobby",
    captured_at=NOON,
    media_time=1.5,
    first_captured_at=NOON - 2,
    score=0.75,
    threshold=0.5,
    looks=3,
    track="lobby-41-3",
    detector="yunet-2023mar",
    embedder="sface-2021dec",
    watchlist_version=12,
    cohort="c1",
    raised_at=NOON,
    expires_at=NOON + 600,
    drill=False,
    chip="a1-chip",
    frame="a1-frame",
)
_SHADOW = replace(_SIGHTING, chip="", frame="")
_CANARY = replace(_SHADOW, drill=True, canary=True)
_REPORT = CameraReport(
    site="north", camera="lobby", camera_name="Lobby", reported_at=NOON, reason="no route", revision=9, run="r1"
)

_UPDATE = Update(
    alert="a1",
    reference="K7Q-2MX",
    site="north",
    category="barred",
    entry="p1",
    state=AlertState.ESCALATED,
    updated_at=NOON + 9,
    expires_at=NOON + 600,
    by="Ann",
    reason="not him",
    step=2,
    drill=True,
)
_UPDATES = {
    reviews.ACKNOWLEDGED: replace(_UPDATE, state=AlertState.ACKNOWLEDGED),
    reviews.CONFIRMED: replace(_UPDATE, state=AlertState.CONFIRMED_ONCE),
    reviews.DISMISSED: replace(_UPDATE, state=AlertState.DISMISSED),
    reviews.ESCALATED: _UPDATE,
    reviews.EXPIRED: replace(_UPDATE, state=AlertState.EXPIRED),
    reviews.CORRECTED: replace(_UPDATE, state=AlertState.CORRECTED),
}

EVENTS: dict[str, tuple[CloudEvent, object]] = {
    **{
        f"alert-{kind.split('.')[2]}": (Change(id=f"e1-{kind}", type=kind, update=update).event(), update)
        for kind, update in _UPDATES.items()
    },
    "alert-raised": (alerts.event(alerts.RAISED, "e1", _SIGHTING), _SIGHTING),
    "alert-sighted": (alerts.event(alerts.SIGHTED, "e2", _CANARY), _CANARY),
    "shadow-raised": (alerts.event(alerts.WOULD_RAISE, "e6", _SHADOW), _SHADOW),
    "shadow-sighted": (alerts.event(alerts.WOULD_SIGHT, "e7", _SHADOW), _SHADOW),
    "camera-online": (cameras.event(cameras.ONLINE, "e3", _REPORT), _REPORT),
    "camera-offline": (cameras.event(cameras.OFFLINE, "e4", _REPORT), _REPORT),
    "camera-ended": (cameras.event(cameras.ENDED, "e5", _REPORT), _REPORT),
}

_BEFORE_COHORTS = replace(_SIGHTING, cohort="")
OLDER_EVENTS: dict[str, object] = {
    "alert-raised-1": _BEFORE_COHORTS,
    "alert-sighted-1": _BEFORE_COHORTS,
    "alert-raised-2": _SIGHTING,
    "alert-sighted-2": _SIGHTING,
}
OLDER: dict[str, object] = {
    "FrameCaptured-1": messages.FrameCaptured(
        camera="lobby", lease=41, sequence=7, captured_at=NOON, media_time=1.5, jpeg=b"\xff\xd8\xff\xd9"
    ),
    "LeaseRecord-1": messages.LeaseRecord(owner="0"),
    "CameraRecord-1": messages.CameraRecord(
        id="lobby",
        partition=3,
        url="rtsp://user:word@10.0.0.7/stream2",
        name="Lobby",
        fps=2.5,
        loop=True,
        transport="udp",
        token="t",
        origin="site",
    ),
    "AddCamera-1": messages.AddCamera(
        camera="lobby", url="file:/clips/a.mkv", name="Lobby", fps=2.5, loop=True, transport="udp", token="t"
    ),
    "SiteRecord-2": messages.SiteRecord(
        id="north",
        name="North High",
        kind="k12-school",
        jurisdiction="US-PA",
        state=SiteState.SHADOW,
        state_since=NOON,
        run="r1",
        cohort="c1",
        categories={
            "barred": messages.Category(
                severity=Severity.CRITICAL,
                threshold=0.625,
                accepted=1.0,
                expected=0.5,
                upper=0.875,
                basis="extrapolated",
                problem="no",
            )
        },
    ),
    "SiteRecord-1": messages.SiteRecord(
        id="north",
        name="North High",
        kind="k12-school",
        jurisdiction="US-PA",
        state=SiteState.ARMED,
        run="r1",
        categories={"barred": messages.Category(severity=Severity.CRITICAL, threshold=0.625)},
    ),
    "DeliveryRecord-1": deliveries.DeliveryRecord(
        alert="a1",
        channel="email",
        recipient="r1",
        state=DeliveryState.SENT,
        at=NOON,
        detail="250 OK",
        attempts=2,
    ),
}
"""Messages as they were written before their kind got another field, and what they are read as today."""


def files() -> dict[Path, bytes]:
    """Give every golden file and the bytes that this version would write into it."""
    found = {GOLDEN / f"{type(message).__name__}.bin": codec.encode(message) for message in MESSAGES}
    return found | {GOLDEN / f"{name}.json": cloudevents.dump(event) for name, (event, _) in EVENTS.items()}


if __name__ == "__main__":
    for path, content in files().items():
        if not path.exists():
            path.write_bytes(content)
