"""ingest: it holds cameras and publishes their frames.

::

    KV cameras, policy ─────►┌────────┐──► aegis.v1.frame.captured.<partition>.<camera>   core NATS, newest counts
    files, RTSP, USB ───────►│ ingest │──► aegis.v1.camera.<site>.<camera>               online, offline, ended
    browsers, phones (WHIP) ►└────────┘    KV leases: one holder for each camera

Every replica holds its share of the cameras; a browser's is held by the replica that it called. While the site is
not armed, cameras stay connected and no frame leaves this process.
"""

import asyncio
import contextlib
import ipaddress
import logging
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aegis.contracts import codec
from aegis.contracts.cameras import from_key
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import CameraRecord
from aegis.ingest import core, turn
from aegis.ingest.capture import Capture, CaptureError
from aegis.ingest.output import Known, Output, Site
from aegis.ingest.whip import Whip
from aegis.runtime import certificates, metrics, sealing, shared_frames
from aegis.runtime.buckets import Mirror
from aegis.runtime.leases import Lease, Leases
from aegis.runtime.policy import Policy
from aegis.runtime.sealing import Sealer, SealError
from aegis.runtime.service import Context, Service, StartError, background
from aegis.runtime.settings import ServiceSettings, setting

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
READERS = ("detect", "match")
"""Who must be there before a file is played, since what is not seen of it is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(ServiceSettings):
    """What ingest is told."""

    site_key_file: Path = setting(doc="The site's key, which opens the cameras' addresses and passwords.")
    whip_host: str = setting("127.0.0.1", "Address on which browsers and phones deliver video; beyond loopback by TLS.")
    whip_port: int = setting(8480, "Port of that; 0 picks a free one.", least=0, most=65535)
    whip_cert: Path | None = setting(None, "Certificate chain (PEM) with which it is served.")
    whip_key: Path | None = setting(None, "The certificate's key (PEM).")
    whip_turn_urls: str = setting(
        "",
        "TURN servers that senders are told of, as `turn:HOST:PORT?transport=udp`; several with commas between.",
    )
    whip_turn_secret_file: Path | None = setting(
        None, "The secret that those have as `static-auth-secret`; credentials for an hour are made with it."
    )
    frames_dir: str = setting("", shared_frames.ABOUT)
    edge: str = setting(
        "", "Name of the edge at which this replica stands: it takes that edge's cameras and no others."
    )


class Cameras:
    """The cameras of the site and those of them that this replica runs."""

    def __init__(self, context: Context[IngestSettings], sealer: Sealer) -> None:
        settings, bus = context.settings, context.bus
        reader = f"ingest-{settings.replica}"
        self._sealer = sealer
        self._site_id = ""
        self._outputs: dict[str, Output] = {}
        self.known: dict[str, Known] = {}
        self._news = asyncio.Event()
        """Set, and replaced by another one, whenever the cameras changed."""
        self.policy = Policy(bus, reader, settings.run, self._policy_changed)
        self.mirror = Mirror(bus, "cameras", reader)
        self._edge = settings.edge
        self.leases = Leases(bus, "ingest", settings.replica, self._hold, others=READERS, pool=self._edge)
        frames = shared_frames.folder_of(settings.frames_dir)
        place = shared_frames.place_of(frames)

        def shares(partition: int) -> bool:
            return bool(place) and self.leases.place("detect", str(partition)) == place

        self.site = Site(bus, self.policy, settings.run, lambda: self._site_id, {}, frames, shares)
        self._replica = settings.replica

    def find_whip(self, camera: str) -> Known | None:
        """Give a camera that delivers by itself."""
        known = self.known.get(camera)
        return known if known and core.is_whip(known.record.url) else None

    @property
    def any_whip(self) -> bool:
        return any(core.is_whip(known.record.url) for known in self.known.values())

    def busy(self) -> int:
        """Count the files that play once and have not ended, of this replica or of none."""
        return sum(
            1
            for camera, known in self.known.items()
            if core.is_file(known.record.url) and not known.record.loop and self._unfinished(camera)
        )

    def _unfinished(self, camera: str) -> bool:
        if output := self._outputs.get(camera):
            return not output.ended
        return self.leases.holder("ingest", camera) in (None, self._replica)

    async def changed(self) -> None:
        """Take over what the bucket says now."""
        found: dict[str, Known] = {}
        for key, entry in self.mirror.entries.items():
            _, camera, edge = from_key(key)
            if edge != self._edge:
                continue
            known = self.known.get(camera)
            if known is None or known.revision != entry.revision:
                try:
                    record = codec.decode(CameraRecord, self._sealer.open("cameras", key, entry.value))
                except (SealError, DecodeError) as error:
                    log.error("camera %s cannot be used: %s", camera, error)  # noqa: TRY400 - the sentence says it all
                    continue
                known = Known(record, entry.revision)
            if camera not in found or found[camera].revision < known.revision:
                found[camera] = known
        before, self.known = self.known, found
        self._news.set()
        self._news = asyncio.Event()
        for camera, known in before.items():
            if found.get(camera) is not known:
                known.replaced.set()
        self.leases.want([camera for camera, known in found.items() if not core.is_whip(known.record.url)])

    async def _policy_changed(self) -> None:
        if self.policy.site is not None:
            self._site_id = self.policy.site.id
        if not self.policy.processing:
            for output in self._outputs.values():
                output.forget()

    async def _hold(self, lease: Lease) -> None:
        """Run a camera for as long as it is leased, from the start again whenever its record changes."""
        await self.policy.known.wait()
        output: Output | None = None
        try:
            while True:
                if (known := self.known.get(lease.resource)) is None:
                    if output is not None:
                        output.forget()
                    # Removed, it may be added again before its lease is given back.
                    await self._news.wait()
                    continue
                if output is None:
                    output = self._outputs[lease.resource] = Output(self.site, lease, known)
                else:
                    output.use(known)
                async with asyncio.TaskGroup() as group:
                    running = group.create_task(self._run(output))
                    await known.replaced.wait()
                    running.cancel()
        finally:
            if output is not None:
                output.close()
                self._outputs.pop(lease.resource, None)

    async def _run(self, output: Output) -> None:
        record = output.record
        once = core.is_file(record.url) and not record.loop
        if once:
            if await output.has_ended():
                output.state("ended")
                return
            await self._readers(output)
        failures = 0
        while True:
            output.state("connecting", self.site.status[record.id]["reason"])
            log.debug("camera %s: opening %s", record.id, core.redact(record.url))
            try:
                await output.end(await _play(output))
            except CaptureError as error:
                failures = 0 if output.delivered_for() > core.STEADY_SECONDS else failures
                await output.offline(str(error))
            else:
                return
            failures += 1
            await asyncio.sleep(core.backoff(failures, random.random()))  # noqa: S311 - no secret

    async def _readers(self, output: Output) -> None:
        """Wait until somebody sees the frames of a file, since what is not seen of it is lost."""
        partition = str(output.record.partition)
        told = ""
        while missing := " and ".join(k for k in READERS if self.leases.holder(k, partition) is None):
            if missing != told:
                told = missing
                output.state("waiting", f"for {missing} to take partition {partition}")
                log.info("camera %s waits for %s to take partition %s", output.record.id, missing, partition)
            await asyncio.sleep(LOOK_SECONDS)


async def _play(output: Output) -> str:
    """Publish a camera's frames until its file ends; give what is to say about that."""
    async with Capture(output.record, output) as capture:
        while not isinstance(picture := await capture.next(), str):
            await output.online()
            await output.publish(picture)
    return picture


