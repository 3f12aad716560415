"""Match: vectors in, alerts out.

    face.embedded.<p>.<camera> ──► evidence of its track ──► gallery ──► alert.<site>.<category>.<entry>
                                                               │     (in shadow: shadow.<site>.<category>.<entry>)
                                                               ▲                   │
    watchlist, cohort, policy, cameras (from their buckets) ───┘                   ▼
                                      look.requested.<p>.<camera> ──► its picture, sealed, in the bucket evidence

It leases partitions. Evidence lives in memory and goes with its track; of a face that does not match nothing is kept
but that there was one with such a score.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from nats.js.api import AckPolicy, ConsumerConfig

from aegis.contracts import codec, subjects
from aegis.contracts.alerts import LIFETIME, Sighting, Story
from aegis.contracts.messages import CameraRecord, FacesEmbedded, LookFound, LookRequested, SiteState
from aegis.match.comparison import Comparison
from aegis.match.core import FORGET_SECONDS, Match, TrackEvidence, find, not_after
from aegis.match.learning import Learning
from aegis.match.stories import Stories, Verdict
from aegis.runtime import metrics, sealing, tracing
from aegis.runtime.buckets import Bucket, Mirror
from aegis.runtime.bus import BusUnavailableError, Msg, PayloadTooLargeError, RefusedError
from aegis.runtime.consumers import consume
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.policy import Policy
from aegis.runtime.references import new_alert
from aegis.runtime.service import Context, Service, background
from aegis.runtime.settings import ServiceSettings, setting

log = logging.getLogger(__name__)

ACK_SECONDS = 10.0
PICTURE_SECONDS = 3.0
FORGET_EVERY = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings(ServiceSettings):
    """Settings of match."""

    site_key_file: Path = setting(doc="The site's key, which opens the watchlist and seals the pictures of alerts.")


class Matcher:
    """The running service."""

    def __init__(self, context: Context[MatchSettings], sealer: sealing.Sealer) -> None:
        bus, reader = context.bus, f"match-{context.settings.replica}"
        self._context = context
        self._bus = bus
        self._sealer = sealer
        self._evidence = TrackEvidence()
        self._alerts = Stories(bus, reader)
        self._shadow = Stories(bus, reader, shadow=True)
        self._pictures = Bucket(bus, "evidence")
        self._fetching: set[asyncio.Task[None]] = set()
        self._names: dict[str, str] = {}
        self._in_hand = 0
        self.policy = Policy(bus, reader, context.settings.run, self._changed)
        self.comparison = Comparison(bus, sealer, self.policy, reader, context.health)
        self.learning = Learning(bus, sealer, self.comparison)
        self.cameras = Mirror(bus, "cameras", reader)
        self.leases = Leases(bus, "match", context.settings.replica, self._hold)
        for verdict in ("raise", "raise again", "sight"):
            # To Prometheus a counter that begins with 1 has not grown.
            metrics.ALERTS.labels(verdict)
        context.health.busy = lambda: self._in_hand + len(self._fetching)

    async def _changed(self) -> None:
        await self.comparison.change()

    async def follow_cameras(self) -> None:
        """Share the partitions in which there are cameras, and know the cameras' names."""

        async def changed() -> None:
            names = {}
            for key, entry in self.cameras.entries.items():
                try:
                    record = codec.decode(CameraRecord, self._sealer.open("cameras", key, entry.value))
                    names[record.id] = record.name or record.id
                except (sealing.SealError, codec.DecodeError) as error:
                    log.error("camera %s cannot be read: %s", key, error)  # noqa: TRY400
            self._names = names
            self.leases.want({key.split(".")[0] for key in self.cameras.entries})

        await self.cameras.run(changed)

    async def _hold(self, lease: Lease) -> None:
        """Match the vectors of one partition until the lease is gone."""
        config = ConsumerConfig(
            durable_name=f"match-{lease.resource}",
            filter_subject=subjects.face_embedded(lease.resource, "*"),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
        )

        async with consume(self._bus, subjects.VECTORS, config) as consumer:
            while True:
                for message in await consumer.next():
                    self._in_hand += 1
                    try:
                        with tracing.continued("match.vectors", message):
                            await self._match(message, lease)
                    finally:
                        self._in_hand -= 1

    async def forget(self) -> None:
        """Drop the evidence of tracks that have ended, of all partitions at once, for ever."""
        while True:
            await asyncio.sleep(FORGET_EVERY)
            self.learning.add(self._evidence.forget(time.time()))

    async def _match(self, message: Msg, lease: Lease) -> None:
        faces = await self._context.read(FacesEmbedded, message)
        if faces is None:
            await message.term()
            return
        site = self.policy.site
        if site is None or not self.policy.processing or not lease.valid or self._evidence.outdated(faces):
            metrics.MATCHES.labels("dropped").inc(len(faces.looks))
            await message.ack()
            return
        try:
            found = find(
                self.comparison.watchlist, self.comparison.categories, not_after(faces, time.time()), self._evidence
            )
        except ValueError as error:
            await self._context.dead_letter(message, str(error))
            await message.term()
            return
        tracing.note(camera=faces.camera, looks=len(faces.looks), matched=len(found))
        metrics.MATCHES.labels("matched").inc(len(found))
        metrics.MATCHES.labels("not matched").inc(len(faces.looks) - len(found))
        for match in found:
            if time.time() - match.look.seen_at < FORGET_SECONDS:
                with tracing.step("match.alert"):
                    await self._tell(match, faces, subjects.partition_of(message.subject))
        with contextlib.suppress(Exception):
            await message.ack()

    async def _tell(self, match: Match, faces: FacesEmbedded, partition: int) -> None:
        site = self.policy.site
        if site is None or not site.state.processing:
            return
        armed = site.state is SiteState.ARMED
        subject = (subjects.alert if armed else subjects.shadow)(site.id, match.entry.category, match.entry.id)
        try:
            told = await (self._alerts if armed else self._shadow).tell(
                subject,
                match.look.seen_at,
                match.category.severity,
                lambda story, verdict: self._sighting(story, verdict, match, faces),
            )
        except (BusUnavailableError, RefusedError) as error:
            # While the person stays in view the track's best look comes again every two seconds.
            log.error("an alert could not be published: %s", error)  # noqa: TRY400
            return
        tracing.note(verdict=told.verdict)
        if told.sighting is None:
            return
        tracing.note(alert=told.sighting.alert)
        if not told.sighting.canary:
            (metrics.ALERTS if armed else metrics.SHADOW_ALERTS).labels(told.verdict).inc()
        if not armed:
            return
        if told.verdict == "raise" and match.look.captured_at == match.look.seen_at:
            now = time.time()
            metrics.ALERT_LATENCY.labels("first_look").observe(now - match.look.first_captured_at)
            metrics.ALERT_LATENCY.labels("matched_look").observe(now - match.look.captured_at)
        log.info("alert", extra={"alert": told.sighting.alert, "verdict": told.verdict, "camera": faces.camera})
        if told.verdict == "raise" and told.sighting.chip:
            task = asyncio.create_task(self._keep_picture(told.sighting, match, faces, partition))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    def _sighting(self, story: Story, verdict: Verdict, match: Match, faces: FacesEmbedded) -> Sighting:
        site = self.policy.site
        assert site is not None  # noqa: S101 - _tell has looked
        alert, reference = new_alert() if verdict == "raise" else (story.alert, story.reference)
        raised_at = story.raised_at if verdict == "sight" else time.time()
        canary = match.category.canary
        # A canary's is the same picture hundreds of times a day.
        pictured = site.state is SiteState.ARMED and not canary
        return Sighting(
            alert=alert,
            reference=reference,
            site=site.id,
            site_name=site.name,
            category=match.entry.category,
            severity=match.category.severity,
            entry=match.entry.id,
            person=match.entry.name,
            camera=faces.camera,
            camera_name=self._names.get(faces.camera, faces.camera),
            captured_at=match.look.seen_at,
            media_time=match.look.media_time,
            first_captured_at=match.look.first_captured_at,
            score=round(match.evidence.score, 4),
            threshold=match.category.threshold,
            looks=match.evidence.looks,
            track=f"{faces.camera}.{faces.lease}.{match.look.track}",
            detector=faces.detector,
            embedder=faces.embedder,
            watchlist_version=self.comparison.watchlist.version,
            cohort=self.comparison.cohort_of(faces.embedder),
            raised_at=raised_at,
            expires_at=raised_at + LIFETIME,
            # Who was told nothing of canaries yet knows drills.
            drill=site.drill or canary,
            canary=canary,
            chip=f"{alert}.chip" if pictured else "",
            frame=f"{alert}.frame" if pictured else "",
        )

    async def _keep_picture(self, sighting: Sighting, match: Match, faces: FacesEmbedded, partition: int) -> None:
        """Fetch the picture behind an alert from detect, and keep it sealed for as long as the alert is kept."""
        asked = LookRequested(camera=faces.camera, lease=faces.lease, track=match.look.track, look=match.look.look)
        try:
            subject = subjects.look_requested(partition, faces.camera)
            with tracing.step("match.picture"):
                reply = await self._bus.request(subject, codec.encode(asked), patience=PICTURE_SECONDS)
            found = codec.decode(LookFound, reply)
            if found.problem:
                log.warning("alert %s has no picture: %s", sighting.alert, found.problem)
                return
            for key, picture in ((sighting.chip, found.chip_png), (sighting.frame, found.frame_jpeg)):
                await self._pictures.put(key, self._sealer.seal("evidence", key, picture))
        except (BusUnavailableError, RefusedError, PayloadTooLargeError, codec.DecodeError) as error:
            log.warning("alert %s has no picture: %s", sighting.alert, error)


@contextlib.asynccontextmanager
async def build(context: Context[MatchSettings]) -> AsyncIterator[None]:
    service = Matcher(context, sealing.load(context.settings.site_key_file))
    async with background() as start:
        start(service.policy.run())
        start(service.comparison.follow_watchlist())
        start(service.comparison.follow_cohort())
        start(service.comparison.run())
        start(service.follow_cameras())
        await service.cameras.synced.wait()
        await service.comparison.current.wait()
        start(service.learning.run())
        start(service.forget())
        start(service.leases.run())
        yield


SERVICE = Service("match", MatchSettings, build)
