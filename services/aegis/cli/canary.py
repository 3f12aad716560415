"""``aegis canary``: a made-up camera shows a consenting person every few minutes, and the system must alert.

What is shown goes the whole way, from ingest to the stream of alerts. The person's category says ``canary: true``,
so nobody is told.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aegis.cli.canary_camera import Address, Camera
from aegis.cli.canary_picture import PersonInRoom
from aegis.cli.canary_watch import Told, Watch
from aegis.cli.errors import CommandError
from aegis.cli.requests import connected
from aegis.cli.state import State, models_dir
from aegis.contracts import codec
from aegis.contracts.messages import SiteRecord, SiteState
from aegis.runtime import logs, metrics, policy, tasks, vitals
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError
from aegis.runtime.enrolment import EnrolmentError
from aegis.runtime.models import ModelError
from aegis.runtime.service import Health, StartError, background, probes

log = logging.getLogger(__name__)

SHORTEST = 120
SEND_SECONDS = 20.0
"""How long a showing waits for the video to be taken."""
EMPTY_SECONDS = 3.0
"""For so long the room is empty first, so that the person is seen to come."""
SHOW_SECONDS = 12.0
"""Longer than the time between two sightings of one visit, of which one is told even if another camera was first."""
LATE_SECONDS = 3.0
"""What was seen last may still be on its way."""
OUTCOMES = ("seen", "missed", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a showing: ``seen``, ``missed``, or ``failed`` where nothing can be concluded."""

    word: str
    reason: str = ""
    latency: float | None = None
    """Seconds from the first picture with the person to the alert; None where the visit was told of before."""
    margin: float | None = None
    """Score less threshold."""

    def line(self) -> str:
        """Say it in one line for people."""
        took = f" after {self.latency:.2f} s" if self.latency is not None else ""
        by = f", {self.margin:.3f} above the threshold" if self.margin is not None else ""
        return f"canary {self.word}{took}{by}{': ' if self.reason else ''}{self.reason}"


async def canary(arguments: argparse.Namespace) -> None:
    """``aegis canary``.

    Raises:
        CommandError: it cannot be begun, or with ``--once`` the person was not seen.

    """
    if arguments.every < SHORTEST:
        raise CommandError(
            f"--every {arguments.every} is too often: a visit ends a minute after the person was last seen, and only "
            f"the next one alerts anew; give {SHORTEST} or more",
            2,
        )
    address = _address(arguments)
    scene = await asyncio.to_thread(_scene, arguments.photo)
    if not arguments.once:
        logs.configure("canary", arguments.camera, "info", None)
    health = Health()
    async with _probes(arguments.http, health), connected(arguments) as bus, background() as start:
        health.connected = lambda: bus.connected
        await vitals.note(bus, lambda: health.ready and bus.connected)
        camera, watch = Camera(address, scene), Watch(bus, arguments.camera)
        start(camera.run())
        for stream in watch.streams:
            start(watch.follow(stream))
        await watch.following()
        health.ready = True
        showing = Canary(bus, arguments.camera, camera, watch)
        if arguments.once:
            outcome = await showing.run()
        else:
            await _for_ever(showing, bus, arguments.every)
    if arguments.once:
        if outcome.word != "seen":
            raise CommandError(outcome.line())
        print(outcome.line())


