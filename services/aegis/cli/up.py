"""``aegis up``: a private bus and every service as its own process, supervised, on one machine."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.cli.events import Event, follow
from aegis.cli.models import ensure_models
from aegis.cli.processes import NEEDS_A_PERSON, Child
from aegis.cli.report import NOBODY, summary
from aegis.cli.state import SERVICES, Running, State, service_environment, site_key_file
from aegis.contracts import alerts, cameras, subjects
from aegis.contracts.messages import SiteState
from aegis.runtime import bus_server, certificates, sealing, shared_frames, site_file, status, topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.site_file import SiteFile, SiteFileError

READY_SECONDS = 30.0
STOP_SECONDS = 3.0
BUS_STOP_SECONDS = 1.0
REFUSAL_SECONDS = 2.0
ROOM_SECONDS = 1.0
ENOUGH_ROOM = 2
"""So many times the least is free before the bus is trusted with it again."""
QUIET_POLLS = 3
"""So many times in a row nothing may be in hand before the pipeline counts as drained."""


@dataclass(slots=True)
class Plan:
    """Everything that was checked before the first process starts."""

    state: State
    site: SiteFile
    running: Running
    until_done: bool
    events: list[Event] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def check(config: Path) -> None:
    """``aegis check``: read a site file as ``up`` does, and start nothing.

    Raises:
        CommandError: with all that is wrong.

    """
    try:
        site = site_file.read(config.resolve(), os.environ)
        site.check()
    except SiteFileError as error:
        raise CommandError(str(error), 2) from None
    if not site.telling().contacts:
        print(f"note: {NOBODY}", file=sys.stderr)
    print(f"{config} can be used")


def prepare(config: Path, state: State, *, until_done: bool) -> Plan:
    """Check the site file, the state directory, the models and the ports, and make what is missing.

    Raises:
        CommandError: saying what to mend.

    """
    try:
        site = site_file.read(config.resolve(), os.environ)
        site.check()
        whip, mqtt = site.whip(), site.mqtt()
        sealing.load_or_create(site_key_file())
    except (SiteFileError, sealing.SealError) as error:
        raise CommandError(str(error), 2) from None
    except OSError as error:
        raise CommandError(f"site key {site_key_file()}: {error.strerror}", 2) from None
    if problem := bus_server.check_store(state.directory):
        raise CommandError(f"the state directory cannot be used: {problem}; mend that, or give another --state", 2)
    with only_one(state):
        if mqtt:
            _check_port("mqtt", *mqtt, needed=True)
        _check_port("whip", whip.host, whip.port, needed=any(c.url.startswith("whip:") for c in site.cameras()))
    ensure_models()
    state.logs.mkdir(exist_ok=True, mode=0o700)
    running = Running(
        pid=os.getpid(),
        run=secrets.token_hex(6),
        port=bus_server.keep_port(state.bus_directory),
        site_file=str(config.resolve()),
        whip_host=whip.host,
        whip_port=whip.port,
    )
    if running.whip_public:
        state.whip.mkdir(exist_ok=True, mode=0o700)
        certificates.issue(state.whip, "whip", [whip.host, socket.gethostname(), "localhost"])
    return Plan(state=state, site=site, running=running, until_done=until_done)


async def up(plan: Plan, started: Callable[[Bus], Awaitable[None]] | None = None) -> int:
    """Run the system until it is told to stop, or, with ``until_done``, until every file was played.

    ``started`` is awaited once everything is ready.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    with only_one(plan.state), shared_frames.fresh(plan.state.frames) as problem:
        if problem:
            say(f"note: frames go from ingest to detect as JPEG, which costs more: {problem}")
        async with _bus(plan) as bus, _services(plan), _printing(plan, bus), _room(plan):
            stopping = asyncio.create_task(stop.wait())
            working = asyncio.create_task(_work(plan, bus, began, started))
            await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if working.done():
                return working.result()
            working.cancel()
            say("stopping")
    return 0


async def _work(plan: Plan, bus: Bus, began: float, started: Callable[[Bus], Awaitable[None]] | None) -> int:
    await _ready(plan, bus)
    site = plan.site.site()
    note = ", drill: every alert is marked" if site.drill else ""
    if site.state is SiteState.DISARMED:
        note += f": no face is processed until somebody runs: aegis arm --state {plan.state.directory}"
    elif site.state is SiteState.SHADOW:
        note += f": nobody is alerted; see: aegis alerts list --shadow --state {plan.state.directory}"
    say(f"ready in {time.monotonic() - began:.1f} s: {site.name}, {site.state.value}{note}")
    if not plan.site.telling().contacts:
        say(f"note: {NOBODY}")
    if started is not None:
        await started(bus)
    if not plan.until_done:
        await asyncio.Event().wait()
    missed = await _done(plan, bus)
    say(summary(await status.collect(bus, enough=len(SERVICES)), plan.events, missed))
    return 1 if missed else 0


async def _ready(plan: Plan, bus: Bus) -> None:
    deadline = time.monotonic() + READY_SECONDS
    refusals: dict[str, str] = {}
    while True:
        answers = await status.collect(bus, wait=0.3, enough=len(SERVICES))
        ready = {
            a["service"] for a in answers if a["ready"] and (a["service"] != "registry" or a["detail"].get("leading"))
        }
        if ready >= set(SERVICES):
            return
        refusals |= {name: child.refusal for name, child in plan.children.items() if child.refusal}
        if refusals:
            # What one setting breaks, it often breaks in several; they are told together.
            deadline = min(deadline, time.monotonic() + REFUSAL_SECONDS)
        if refusals and (time.monotonic() >= deadline or len(refusals) == len(SERVICES)):
            told = [f"{name} cannot start: {refusal}" for name, refusal in refusals.items()]
            raise CommandError("\naegis: ".join(told), NEEDS_A_PERSON)
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(set(SERVICES) - ready))
            raise CommandError(f"not ready after {READY_SECONDS:g} s: {missing}; see {plan.state.logs}")
        await asyncio.sleep(0.05)


