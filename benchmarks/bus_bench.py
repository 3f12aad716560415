"""Frames over the bus: the product's client beside nats-py and raw sockets, with the product's own server and keys.

One process sends as ingest and receives as detect, in windows, through a real nats-server; each way takes its turn.
The raw sockets speak just enough of NATS's protocol. With TLS and nkeys as in the product; without TLS for comparison.

    python benchmarks/bus_bench.py [--frames 1500]
"""

import argparse
import asyncio
import base64
import contextlib
import json
import re
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lab
import nats
import nkeys
from nats.aio.msg import Msg
from tests.bus import Server

from aegis.contracts import subjects
from aegis.runtime.bus import Bus, BusConfig

FRAME = bytes(60_000)
WINDOW = 64
"""Frames on their way at once: 4 MB, far below what the server holds for a reader."""
ROUNDS = 5

Send = Callable[[int], Awaitable[None]]
"""Send so many frames and wait until as many have arrived."""


class Arrivals:
    """Counts what a subscription hears."""

    def __init__(self) -> None:
        self._left = 0
        self._all = asyncio.Event()

    def expect(self, count: int) -> None:
        self._left = count
        self._all.clear()

    async def hear(self, _: Msg) -> None:
        self._left -= 1
        if not self._left:
            self._all.set()

    async def complete(self) -> None:
        await self._all.wait()


@contextlib.asynccontextmanager
async def product(sender: BusConfig, reader: BusConfig, subject: str) -> AsyncIterator[Send]:
    arrivals = Arrivals()
    async with Bus.connect(sender, "bench") as ingest, Bus.connect(reader, "bench") as detect:
        await detect.subscribe(subject, arrivals.hear)

        async def send(count: int) -> None:
            arrivals.expect(count)
            for _ in range(count):
                await ingest.publish(subject, FRAME)
            await arrivals.complete()

        yield send


@contextlib.asynccontextmanager
async def bare_client(sender: BusConfig, reader: BusConfig, subject: str) -> AsyncIterator[Send]:
    arrivals = Arrivals()
    ingest, detect = [
        await nats.connect(
            config.url,
            tls=ssl.create_default_context(cafile=str(config.ca)) if config.ca else None,
            nkeys_seed=str(config.key),
            inbox_prefix=config.inbox,
        )
        for config in (sender, reader)
    ]
    await detect.subscribe(subject, cb=arrivals.hear)
    await detect.flush()

    async def send(count: int) -> None:
        arrivals.expect(count)
        for _ in range(count):
            await ingest.publish(subject, FRAME)
        await arrivals.complete()

    try:
        yield send
    finally:
        await ingest.close()
        await detect.close()


def raw_socket(config: BusConfig) -> socket.socket:
    """Connect to NATS by hand and sign what the server asks to be signed."""
    host, port = config.url.rpartition("/")[2].split(":")
    plain = socket.create_connection((host, int(port)))
    information = json.loads(plain.recv(65_536).removeprefix(b"INFO "))
    connection = plain
    if config.ca:
        connection = ssl.create_default_context(cafile=str(config.ca)).wrap_socket(plain, server_hostname=host)
    pair = nkeys.from_seed((config.key or Path()).read_bytes().strip())
    hello = {
        "verbose": False,
        "pedantic": False,
        "nkey": pair.public_key.decode(),
        "sig": base64.urlsafe_b64encode(pair.sign(information["nonce"].encode())).rstrip(b"=").decode(),
    }
    connection.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
    await_pong(connection)
    return connection


def await_pong(connection: socket.socket) -> None:
    told = b""
    while not told.endswith(b"PONG\r\n"):
        told += connection.recv(4096)


@contextlib.asynccontextmanager
async def raw_sockets(sender: BusConfig, reader: BusConfig, subject: str) -> AsyncIterator[Send]:
    ingest, detect = raw_socket(sender), raw_socket(reader)
    detect.sendall(f"SUB {subject} 1\r\nPING\r\n".encode())
    await_pong(detect)
    command = f"PUB {subject} {len(FRAME)}\r\n".encode() + FRAME + b"\r\n"
    arriving = len(f"MSG {subject} 1 {len(FRAME)}\r\n") + len(FRAME) + 2
    room = bytearray(1 << 20)

    async def send(count: int) -> None:
        for _ in range(count):
            ingest.sendall(command)
        left = count * arriving
        while left:
            left -= detect.recv_into(room, min(left, len(room)))

    with ingest, detect:
        yield send


WAYS = {"aegis": product, "nats-py": bare_client, "raw sockets": raw_sockets}


@contextlib.contextmanager
def serving(*, tls: bool) -> Iterator[tuple[BusConfig, BusConfig]]:
    """Run the product's server and say how ingest and detect reach it."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        sender, reader = (server.config(role) for role in ("ingest", "detect"))
        if not tls:
            file = server.files.config
            file.write_text(re.sub(r"^tls \{.*?^\}", "", file.read_text(), flags=re.MULTILINE | re.DOTALL))
            sender, reader = (replace(c, url=c.url.replace("tls:", "nats:"), ca=None) for c in (sender, reader))
        server.start()
        try:
            yield sender, reader
        finally:
            server.kill()


async def compare(sender: BusConfig, reader: BusConfig, frames: int) -> dict[str, tuple[float, float]]:
    """Give frames a second and milliseconds of CPU a frame, both ends together, for each way."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    async with contextlib.AsyncExitStack() as stack:
        ways = {
            name: await stack.enter_async_context(way(sender, reader, subjects.frame_captured(1, f"camera-{number}")))
            for number, (name, way) in enumerate(WAYS.items())
        }
        for turn in range(ROUNDS + 1):
            for name, send in ways.items():
                started, used = time.perf_counter(), time.process_time()
                for _ in range(frames // WINDOW):
                    await send(WINDOW)
                count = frames // WINDOW * WINDOW
                taken = (count / (time.perf_counter() - started), 1000 * (time.process_time() - used) / count)
                if turn:  # the first one warms up
                    figures[name].append(taken)
    return {
        name: (statistics.median(f for f, _ in taken), statistics.median(c for _, c in taken))
        for name, taken in figures.items()
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1500, help="in each round of each way")
    frames = parser.parse_args().frames
    figures: dict[str, dict[str, tuple[float, float]]] = {}
    for wire in ("TLS", "plain"):
        with serving(tls=wire == "TLS") as (sender, reader):
            figures[wire] = await compare(sender, reader, frames)
        for way, (rate, cpu) in figures[wire].items():
            print(f"{wire:<6} {way:<12} {rate:8.0f} frames/s {cpu:7.3f} ms of CPU a frame", flush=True)
    rows: list[lab.Row] = []
    for wire, ways in figures.items():
        ours, theirs = ways["aegis"], ways["nats-py"]
        rows += [
            (f"frames a second of nats-py's, {wire}", ours[0] / theirs[0], "x", 0.9, True),
            (f"CPU a frame of nats-py's, {wire}", ours[1] / theirs[1], "x", 1.1, False),
        ]
    told = {
        wire: ", ".join(f"{way} {rate:.0f}/s at {cpu:.3f} ms" for way, (rate, cpu) in ways.items())
        for wire, ways in figures.items()
    }
    lab.table(f"the bus, frames of {len(FRAME) // 1000} KB", rows, **told)


if __name__ == "__main__":
    asyncio.run(main())
