"""Where traces go: over OTLP/HTTP to a collector, from a thread of its own, never holding up what is traced.

A collector that is away or slow costs spans, which are counted, and nothing else.
"""

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import nats.errors

from aegis.contracts import codec, subjects
from aegis.contracts.messages import TraceKept
from aegis.runtime import metrics, tasks, tracing
from aegis.runtime.bus import Bus, Msg
from aegis.runtime.settings import ServiceSettings
from aegis.runtime.tracing import Context, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

MOST_WAITING = 4_096
"""Spans that wait for the collector; what comes when they do is dropped."""
BATCH = 512
GATHER_SECONDS = 0.5
COLLECTOR_SECONDS = 5.0
"""How long a batch is offered to the collector, tries and pauses together."""
LEAVE_SECONDS = 0.5
"""What is waiting at the end has this long, of the two seconds in which a service leaves."""
ANNOUNCE_SECONDS = 0.2


class Exporter:
    """Hands spans to ``send``, which blocks and says whether they were taken, in batches and by a thread of its own."""

    def __init__(self, send: Callable[[Sequence[Span]], bool]) -> None:
        self._send = send
        self._waiting: queue.Queue[Span | None] = queue.Queue(MOST_WAITING)
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            metrics.SPANS_DROPPED.inc()

    def close(self) -> bool:
        """Send what is waiting, if that goes quickly; tell whether it did. Blocking."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=LEAVE_SECONDS / 2)
        self._thread.join(LEAVE_SECONDS / 2)
        return not self._thread.is_alive()

    def _run(self) -> None:
        last = False
        while not last:
            batch, last = self._gather()
            if batch:
                self._offer(batch)

    def _gather(self) -> tuple[list[Span], bool]:
        """Wait for spans; the flag says that these are the last ones."""
        batch: list[Span] = []
        until = float("inf")
        while len(batch) < BATCH and (left := until - time.monotonic()) > 0:
            try:
                span = self._waiting.get(timeout=None if not batch else left)
            except queue.Empty:
                break
            if span is None:
                return batch, True
            batch.append(span)
            until = min(until, time.monotonic() + GATHER_SECONDS)
        return batch, False

    def _offer(self, batch: list[Span]) -> None:
        try:
            taken = self._send(batch)
        except Exception as error:  # noqa: BLE001 - what a library raises unforeseen must not end the traces
            log.debug("spans were not sent: %s", type(error).__name__)
            taken = False
        if taken:
            metrics.SPANS_EXPORTED.inc(len(batch))
            if self._failing:
                log.info("the collector of traces is back")
        else:
            metrics.SPANS_DROPPED.inc(len(batch))
            if not self._failing:
                log.warning("the collector of traces does not take them; they are dropped until it does")
        self._failing = not taken


@contextlib.asynccontextmanager
async def running(service: str, settings: ServiceSettings, bus: Bus) -> AsyncIterator[None]:
    """Trace this process, if the settings name a collector."""
    if not settings.traces_url:
        yield
        return
    # A third of a second of imports, which whoever does not trace is spared.
    send, shut_down = await asyncio.to_thread(_collector, service, settings)
    exporter = Exporter(send)
    announced: asyncio.Queue[int] = asyncio.Queue()
    tracer = Tracer(settings.traces_share, exporter.put, announced.put_nowait)

    async def kept(message: Msg) -> None:
        with contextlib.suppress(codec.DecodeError):
            tracer.release(int.from_bytes(codec.decode(TraceKept, message.data).trace))

    await bus.subscribe(subjects.TRACE_KEPT, kept)
    telling = asyncio.create_task(_announce(bus, announced))
    try:
        with tracing.using(tracer):
            yield
    finally:
        await tasks.end([telling])
        if not await asyncio.to_thread(exporter.close):
            shut_down()


async def _announce(bus: Bus, traces: asyncio.Queue[int]) -> None:
    """Tell every process which traces to keep, for ever; the bus may be away for a while."""
    while True:
        message = codec.encode(TraceKept(trace=(await traces.get()).to_bytes(16)))
        for _ in range(int(tracing.REMEMBERED_SECONDS / ANNOUNCE_SECONDS)):
            with contextlib.suppress(nats.errors.Error, OSError):
                if await bus.publish(subjects.TRACE_KEPT, message):
                    break
            await asyncio.sleep(ANNOUNCE_SECONDS)


def _collector(service: str, settings: ServiceSettings) -> tuple[Callable[[Sequence[Span]], bool], Callable[[], None]]:
    """Give how spans are sent, and how that is cut short. Blocking.

    What else the exporter has to know, as a certificate or a header with a key, it takes from ``OTEL_EXPORTER_OTLP_*``.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

    # It logs every attempt, with the address, which may hold a key.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create(
        {
            "service.namespace": "aegis",
            "service.name": service,
            "service.instance.id": settings.replica,
            "service.version": _version(),
        }
    )
    exporter = OTLPSpanExporter(endpoint=settings.traces_url, timeout=COLLECTOR_SECONDS)

    def send(spans: Sequence[Span]) -> bool:
        return exporter.export([readable(span, resource) for span in spans]) is SpanExportResult.SUCCESS

    return send, exporter.shutdown


@functools.cache
def _version() -> str:
    return importlib.metadata.version("aegis-watch")


def readable(span: Span, resource: "Resource") -> "ReadableSpan":
    """Give a span as the SDK's exporters take it."""
    from opentelemetry import trace  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    def named(context: Context, *, remote: bool) -> trace.SpanContext:
        return trace.SpanContext(context.trace, context.span, remote, trace.TraceFlags(trace.TraceFlags.SAMPLED))

    status = trace.Status(trace.StatusCode.ERROR, span.problem) if span.problem else trace.Status()
    return ReadableSpan(
        name=span.name,
        context=named(span.context, remote=False),
        parent=named(span.parent, remote=span.continues) if span.parent else None,
        resource=resource,
        attributes={f"aegis.{key}": value for key, value in span.attributes.items()},
        links=[trace.Link(named(link, remote=True)) for link in span.links],
        kind=trace.SpanKind.CONSUMER if span.continues else trace.SpanKind.INTERNAL,
        status=status,
        start_time=span.started,
        end_time=span.ended,
        instrumentation_scope=InstrumentationScope("aegis", _version()),
    )
