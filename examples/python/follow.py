"""Follow what Aegis tells on its bus: each event at least once, also those of while this program was away.

python follow.py STATE_DIR [SUBJECT]            needs: pip install "nats-py[nkeys]"
python follow.py --forget STATE_DIR [SUBJECT]   deletes what the bus remembers of this program

SUBJECT begins with aegis.v1.alert. (all of these if it is not given), aegis.v1.camera., aegis.v1.cap. or
aegis.v1.onvif.
"""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

NAME = "example-python"
"""Choose your own: by this name the bus remembers, for as long as you like, how far you have read."""
STREAMS = {"alert": "ALERTS", "camera": "CAMERAS", "cap": "CAP", "onvif": "ONVIF"}
AWAY = (nats.errors.Error, TimeoutError)


def work(event: dict) -> None:
    """Do what your system does with an event. It may come again after a crash: let its id make that harmless."""
    data = event["data"]
    what = event["type"].removeprefix("aegis.").removeprefix("alert.").removesuffix(".v1")
    drill = "DRILL " if data.get("drill") else ""
    late = " (history: do not act)" if past(data.get("expires_at")) else ""
    if "reference" not in data:
        about = f"{data['camera']} {data.get('reason', '')}".rstrip()
    elif "person" in data:
        about = f"{data['reference']} {data['person']} at {data['camera_name']}"
    else:
        about = f"{data['reference']} -> {data['state']}"
    print(f"{event['time']} {drill}{what} {about}{late}", flush=True)


def past(stamp: str | None) -> bool:
    """Tell whether a time of an event is over."""
    return stamp is not None and dt.datetime.fromisoformat(stamp) < dt.datetime.now(dt.UTC)


def take(message: Msg) -> None:
    """Work on a CloudEvent; print a message of another form as it is."""
    if (message.headers or {}).get("content-type") == "application/cloudevents+json":
        work(json.loads(message.data))
    else:
        print(message.data.decode(), flush=True)


class Notes:
    """Says what is wrong with the bus in one line, once, and not again until it is something else."""

    def __init__(self) -> None:
        self.last = ""

    async def take(self, error: Exception) -> None:
        """Note an error of the connection."""
        self.say(f"trouble with the bus: {error or type(error).__name__}; it is tried again")

    def say(self, text: str) -> None:
        """Print a line for people."""
        if text != self.last:
            print(text, file=sys.stderr, flush=True)
        self.last = text


@contextlib.asynccontextmanager
async def connected(state: Path, port: int, notes: Notes) -> AsyncIterator[JetStreamContext]:
    """Connect with the integrators' key."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of how the bus ends a connection
    bus = await nats.connect(
        f"tls://127.0.0.1:{port}",
        tls=ssl.create_default_context(cafile=str(state / "bus/ca.pem")),
        nkeys_seed=str(state / "bus/keys/integrator.nk"),
        inbox_prefix="_INBOX_integrator",
        error_cb=notes.take,
        max_reconnect_attempts=-1,
    )
    try:
        yield bus.jetstream()
    finally:
        await bus.close()


async def find(bus: JetStreamContext, stream: str, subject: str, notes: Notes) -> None:
    """See that the bus remembers us, as a reader of this subject; exit if it is of another."""
    try:
        found = (await bus.consumer_info(stream, NAME)).config.filter_subject
    except nats.js.errors.NotFoundError:
        notes.say(f"the bus does not know {NAME} (any more): all that it has kept comes, perhaps again")
        config = ConsumerConfig(name=NAME, durable_name=NAME, filter_subject=subject, ack_wait=30, max_ack_pending=100)
        await bus.add_consumer(stream, config)
    else:
        notes.last = ""
        if found != subject:
            sys.exit(
                f"the bus knows {NAME} as a reader of {found}, not of {subject}: choose another NAME, or delete it "
                f"with: python follow.py --forget STATE_DIR '{found}'"
            )


async def follow(state: Path, port: int, stream: str, subject: str) -> None:
    """Read what this name has not acknowledged yet, then what comes."""
    notes = Notes()
    async with connected(state, port, notes) as bus:
        reader = await bus.pull_subscribe_bind(consumer=NAME, stream=stream)
        while True:
            try:
                await find(bus, stream, subject, notes)
                while messages := await next_of(reader):
                    for message in messages:
                        take(message)
                        await message.ack()  # only now is it done
            except AWAY as error:
                await notes.take(error)
                await asyncio.sleep(0.5)


async def next_of(reader: JetStreamContext.PullSubscription) -> list[Msg]:
    """Wait for messages. It gives none if none came for a while, or if the bus or the consumer is gone."""
    try:
        return await reader.fetch(16, timeout=10)
    except AWAY:
        return []


async def forget(state: Path, port: int, stream: str) -> None:
    """Delete what the bus remembers of us; the next start reads all that it has kept."""
    async with connected(state, port, Notes()) as bus:
        await bus.delete_consumer(stream, NAME)


def port_of(state: Path) -> int:
    """Give the bus's port, and see that all that it takes to connect is there."""
    try:
        for name in ("bus/ca.pem", "bus/keys/integrator.nk"):
            (state / name).open().close()
        return int(json.loads((state / "running.json").read_text())["port"])
    except OSError as error:
        sys.exit(f"cannot read {error.filename}: {error.strerror}; does Aegis run with this state directory, as you?")


def main(arguments: list[str]) -> None:
    """Do what the command line says, and say in one line why not."""
    state, subject = ([word for word in arguments if word != "--forget"] + ["", ""])[:2]
    subject = subject or "aegis.v1.alert.>"
    stream = next((stream for start, stream in STREAMS.items() if subject.startswith(f"aegis.v1.{start}.")), None)
    if not state or stream is None:
        sys.exit(__doc__.strip())
    port = port_of(Path(state))
    if "--forget" not in arguments:
        asyncio.run(follow(Path(state), port, stream, subject))
    try:
        asyncio.run(forget(Path(state), port, stream))
    except nats.js.errors.NotFoundError:
        sys.exit(f"the bus does not know {NAME} in the stream {stream}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