async def _done(plan: Plan, bus: Bus) -> dict[str, str]:
    """Wait until every file was played once and all that came of it is through; give files that could not be."""
    files = {camera.camera for camera in plan.site.cameras() if camera.url.startswith("file:") and not camera.loop}
    if not files:
        raise CommandError("--until-done needs a camera with a file: address that does not loop", 2)
    quiet = 0
    while quiet < QUIET_POLLS:
        await asyncio.sleep(0.3)
        latest = {event.camera: event for event in plan.events if event.type.startswith("aegis.camera.")}
        ended = {name for name, event in latest.items() if event.type == cameras.ENDED}
        missed = {name: event.reason for name, event in latest.items() if event.type == cameras.OFFLINE}
        if not files <= ended | set(missed):
            continue
        answers = await status.collect(bus, wait=1.0, enough=len(SERVICES))
        busy = sum(answer["busy"] for answer in answers if answer["service"] != "ingest")
        queued = [await bus.client.jetstream().stream_info(name) for name in (subjects.FACES, subjects.VECTORS)]
        idle = len(answers) >= len(SERVICES) and not busy and not any(info.state.messages for info in queued)
        quiet = quiet + 1 if idle else 0
    return {name: reason for name, reason in missed.items() if name in files}


@contextlib.contextmanager
def only_one(state: State) -> Iterator[None]:
    """Hold the state directory, so that two systems never share one."""
    with (state.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"a system already runs with the state directory {state.directory}", 2) from None
        yield


@contextlib.asynccontextmanager
async def _bus(plan: Plan) -> AsyncIterator[Bus]:
    """Run the bus, with every stream declared, also after it was away."""
    server = bus_server.prepare(plan.state.bus_directory, plan.running.port, plan.site.mqtt())
    # Go wakes a thread on every core for a message that one could have dealt with.
    environ = {"GOMAXPROCS": str(max(1, (os.cpu_count() or 1) // 4)), **os.environ}
    child = Child("nats-server", server.command(), environ, plan.state.logs / "nats-server.out", say)
    plan.children[child.name] = child
    supervising = asyncio.create_task(child.run())
    config = BusConfig(url=server.url, ca=server.ca, key=server.key("admin"), inbox=topology.inbox("admin"))
    try:
        async with asyncio.timeout(READY_SECONDS) as patience, Bus.connect(config, "up") as bus:
            patience.reschedule(None)
            bus.on_reconnect(lambda: topology.declare(bus))
            await topology.declare(bus)
            plan.state.write_running(plan.running)
            yield bus
    except TimeoutError:
        raise CommandError(f"the bus does not answer; see {plan.state.logs / 'nats-server.out'}") from None
    finally:
        plan.state.forget_running()
        supervising.cancel()
        await child.stop(BUS_STOP_SECONDS)


@contextlib.asynccontextmanager
async def _services(plan: Plan) -> AsyncIterator[None]:
    """Run every service."""
    children = [
        Child(
            service,
            [sys.executable, "-m", f"aegis.{service}"],
            service_environment(plan.state, plan.running, service),
            plan.state.logs / f"{service}.out",
            say,
        )
        for service in SERVICES
    ]
    plan.children |= {child.name: child for child in children}
    supervising = [asyncio.create_task(child.run()) for child in children]
    try:
        yield
    finally:
        for task in supervising:
            task.cancel()
        await asyncio.gather(*(child.stop(STOP_SECONDS) for child in children))


@contextlib.asynccontextmanager
async def _printing(plan: Plan, bus: Bus) -> AsyncIterator[None]:
    """Print what happens, in words, and remember it for the summary."""

    async def follow_all() -> None:
        async for event in follow(bus, reader="up"):
            plan.events.append(event)
            if event.type != alerts.SIGHTED:
                say(event.line())

    task = asyncio.create_task(follow_all())
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def _room(plan: Plan) -> AsyncIterator[None]:
    """Watch the room in the state directory: a bus that ran out of it stores nothing until it is started again."""
    task = asyncio.create_task(_watch_room(plan))
    try:
        yield
    finally:
        task.cancel()


async def _watch_room(plan: Plan) -> None:
    full = False
    while True:
        free = bus_server.room(plan.state.directory)
        if not full and free < bus_server.LEAST_ROOM:
            full = True
            say(f"no room in the state directory {plan.state.directory}: alerts cannot be stored; free some")
        elif full and free >= ENOUGH_ROOM * bus_server.LEAST_ROOM:
            full = False
            say("there is room again; starting the bus anew")
            await plan.children["nats-server"].stop(BUS_STOP_SECONDS)
        await asyncio.sleep(ROOM_SECONDS)


def _check_port(section: str, host: str, port: int, *, needed: bool) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            choose = f"choose another under {section}: listen: in the site file"
            if needed:
                raise CommandError(f"{section}: {host}:{port} cannot be used ({error.strerror}); {choose}", 2) from None
            say(f"note: no browser or phone can be a camera, since {host}:{port} is not free; {choose}")
