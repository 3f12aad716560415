"""A collector of traces for the tests: it takes OTLP over HTTP and keeps what it was given."""

from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

CONTENT_TYPE = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Exported:
    """A span and who sent it."""

    service: str
    replica: str
    span: Span

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def attributes(self) -> dict[str, object]:
        return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in self.span.attributes}


@dataclass
class TraceCollector:
    """Start it and read ``exported``."""

    exported: list[Exported] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == CONTENT_TYPE
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for group in sent.resource_spans:
            who = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            self.exported.extend(
                Exported(who["service.name"], who["service.instance.id"], span)
                for scope in group.scope_spans
                for span in scope.spans
            )
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=CONTENT_TYPE)
