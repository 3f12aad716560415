"""Follow alerts on Aegis's bus: each event at least once, also those of while this program was away.

python follow.py STATE_DIR [SUBJECT]            needs: pip install "nats-py[nkeys]"
"""

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import sys
from pathlib import Path

import nats
import nats.errors
from nats.js.api import ConsumerConfig

NAME = "example-python"
"""Choose your own: by this name the bus remembers, for as long as you like, how far you have read."""


def work(event: dict) -> None:
    """Do what your system does with an event. It may come again after a crash: let its id make that harmless."""
    data = event["data"]
    what = event["type"].removeprefix("aegis.alert.").removesuffix(".v1")
    drill = "DRILL " if data.get("drill") else ""
    late = " (history: do not act)" if past(data.get("expires_at")) else ""
    who = f" {data['person']} at {data['camera_name']}" if "person" in data else f" -> {data['state']}"
    print(f"{event['time']} {drill}{what} {data['reference']}{who}{late}", flush=True)


def past(stamp: str | None) -> bool:
    """Tell whether a time of an event is over."""
    return stamp is not None and dt.datetime.fromisoformat(stamp) < dt.datetime.now(dt.UTC)


async def follow(state: Path, subject: str) -> None:
    """Read what this name has not acknowledged yet, then what comes."""
    port = json.loads((state / "running.json").read_text())["port"]
    bus = await nats.connect(
        f"tls://127.0.0.1:{port}",
        tls=ssl.create_default_context(cafile=str(state / "bus/ca.pem")),
        nkeys_seed=str(state / "bus/keys/integrator.nk"),
        inbox_prefix="_INBOX_integrator",
        max_reconnect_attempts=-1,
    )
    try:
        config = ConsumerConfig(ack_wait=30, max_ack_pending=100)
        reader = await bus.jetstream().pull_subscribe(subject, durable=NAME, stream="ALERTS", config=config)
        while True:
            try:
                messages = await reader.fetch(16, timeout=10)
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.1)  # nothing for a while, or the bus is away: it is found again
                continue
            for message in messages:
                work(json.loads(message.data))
                await message.ack()  # only now is it done
    finally:
        await bus.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(follow(Path(sys.argv[1]), *(sys.argv[2:3] or ["aegis.v1.alert.>"])))
