"""Streams as JetStream gives and takes them whole, with their sequences and consumers, and what is in them as a digest.

The subjects and the flow of pieces are those of JetStream's own API (``STREAM.SNAPSHOT``, ``STREAM.RESTORE``).
"""

import asyncio
import contextlib
import datetime as dt
import hashlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import StorageType

from aegis.runtime import topology
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import read_all

PIECE_SECONDS = 30.0
"""How long one piece may take: a disk that is busy, or in a cluster the servers that agree on it."""
PAUSE_SECONDS = 0.2
NOT_FOUND = 404
BLOCK = 100
"""How many sequences one digest is over."""
KEPT = tuple(
    str(stream.name)
    for stream in topology.STREAMS
    if stream.storage is not StorageType.MEMORY and stream.name != "KV_leases"
)
"""What a backup holds. Who holds which lease is over after 8 s, and what is in memory after 5."""


class StreamError(RuntimeError):
    """The bus did not give or take a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a stream holds up to a sequence, in figures that two copies can be compared by."""

    messages: int
    first: int
    last: int
    digests: dict[str, str]
    """SHA-256 over sequence, time, subject, headers and body of each message, by hundreds of sequences: what is older
    expires, and the rest can still be compared."""
    consumers: dict[str, int]
    """Of each durable consumer, up to which sequence all was acknowledged."""


async def api(bus: Bus, name: str, request: object = None, patience: float = PIECE_SECONDS) -> dict[str, Any]:
    """Ask JetStream and give its answer, also one that is an error.

    Raises:
        StreamError: nobody answered.

    """
    data = b"" if request is None else json.dumps(request).encode()
    try:
        answer = await bus.client.request(f"$JS.API.{name}", data, timeout=patience)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise StreamError(f"{name}: {str(error) or type(error).__name__}") from None
    found: dict[str, Any] = json.loads(answer.data)
    return found


async def asked(bus: Bus, name: str, request: object = None) -> dict[str, Any]:
    """Ask JetStream for what it must be able to do; StreamError with its reason."""
    answer = await api(bus, name, request)
    if error := answer.get("error"):
        raise StreamError(f"{name}: {error.get('description')}")
    return answer


async def info(bus: Bus, stream: str) -> dict[str, Any] | None:
    """Give what JetStream says of a stream, or None where there is none."""
    answer = await api(bus, f"STREAM.INFO.{stream}")
    if answer.get("error", {}).get("code") == NOT_FOUND:
        return None
    return await asked(bus, f"STREAM.INFO.{stream}") if "error" in answer else answer


async def snapshot(
    bus: Bus, stream: str, begin: Callable[[dict[str, Any]], Awaitable[None]], add: Callable[[bytes], Awaitable[None]]
) -> dict[str, Any]:
    """Have ``begin`` told what the stream is and ``add`` given all of its pieces; give its state at that moment."""
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox)
    try:
        answer = await asked(bus, f"STREAM.SNAPSHOT.{stream}", {"deliver_subject": inbox, "no_consumers": False})
        await begin({"config": answer["config"], "state": answer["state"]})
        while (piece := await _piece(bus, stream, subscription)).data:
            await add(piece.data)
    finally:
        await subscription.unsubscribe()
    headers = piece.headers or {}
    if headers.get("Status", "204") != "204":
        raise StreamError(f"{stream}: the bus ended early: {headers['Status']} {headers.get('Description', '')}")
    return dict(answer["state"])


async def _piece(bus: Bus, stream: str, subscription: Subscription) -> Msg:
    """Take the next piece and say that there is room for another; the last one has nothing to say that by."""
    try:
        piece = await subscription.next_msg(PIECE_SECONDS)
        if piece.reply:
            await bus.client.publish(piece.reply, b"")
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise StreamError(f"{stream}: {str(error) or type(error).__name__}") from None
    return piece


async def restore(bus: Bus, stream: str, described: dict[str, Any], pieces: Iterable[bytes]) -> None:
    """Make a stream of its pieces, on one server; there must be none of its name.

    On one, also in a cluster: of a stream that is restored on several, the others were seen to say for six seconds that
    they have what they had not. Brought to more servers afterwards, they say so when it is true.
    """
    config = {**described["config"], "num_replicas": 1}
    answer = await asked(bus, f"STREAM.RESTORE.{stream}", {"config": config, "state": described["state"]})
    # What is empty is the end.
    for piece in itertools.chain(pieces, (b"",)):
        said = await _handed_over(bus, stream, answer["deliver_subject"], piece)
        if said.data and (error := json.loads(said.data).get("error")):
            raise StreamError(f"{stream}: {error.get('description')}")


async def _handed_over(bus: Bus, stream: str, to: str, piece: bytes) -> Msg:
    deadline = time.monotonic() + PIECE_SECONDS
    while True:
        try:
            return await bus.client.request(to, piece, timeout=PIECE_SECONDS)
        except nats.errors.NoRespondersError as error:
            # In a cluster it takes a moment until every server knows where the one is that takes it.
            if time.monotonic() > deadline:
                raise StreamError(f"{stream}: {error}") from None
            await asyncio.sleep(PAUSE_SECONDS)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise StreamError(f"{stream}: {str(error) or type(error).__name__}") from None


async def everywhere(bus: Bus, names: Iterable[str], replicas: int, patience: float) -> list[str]:
    """Wait until every server that keeps one of these streams has all of it; give those of which some have not."""
    deadline = time.monotonic() + patience
    behind = list(names)
    while behind and replicas > 1:
        infos = {name: await info(bus, name) for name in behind}
        behind = [name for name, found in infos.items() if not (found and _current(found, replicas))]
        if time.monotonic() > deadline:
            return behind
        await asyncio.sleep(PAUSE_SECONDS)
    return []


def _current(found: dict[str, Any], replicas: int) -> bool:
    others = found["cluster"].get("replicas") or ()
    return len(others) == replicas - 1 and all(other["current"] for other in others)


async def content(bus: Bus, stream: str, last: int, consumers: dict[str, int]) -> Content:
    """Read every message of a stream, up to the sequence ``last``, and give what it holds."""
    digests: dict[str, hashlib._Hash] = {}
    messages = first = 0
    async with contextlib.aclosing(read_all(bus, stream, ">", "backup")) as reading:
        async for message in reading:
            at = message.metadata
            sequence = at.sequence.stream
            if sequence > last:
                break
            _add(digests.setdefault(str(sequence // BLOCK), hashlib.sha256()), sequence, at.timestamp, message)
            messages, first = messages + 1, first or sequence
    return Content(
        messages=messages,
        first=first,
        last=last,
        digests={block: digest.hexdigest() for block, digest in digests.items()},
        consumers=consumers,
    )


def _add(found: "hashlib._Hash", sequence: int, at: dt.datetime, message: Msg) -> None:
    head = json.dumps([sequence, at.isoformat(), message.subject, dict(message.headers or {}), len(message.data)])
    found.update(head.encode())
    found.update(message.data)


async def places(bus: Bus, stream: str) -> dict[str, int]:
    """Give for each durable consumer of a stream up to which sequence all was acknowledged."""
    found: dict[str, int] = {}
    offset = 0
    while True:
        page = await asked(bus, f"CONSUMER.LIST.{stream}", {"offset": offset})
        consumers = page.get("consumers") or []
        found |= {c["name"]: c["ack_floor"]["stream_seq"] for c in consumers if c["config"].get("durable_name")}
        offset += len(consumers)
        if not consumers or offset >= page["total"]:
            return found
