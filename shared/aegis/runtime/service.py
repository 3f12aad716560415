"""The one runner of every service: settings, bus, probes, signals and leaving in order.

A service is its settings and a ``build``: an async context manager that opens what it needs, starts its tasks and
yields when it is ready. Stopping is leaving it.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import nats.errors
from aiohttp import web
from prometheus_client import ProcessCollector, generate_latest

from aegis.contracts import codec, subjects
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import DeadLetter
from aegis.runtime import logs, memory, metrics, sealing, tasks, topology, trace_export, vitals
from aegis.runtime.bus import Bus, BusConfig, Msg
from aegis.runtime.settings import ServiceSettings, SettingsError, load

log = logging.getLogger(__name__)

S = TypeVar("S", bound=ServiceSettings)
M = TypeVar("M")
Start = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
STOP_SECONDS = 4.0


class StartError(RuntimeError):
    """A service cannot start, for a reason that a person must mend."""


@dataclass(slots=True)
class Health:
    """What the probes and ``aegis status`` say of this process."""

    ready: bool = False
    connected: Callable[[], bool] = lambda: False
    """Whether the bus is there."""
    detail: dict[str, object] = field(default_factory=dict)
    busy: Callable[[], int] = lambda: 0
    """How much work is in hand: 0 when all that came in is through."""


@dataclass(frozen=True, slots=True)
class Context(Generic[S]):
    """What a service is given to build itself."""

    name: str
    settings: S
    bus: Bus
    health: Health

    async def dead_letter(self, message: Msg, problem: str) -> None:
        """Put a message aside that can never be handled: its subject, size and the reason, not its content."""
        metrics.DEAD.inc()
        log.error("message on %s refused: %s", message.subject, problem)
        letter = DeadLetter(
            service=self.name, subject=message.subject, problem=problem, size=len(message.data), at=time.time()
        )
        await self.bus.publish(subjects.dead(self.name), codec.encode(letter))

    async def read(self, kind: type[M], message: Msg) -> M | None:
        """Decode a message; one that is malformed becomes a dead letter and None."""
        try:
            return codec.decode(kind, message.data)
        except DecodeError as error:
            await self.dead_letter(message, str(error))
            return None


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """A service as the runner sees it."""

    name: str
    settings: type[S]
    build: Callable[[Context[S]], AbstractAsyncContextManager[None]]


def main(service: Service[S]) -> None:
    """Run a service until it is told to stop; exits 2 on bad settings, 1 when it cannot go on."""
    # A core dump would write the faces in memory to disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory.keep_freed()
    try:
        settings = load(service.settings, os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"aegis {service.name}: {problem}", file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(2)
    logs.configure(service.name, settings.replica, settings.log_level, settings.log_file)
    try:
        asyncio.run(_run(service, settings))
    except (StartError, sealing.SealError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - a person's mistake needs no stack trace
        print(f"aegis {service.name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except nats.errors.Error as error:
        print(f"aegis {service.name}: the bus at {settings.bus_url} refuses this key: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BaseExceptionGroup as group:
        if refusals := group.subgroup((StartError, sealing.SealError)):
            print(f"aegis {service.name}: {_first(refusals)}", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        log.exception("stopped by an error")
        sys.exit(1)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _run(service: Service[S], settings: S) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        log.info("stopping")
        # Leaving in order must not depend on a peer that does not answer.
        loop.call_later(STOP_SECONDS, os._exit, 1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping)
    config = BusConfig(
        url=settings.bus_url, ca=settings.bus_ca, key=settings.key_file, inbox=topology.inbox(service.name)
    )
    connecting = asyncio.create_task(_serve(service, settings, config, stop))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    # A built service leaves when it sees ``stop``; only the wait for a bus that is away must be cut short.
    await asyncio.wait({connecting}, timeout=STOP_SECONDS / 2)
    await tasks.end([connecting])
    with contextlib.suppress(asyncio.CancelledError):
        await connecting


async def _serve(service: Service[S], settings: S, config: BusConfig, stop: asyncio.Event) -> None:
    health = Health()
    started = time.monotonic()
    ProcessCollector(registry=metrics.REGISTRY)
    async with (
        probes(settings.http_host, settings.http_port, health) as port,
        Bus.connect(config, f"{service.name}-{settings.replica}") as bus,
    ):
        health.connected = lambda: bus.connected
        await vitals.note(bus, lambda: health.ready and bus.connected)

        async def status(_: Msg) -> bytes:
            answer = {
                "service": service.name,
                "replica": settings.replica,
                "pid": os.getpid(),
                "port": port,
                "ready": health.ready,
                "uptime_s": round(time.monotonic() - started, 1),
                "busy": health.busy(),
                "detail": health.detail,
                "metrics": metrics.snapshot(),
            }
            return json.dumps(answer).encode()

        await bus.serve(subjects.STATUS, status)
        async with (
            trace_export.running(service.name, settings, bus),
            service.build(Context(service.name, settings, bus, health)),
        ):
            # What is there now stays: the collector need not look through it again and again.
            gc.collect()
            gc.freeze()
            health.ready = True
            log.info("ready", extra={"port": port})
            ending = {asyncio.create_task(stop.wait()), asyncio.create_task(bus.closed.wait())}
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            await tasks.end(ending)
            health.ready = False
        if bus.closed.is_set() and not stop.is_set():
            raise ExceptionGroup("stopping", [ConnectionError("the bus connection was closed for good")])
    log.info("stopped")


@contextlib.asynccontextmanager
async def background() -> AsyncIterator[Start]:
    """Give a function that starts tasks; they are cancelled on the way out, and an error in one ends the service."""
    running: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:

        def start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
            task = group.create_task(work)
            running.add(task)
            task.add_done_callback(running.discard)
            return task

        try:
            yield start
        finally:
            await tasks.end(running)


@contextlib.asynccontextmanager
async def probes(host: str, port: int, health: Health) -> AsyncIterator[int]:
    """Answer ``/livez``, ``/readyz`` and ``/metrics``; give the port.

    A process that waits for the bus lives and is not ready: starting it again would not bring the bus back.

    Raises:
        StartError: the address cannot be listened on.

    """

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        good = health.ready and health.connected()
        return web.Response(text="ok\n" if good else "not ready\n", status=200 if good else 503)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.REGISTRY), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise StartError(f"AEGIS_HTTP_PORT={port} on {host} cannot be used: {error.strerror}") from None
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
