"""A small service for the tests of the runner: it waits, and does on the way what ``AEGIS_DEED`` says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig

from aegis.contracts import subjects
from aegis.runtime.consumers import consume
from aegis.runtime.service import Context, Service, background, main
from aegis.runtime.settings import ServiceSettings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings(ServiceSettings):
    deed: str = setting("wait", "What to do.", choices=("wait", "break the connection", "fail", "never leave"))


async def pull(context: Context[ProbeSettings]) -> None:
    config = ConsumerConfig(durable_name="probe", ack_policy=AckPolicy.EXPLICIT)
    async with consume(context.bus, subjects.FACES, config) as consumer:
        while True:
            await consumer.next()


async def do(context: Context[ProbeSettings]) -> None:
    if context.settings.deed == "break the connection":
        # The server answers a broken protocol as it does an oversized message: with an error, and by closing.
        context.bus.client._transport.write(b"NONSENSE\r\n")  # type: ignore[union-attr]
    elif context.settings.deed == "fail":
        raise LookupError("no such thing")


@contextlib.asynccontextmanager
async def build(context: Context[ProbeSettings]) -> AsyncIterator[None]:
    async with background() as start:
        start(pull(context))
        start(do(context))
        yield
        while context.settings.deed == "never leave":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


if __name__ == "__main__":
    main(Service("embed", ProbeSettings, build))