async def _for_ever(showing: "Canary", bus: Bus, every: int) -> None:
    """Show until this process is told to end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ending = [asyncio.create_task(event.wait()) for event in (stop, bus.closed)]
    begin = time.monotonic()
    while not any(task.done() for task in ending):
        running = asyncio.create_task(showing.run())
        await asyncio.wait([running, *ending], return_when=asyncio.FIRST_COMPLETED)
        await tasks.end([running])
        if not any(task.done() for task in ending):
            await running
        begin += every
        await asyncio.wait(ending, timeout=max(0.0, begin - time.monotonic()), return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        raise CommandError("the bus closed the connection for good; is this the right key file?")


class Canary:
    """Shows the person and says what came of it."""

    def __init__(self, bus: Bus, name: str, camera: Camera, watch: Watch) -> None:
        self._bus = bus
        self._name = name
        self._camera = camera
        self._watch = watch
        self._halted = ""
        for word in OUTCOMES:
            metrics.CANARY_RUNS.labels(name, word)
        metrics.CANARY_SEEN.labels(name)

    async def run(self) -> Outcome:
        """Show once, and take note of what came of it."""
        outcome = await self._run()
        metrics.CANARY_RUNS.labels(self._name, outcome.word).inc()
        if outcome.margin is not None:
            metrics.CANARY_SEEN.labels(self._name).set_to_current_time()
            metrics.CANARY_MARGIN.labels(self._name).set(outcome.margin)
        if outcome.latency is not None:
            metrics.CANARY_LATENCY.labels(self._name).observe(outcome.latency)
        level = logging.INFO if outcome.word == "seen" else logging.ERROR
        log.log(level, "%s", outcome.line(), extra={"outcome": outcome.word, "latency_s": outcome.latency})
        return outcome

    async def _run(self) -> Outcome:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._camera.sending.wait()
        if reason := await self._obstacle():
            return Outcome(word="failed", reason=reason)
        await asyncio.sleep(EMPTY_SECONDS)
        self._watch.begin()
        self._camera.show()
        try:
            told = await self._watch.next(SHOW_SECONDS)
            appeared = self._camera.appeared_at
        finally:
            self._camera.hide()
        told = told or await self._watch.next(LATE_SECONDS)
        if told is None:
            reason = await self._obstacle() or self._watch.elsewhere
            return Outcome(word="failed" if reason else "missed", reason=reason)
        return self._judged(told, appeared)

    def _judged(self, told: Told, appeared: float | None) -> Outcome:
        seen = told.sighting
        if not seen.canary:
            # Whom it shows is somebody of whom people are told, and must not be told of again.
            self._halted = (
                f"{seen.reference} alerted people: the photo is taken for somebody of the category {seen.category}; "
                "mend that and start the canary anew"
            )
            return Outcome(word="failed", reason=self._halted)
        anew = told.anew and appeared is not None
        return Outcome(
            word="seen",
            latency=told.at - appeared if anew and appeared is not None else None,
            margin=seen.score - seen.threshold,
        )

    async def _obstacle(self) -> str:
        """Say why nothing could come of a showing; empty where something could."""
        if self._halted:
            return self._halted
        try:
            entry = await Bucket(self._bus, policy.BUCKET).get(policy.SITE)
            site = codec.decode(SiteRecord, entry.value) if entry else None
        except (BusUnavailableError, codec.DecodeError) as error:
            return f"the site's policy cannot be read: {error}"
        if site is None or site.state is SiteState.DISARMED:
            return "the site is disarmed" if site else "the site has no policy yet"
        if not any(category.canary for category in site.categories.values()):
            return "no category of the site file says canary: true"
        return "" if self._camera.sending.is_set() else self._camera.problem


def _scene(photo: Path) -> PersonInRoom:
    try:
        return PersonInRoom.open(photo, models_dir())
    except OSError as error:
        raise CommandError(f"{photo}: {error.strerror}", 2) from None
    except (EnrolmentError, ModelError) as error:
        raise CommandError(str(error), 2) from None


def _address(arguments: argparse.Namespace) -> Address:
    """Find out where to send.

    Raises:
        CommandError: that cannot be told from the arguments.

    """
    token, url, ca = os.environ.get(arguments.token_env, ""), arguments.whip, arguments.ca
    if not token:
        raise CommandError(f"the environment variable {arguments.token_env} is not set", 2)
    if url is None:
        if os.environ.get("AEGIS_BUS_URL"):
            raise CommandError("canary needs --whip URL, where ingest takes video, beside AEGIS_BUS_URL", 2)
        state = State(arguments.state)
        running = state.running()
        host = f"[{running.whip_host}]" if ":" in running.whip_host else running.whip_host
        url = f"{'https' if running.whip_public else 'http'}://{host}:{running.whip_port}"
        ca = ca or (state.whip / "ca.pem" if running.whip_public else None)
    try:
        tls = ssl.create_default_context(cafile=str(ca)) if ca else None
    except (OSError, ssl.SSLError) as error:
        raise CommandError(f"{ca} is no certificate: {error}", 2) from None
    return Address(url=url.rstrip("/"), camera=arguments.camera, token=token, tls=tls)


@contextlib.asynccontextmanager
async def _probes(place: str | None, health: Health) -> AsyncIterator[None]:
    """Answer probes where they are wanted."""
    if place is None:
        yield
        return
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise CommandError(f"--http {place} is not HOST:PORT", 2)
    try:
        async with probes(host.strip("[]"), int(port), health):
            yield
    except StartError:
        raise CommandError(f"--http {place} cannot be used; is something else listening there?", 2) from None
