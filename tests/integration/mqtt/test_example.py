"""The example of the integrators' guide hears an alert, and hears another after the bus was killed."""

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any

from tests.bus import until
from tests.integration.mqtt.conftest import PATIENCE, MqttServer

from aegis.contracts import subjects
from aegis.runtime import bus_server
from aegis.runtime.bus import Bus, BusUnavailableError, RefusedError

SCRIPT = Path(__file__).parents[3] / "examples" / "mqtt" / "listen.sh"
ALERT = subjects.alert("north", "barred", "p1")


async def test_the_example_prints_alerts_across_a_restart_of_the_bus(server: MqttServer, admin: Bus) -> None:
    script = await asyncio.create_subprocess_exec(
        *("sh", str(SCRIPT), str(server.files.directory.parent), f"{bus_server.HOST}:{server.port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed: list[dict[str, Any]] = []

    async def read() -> None:
        assert script.stdout is not None
        async for line in script.stdout:
            printed.append(json.loads(line))  # noqa: PERF401 - others look at it meanwhile

    async def prints(told: str) -> bool:
        # Nobody can tell when it listens, and what is told before that it does not hear.
        with contextlib.suppress(BusUnavailableError, RefusedError):
            await admin.store(ALERT, json.dumps({"id": told}).encode(), patience=1.0)
        return {"topic": ALERT.replace(".", "/"), "event": {"id": told}} in printed

    reading = asyncio.create_task(read())
    try:
        await until(lambda: prints("before"), "an alert is printed", 30.0)
        server.kill()
        server.start()
        await until(lambda: prints("after"), "an alert after the restart is printed", 30.0)
    finally:
        script.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await reading
            await script.wait()
