"""A replica that shares resources by leases and notes what it would say: a program, to be killed and paused.

``python replica.py URL CA KEY NAME RESOURCES FILE``: each line of FILE is one :class:`Sample` as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path

from aegis.runtime import topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.leases import Lease, Leases

SAMPLE_EVERY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a replica knew of a lease at a time of the machine's monotonic clock, and whether it would have acted."""

    at: float
    replica: str
    resource: str
    epoch: int
    valid: bool


def note(replica: str, keep: Callable[[Sample], None]) -> Callable[[Lease], Coroutine[None, None, None]]:
    """Give a ``hold`` that asks before each thing it would do whether it still may."""

    async def hold(lease: Lease) -> None:
        while True:
            at = time.monotonic()
            keep(Sample(at=at, replica=replica, resource=lease.resource, epoch=lease.epoch, valid=lease.valid))
            await asyncio.sleep(SAMPLE_EVERY)

    return hold


async def run(config: BusConfig, name: str, resources: list[str], keep: Callable[[Sample], None]) -> None:
    async with Bus.connect(config, name) as bus:
        leases = Leases(bus, "detect", name, note(name, keep))
        leases.want(resources)
        await leases.run()


def main(arguments: list[str]) -> None:
    url, ca, key, name, resources, file = arguments
    config = BusConfig(url=url, ca=Path(ca), key=Path(key), inbox=topology.inbox("detect"))
    with Path(file).open("a", buffering=1) as log:

        def keep(sample: Sample) -> None:
            log.write(json.dumps(asdict(sample)) + "\n")

        asyncio.run(run(config, name, resources.split(","), keep))


if __name__ == "__main__":
    main(sys.argv[1:])
