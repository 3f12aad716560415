"""The integrators' copies of restored streams, filled without telling all of it again as if it were news."""

import asyncio
import time
from dataclasses import replace

import nats.errors
import nats.js.errors

from aegis.cli.backup import streams
from aegis.cli.backup.streams import StreamError
from aegis.runtime import topology
from aegis.runtime.bus import Bus

FILL_SECONDS = 120.0
PAUSE_SECONDS = 0.1


async def fill(bus: Bus) -> None:
    """Make the copies silently and wait until they have what they are copies of; ``topology.declare`` comes after.

    A copy tells what it stores to whoever listens, by MQTT too: with a month of alerts that would be a storm.

    Raises:
        StreamError: one does not fill.

    """
    theirs = bus.client.jetstream(timeout=topology.DECLARE_SECONDS, prefix=f"JS.{topology.PUBLIC}.API")
    deadline = time.monotonic() + FILL_SECONDS
    for name in topology.PUBLISHED:
        info = await streams.info(bus, name)
        last = info["state"]["last_seq"] if info and info["state"]["messages"] else 0
        silent = replace(topology.copy_of(topology.declared(name)), republish=None)
        make = theirs.add_stream
        while True:
            try:
                copied = (await make(silent)).state.last_seq
            except nats.js.errors.BadRequestError as error:
                if make == theirs.update_stream:
                    raise StreamError(f"{name}: {error.description}") from None
                copied = -1
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise StreamError(f"{name}: {str(error) or type(error).__name__}") from None
            if copied >= last:
                break
            if time.monotonic() > deadline:
                raise StreamError(f"{name}: its copy for integrators ends at {copied} and not at {last}")
            # There is no other way to ask about a stream of that account: bringing it to what it is tells how it is.
            make = theirs.update_stream
            await asyncio.sleep(PAUSE_SECONDS)
