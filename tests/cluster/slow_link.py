"""A slow, lossy cable: ``python slow_link.py LINK TAP DELAY JITTER LOSS SEED`` carries what comes on one to the other.

The kernel's own ``netem`` does the same where it is built in, which many kernels leave out. Packets keep their order,
and their header of offloads, with which two hosts of one machine hand each other packets that nobody has checksummed.
"""

import asyncio
import fcntl
import os
import random
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
ALL_PROTOCOLS = 0x0003
LARGEST = 70_000
WAITING = 2_000
"""So many packets wait on a cable; more are lost."""


class Direction:
    """One way through the cable."""

    def __init__(
        self, send: Callable[[bytes], object], chance: random.Random, delay: float, jitter: float, loss: float
    ) -> None:
        self._send, self._chance = send, chance
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, packet: bytes) -> None:
        if self._chance.random() < self._loss or len(self._waiting) >= WAITING:
            return
        due = time.monotonic() + self._delay + self._chance.uniform(-self._jitter, self._jitter)
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, packet))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            try:
                self._send(self._waiting.popleft()[1])
            except OSError:
                continue
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver)


async def main(link: str, tap: str, *numbers: str) -> None:
    """Carry packets until killed."""
    cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    cable.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    cable.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    cable.bind((link, 0))
    cable.setblocking(False)
    port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(port, TUNSETOFFLOAD, 0)
    delay, jitter, loss, seed = map(float, numbers)
    chance = random.Random(seed)
    inward = Direction(cable.send, chance, delay, jitter, loss)
    outward = Direction(lambda packet: os.write(port, packet), chance, delay, jitter, loss)

    def read(from_: Callable[[], bytes], direction: Direction) -> None:
        while True:
            try:
                direction.take(from_())
            except BlockingIOError:
                return

    loop = asyncio.get_running_loop()
    loop.add_reader(cable, read, lambda: cable.recv(LARGEST), outward)
    loop.add_reader(port, read, lambda: os.read(port, LARGEST), inward)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
