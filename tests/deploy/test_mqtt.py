"""The component mqtt, run for real: an MQTT client at any server of the bus hears of alerts, and does nothing else."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.bus import until
from tests.conftest import require
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import with_components

from aegis.contracts import subjects
from aegis.runtime import topology
from aegis.runtime.bus import Bus

PASSWORD = "3e5"
"""What nats-server takes for a number, unless it stands in quotes."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[BusCluster]:
    servers = BusCluster(with_components("mqtt"), tmp_path, secrets={"MQTT_PASSWORD": PASSWORD})
    for number in range(servers.size):
        servers.start(number)
    try:
        await servers.passes("startupProbe")
        async with Bus.connect(servers.config("admin"), "test-admin") as admin:
            await topology.declare(admin, replicas=servers.size)
        yield servers
    finally:
        servers.close()


@contextlib.asynccontextmanager
async def client(cluster: BusCluster, number: int, *more: str, password: str = PASSWORD) -> AsyncIterator[Any]:
    """Run mosquitto's client at one server."""
    program = require(Path(shutil.which("mosquitto_sub") or "/usr/bin/mosquitto_sub"), "mosquitto_sub")
    place = (
        "--host",
        "localhost",
        "--port",
        str(cluster.ports[number][8883]),
        "--cafile",
        str(cluster.folder / "ca.crt"),
    )
    user = ("--username", "integrator", "--pw", password)
    listening = (*place, *user, "--debug", "--topic", "aegis/v1/alert/#", *more)
    # It would keep what it says for itself until there is enough of it.
    process = await asyncio.create_subprocess_exec(
        "stdbuf", "-oL", program, *listening, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def says(process: Any, words: str) -> str:
    async with asyncio.timeout(20):
        while line := (await process.stdout.readline()).decode():
            if words in line:
                return str(line)
    raise AssertionError(f"it ended without {words!r}")


async def test_a_client_at_each_server_hears_of_an_alert(cluster: BusCluster) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(cluster, number)) for number in range(cluster.size)]
        for process in clients:
            await says(process, "SUBACK")
        async with Bus.connect(cluster.config("match", 0), "test-match") as match:
            await match.client.jetstream().publish(subjects.alert("site", "barred", "x"), b'{"raised": true}')
        for process in clients:
            assert await says(process, "raised") == '{"raised": true}\n'


async def test_a_client_whose_server_died_goes_on_at_another(cluster: BusCluster) -> None:
    lasting = ("--id", "doors", "--qos", "1", "--disable-clean-session")
    async with client(cluster, 0, *lasting) as process:
        await says(process, "SUBACK")
        _, answer = await cluster.asked(1, "/jsz?accounts=true&streams=true&config=true")
        details: Any = answer["account_details"]
        streams = [stream for account in details for stream in account.get("stream_detail", [])]
        kept = {s["name"]: s["config"]["num_replicas"] for s in streams if s["name"].startswith("$MQTT")}
        assert "$MQTT_sess" in kept
        assert set(kept.values()) == {cluster.size}, kept
        cluster.kill(0)
    async with client(cluster, 1, *lasting) as process:
        await says(process, "SUBACK")
        async with Bus.connect(cluster.config("match", 1), "test-match") as match:
            await match.store(subjects.alert("site", "barred", "x"), b'{"raised": true}')
        assert await says(process, "raised") == '{"raised": true}\n'


async def test_who_has_another_password_is_refused_and_nobody_speaks(cluster: BusCluster) -> None:
    async with client(cluster, 0, password="guessed") as process:
        await says(process, "not authorised")
    publish = require(Path(shutil.which("mosquitto_pub") or "/usr/bin/mosquitto_pub"), "mosquitto_pub")
    async with client(cluster, 0) as process, Bus.connect(cluster.config("integrator", 1), "test-integrator") as reader:
        await says(process, "SUBACK")
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await reader.client.subscribe(subjects.alert("*", "*", "*"), cb=hear)
        await reader.client.flush()
        place = ("-h", "localhost", "-p", str(cluster.ports[0][8883]), "--cafile", str(cluster.folder / "ca.crt"))
        message = ("-t", "aegis/v1/alert/site/barred/x", "-m", "forged", "-q", "1")
        forged = await asyncio.create_subprocess_exec(publish, *place, "-u", "integrator", "-P", PASSWORD, *message)
        await asyncio.wait_for(forged.wait(), 20)
        async with Bus.connect(cluster.config("match", 0), "test-match") as match:
            await match.client.jetstream().publish(subjects.alert("site", "barred", "x"), b"told")
        await until(lambda: bool(heard), "the alert that was told")
        assert heard == [b"told"]
