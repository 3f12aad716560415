"""Traces: which steps, in which processes, a camera's frame took until somebody was told of it, and how long each took.

A span is one step. Which span a message was sent in stands in its header ``traceparent`` (W3C Trace Context), so that
the next service goes on with the same trace. ``share`` of all traces is picked at the start and exported. The others'
spans wait :data:`REMEMBERED_SECONDS` in memory: when an alert comes of a trace, it is kept, and every process exports
what it has of it. Where no tracer is in use no span is made and no header sent.

Spans hold ids of cameras and entries, counts and outcomes: no name, no score, nothing of a face.
"""

import contextlib
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple, Protocol, Self

HEADER = "traceparent"
REMEMBERED_SECONDS = 30.0
"""How long the spans of a trace wait to be kept: longer than a look travels, also over a restarted service."""
MOST_SPANS = 16_384
"""That wait; half a minute of 500 spans a second, at most 20 MB."""
MOST_KEPT = 1_024
"""Traces of which is remembered that they are kept, for their spans that end later."""
LONGEST_VALUE = 128
"""Characters of an attribute."""

Value = str | int | float | bool

_HEADER = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_current: ContextVar["Span | None"] = ContextVar("span", default=None)


class Carrier(Protocol):
    """A message of the bus."""

    @property
    def headers(self) -> Mapping[str, str] | None:
        """As they were sent."""


class Context(NamedTuple):
    """A span as others name it: ids of 128 and 64 bits, and whether it is exported."""

    trace: int
    span: int
    sampled: bool

    @property
    def header(self) -> str:
        return f"00-{self.trace:032x}-{self.span:016x}-{self.sampled:02x}"


def parse(text: str) -> Context | None:
    """Read a ``traceparent``; None if it is none, or one that is to be passed over."""
    found = _HEADER.fullmatch(text)
    if found is None or (found[1] == "00" and found[5]):
        return None
    return Context(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & 1))