@contextlib.asynccontextmanager
async def build(context: Context[IngestSettings]) -> AsyncIterator[None]:
    """Open the cameras; ready when the camera list was read."""
    settings = context.settings
    cameras = Cameras(context, sealing.load(settings.site_key_file))
    tls = _tls(settings)
    relays = turn.load(settings.whip_turn_urls, settings.whip_turn_secret_file)
    if settings.whip_cert is not None:
        ends = certificates.ends(await asyncio.to_thread(settings.whip_cert.read_bytes))
        metrics.CERTIFICATE_EXPIRES.labels("whip").set(ends)
    whip = Whip(cameras.site, cameras.leases, cameras.find_whip, relays)
    context.health.busy = cameras.busy
    context.health.detail["cameras"] = cameras.site.status
    async with background() as start:
        start(cameras.policy.run())
        start(cameras.mirror.run(cameras.changed))
        await cameras.mirror.synced.wait()
        start(cameras.leases.run())
        async with whip.listen(settings.whip_host, settings.whip_port, tls) as problem:
            context.health.detail["whip"] = problem or whip.address
            if not (problem and cameras.any_whip):
                yield
                return
    # Raised out here, since the task group would wrap it.
    raise StartError(problem)


def _tls(settings: IngestSettings) -> ssl.SSLContext | None:
    """Give the TLS side of the WHIP server, if it has one.

    Raises:
        StartError: the address can be reached from outside and there is no usable certificate.

    """
    host, cert, key = settings.whip_host, settings.whip_cert, settings.whip_key
    if cert is None and key is None and _loopback(host):
        return None
    if cert is None or key is None:
        raise StartError(f"set AEGIS_WHIP_CERT and AEGIS_WHIP_KEY, both: AEGIS_WHIP_HOST={host} is served by TLS only")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"AEGIS_WHIP_CERT={cert} with AEGIS_WHIP_KEY={key} cannot be used: {error}") from None
    return context


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


SERVICE = Service("ingest", IngestSettings, build)
