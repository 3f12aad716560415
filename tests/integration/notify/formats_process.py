"""The task of notify that puts alerts into other forms, as a process of its own that a test can kill: URL CA KEY."""

import asyncio
import sys
from pathlib import Path

from aegis.notify import formats
from aegis.notify.formats import Formats
from aegis.runtime import topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.service import Context, Health

ACK_SECONDS = 1.0
"""So that a test need not wait long for what the killed process had in hand."""


async def main(url: str, ca: str, key: str) -> None:
    config = BusConfig(url=url, ca=Path(ca), key=Path(key), inbox=topology.inbox("notify"))
    async with Bus.connect(config, "formats") as bus:
        await Formats(Context("notify", None, bus, Health()), names=False).run()


if __name__ == "__main__":
    formats.ACK_SECONDS = ACK_SECONDS
    asyncio.run(main(*sys.argv[1:]))