class Span:
    """One step; enter it to make it the current one of this task, leave it to end it."""

    # Of most of them nothing comes, so they are as light as can be; what is exported becomes a span of the SDK.
    __slots__ = (
        "_token",
        "_tracer",
        "attributes",
        "context",
        "continues",
        "ended",
        "links",
        "name",
        "parent",
        "problem",
        "started",
    )

    def __init__(
        self,
        tracer: "Tracer",
        name: str,
        context: Context,
        parent: Context | None,
        *,
        since: float | None = None,
        continues: bool = False,
        links: Sequence[Context] = (),
        attributes: Mapping[str, Value],
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.context = context
        self.parent = parent
        self.continues = continues
        """Whether the parent came in a message."""
        self.links = links
        self.attributes: dict[str, Value] = {}
        self.note(attributes)
        self.problem = ""
        """The kind of error that ended it."""
        now = time.time_ns()
        self.started = now if since is None else min(now, int(since * 1e9))
        """Nanoseconds since the epoch."""
        self.ended = 0

    def __enter__(self) -> Self:
        self._token: Token[Span | None] = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if kind is not None:
            # Its text might name somebody.
            self.problem = kind.__name__
        self.ended = time.time_ns()
        self._tracer.take(self)

    def note(self, attributes: Mapping[str, Value]) -> None:
        for key, value in attributes.items():
            self.attributes[key] = value[:LONGEST_VALUE] if isinstance(value, str) else value


class Tracer:
    """Picks traces, remembers the others' spans for a while, and gives what is kept to ``export``.

    ``announce`` is called with a trace that this process decided to keep, so that the others keep it too.
    """

    def __init__(self, share: float, export: Callable[[Span], None], announce: Callable[[int], None]) -> None:
        self._bound = int(share * 2**64)
        self._export = export
        self._announce = announce
        self._waiting: OrderedDict[int, list[Span]] = OrderedDict()
        """Spans by trace, in the order in which the traces were first met."""
        self._size = 0
        self._kept: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def begin(self, *, always: bool = False) -> Context:
        """Give the first context of a new trace, which is picked by its id, as TraceIdRatioBased does."""
        trace = random.getrandbits(128) or 1
        return self.follow(trace, sampled=always or trace & (2**64 - 1) < self._bound)

    def follow(self, trace: int, *, sampled: bool) -> Context:
        """Give the context of another span of a trace."""
        return Context(trace, random.getrandbits(64) or 1, sampled)

    def kept(self, trace: int) -> bool:
        return trace in self._kept

    def keep(self, trace: int) -> None:
        """Export a trace, here and everywhere."""
        if trace not in self._kept:
            self.release(trace)
            self._announce(trace)

    def release(self, trace: int) -> None:
        """Export what is here of a trace that another process keeps, and what still comes of it."""
        self._kept[trace] = None
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        for span in self._drop(trace):
            self._export(span)

    def take(self, span: Span) -> None:
        """Take a span that has ended."""
        trace = span.context.trace
        if span.context.sampled or trace in self._kept:
            self._export(span)
            return
        self._waiting.setdefault(trace, []).append(span)
        self._size += 1
        while self._waiting:
            oldest, spans = next(iter(self._waiting.items()))
            if self._size <= MOST_SPANS and span.ended - spans[0].ended <= REMEMBERED_SECONDS * 1e9:
                break
            self._drop(oldest)

    def _drop(self, trace: int) -> list[Span]:
        spans = self._waiting.pop(trace, [])
        self._size -= len(spans)
        return spans


_tracer: Tracer | None = None
_NOTHING: contextlib.AbstractContextManager[object] = contextlib.nullcontext()


@contextlib.contextmanager
def using(tracer: Tracer) -> Iterator[None]:
    """Make spans in this process."""
    global _tracer  # noqa: PLW0603 - one a process, as the metrics and the log are
    _tracer = tracer
    try:
        yield
    finally:
        _tracer = None


def started(
    name: str, *, since: float | None = None, always: bool = False, **attributes: Value
) -> contextlib.AbstractContextManager[object]:
    """Begin a trace with a step that began at ``since``, seconds since the epoch; ``always`` picks it."""
    if _tracer is None:
        return _NOTHING
    return Span(_tracer, name, _tracer.begin(always=always), None, since=since, attributes=attributes)


def continued(
    name: str,
    message: Carrier | str,
    *,
    since: float | None = None,
    beside: Iterable[Carrier] = (),
    **attributes: Value,
) -> contextlib.AbstractContextManager[object]:
    """Go on with the trace of a message, or of what :func:`origin` gave of one, by another step.

    ``beside`` are messages that were handled together with it: the span links to theirs. A message without a trace
    begins one.
    """
    if _tracer is None:
        return _NOTHING
    parent = parse(message if isinstance(message, str) else origin(message))
    context = _tracer.begin() if parent is None else _tracer.follow(parent.trace, sampled=parent.sampled)
    links = [link for other in beside if (link := parse(origin(other)))]
    return Span(_tracer, name, context, parent, since=since, continues=True, links=links, attributes=attributes)


def step(name: str, **attributes: Value) -> contextlib.AbstractContextManager[object]:
    """Make a step of the current one; where there is none it is not recorded."""
    span = _current.get()
    if _tracer is None or span is None:
        return _NOTHING
    context = _tracer.follow(span.context.trace, sampled=span.context.sampled)
    return Span(_tracer, name, context, span.context, attributes=attributes)


def note(**attributes: Value) -> None:
    """Say more of the current step."""
    if (span := _current.get()) is not None:
        span.note(attributes)


def keep() -> None:
    """Keep the current trace, whatever is not picked: all its steps so far and to come, in every service."""
    if _tracer is not None and (span := _current.get()) is not None:
        _tracer.keep(span.context.trace)


def header() -> dict[str, str]:
    """Give what a message that is sent now has to carry."""
    span = _current.get()
    if _tracer is None or span is None:
        return {}
    sampled = span.context.sampled or _tracer.kept(span.context.trace)
    return {HEADER: span.context._replace(sampled=sampled).header}


def origin(message: Carrier) -> str:
    """Give what a message says of its trace, to go on with it later; empty if it says nothing."""
    return (message.headers or {}).get(HEADER, "")


def ids() -> dict[str, str]:
    """Give the ids of the current step, as OpenTelemetry writes them into a log in JSON."""
    span = _current.get()
    if span is None:
        return {}
    return {"trace_id": f"{span.context.trace:032x}", "span_id": f"{span.context.span:016x}"}
