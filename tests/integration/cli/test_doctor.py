"""Doctor on a bus that was broken for real: streams, servers, keys, strangers, clocks and letters."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.bus import Server, until
from tests.integration.cli.conftest import Cluster, aegis, reached

from aegis.cli.doctor import bus as checks
from aegis.cli.doctor.findings import Finding, Level
from aegis.cli.errors import CommandError
from aegis.contracts import codec, subjects
from aegis.contracts.messages import DeadLetter
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig


async def found(bus: Bus) -> list[Finding]:
    return [finding async for finding in checks.streams(bus)]


async def test_streams_that_are_not_as_declared_are_named_with_what_differs(bus: Bus) -> None:
    [good] = await found(bus)
    assert (good.level, good.text) == (Level.OK, f"all {len(topology.STREAMS)} are as declared, each on 1 server")
    jetstream = bus.client.jetstream()
    await jetstream.update_stream(replace(topology.declared("ALERTS"), max_age=60.0))
    await jetstream.delete_stream("SHADOW")
    by = {finding.check: finding for finding in await found(bus)}
    assert set(by) == {"stream ALERTS", "stream SHADOW"}
    assert by["stream ALERTS"].text == "max_age is 60000000000 and not 2592000000000000"
    assert by["stream SHADOW"].text == "stream not found"
    assert all(finding.level is Level.PROBLEM and "aegis cluster declare" in finding.remedy for finding in by.values())
    await topology.declare(bus)
    assert [finding.level for finding in await found(bus)] == [Level.OK]


async def test_version_certificate_clock_and_room_are_looked_at(bus: Bus, tmp_path: Path) -> None:
    assert checks.version(bus, checks.pinned()).level is Level.OK
    old = checks.version(bus, (99, 0, 0))
    assert old.level is Level.PROBLEM
    assert "run 99.0.0 or newer" in old.remedy
    assert checks.certificate(bus).level is Level.OK
    assert (await checks.clock(bus)).level is Level.OK
    assert (await checks.room(bus, tmp_path)).level is not Level.PROBLEM
    assert (await checks.room(bus, None)).level is Level.SKIPPED


async def test_dead_letters_of_a_day_are_counted(bus: Bus) -> None:
    assert (await checks.dead_letters(bus)).level is Level.OK
    letter = DeadLetter(service="match", subject="some.subject", problem="it is torn", size=3, at=1.0)
    for _ in range(2):
        await bus.store(subjects.dead("match"), codec.encode(letter))
    told = await checks.dead_letters(bus)
    assert told.level is Level.WARNING
    assert told.text == "2 of match in the last day, the last of some.subject: it is torn"
    await bus.store(subjects.dead("embed"), b"no letter")
    told = await checks.dead_letters(bus)
    assert told.text.startswith(f"2 of match, 1 of embed in the last day, the last of {subjects.dead('embed')}: ")


async def test_keys_can_do_what_they_are_for_and_no_more(bus: Bus, server: Server) -> None:
    assert await checks.may_everything(bus)
    assert (await checks.rights(bus, admin=True)).level is Level.OK
    async with server.connect("operator") as operator:
        assert not await checks.may_everything(operator)
        assert (await checks.rights(operator, admin=False)).level is Level.OK
    # A bus whose permissions somebody widened, or which has none.
    assert "may read the watchlist" in (await checks.rights(bus, admin=False)).text


async def test_a_bus_that_lets_anybody_in_is_a_problem(server: Server, tmp_path: Path) -> None:
    assert (await checks.stranger(server.config("admin"))).level is Level.OK
    files = bus_server.prepare(tmp_path / "open")
    before, _, _ = files.config.read_text().partition("accounts:")
    files.config.write_text(before)
    process = bus_server.run(files, tmp_path / "open.log")
    try:
        async with Bus.connect(BusConfig(url=files.url, ca=files.ca), "test"):
            told = await checks.stranger(BusConfig(url=files.url, ca=files.ca))
    finally:
        process.kill()
        process.wait()
    assert (told.level, told.text) == (Level.PROBLEM, "the bus lets in anybody, without a key")


async def test_the_command_tells_all_it_finds_and_fails(
    bus: Bus, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with reached(server.files), pytest.raises(CommandError, match=r"\d+ of \d+ checks found a problem"):
        await aegis("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert {"problem  match: does not answer; read its log; on a cluster: kubectl logs deploy/match"} <= set(lines)
    assert "problem  site: its policy is not known; start the registry: it reads the site file" in lines
    with reached(server.files, "operator"), pytest.raises(CommandError):
        await aegis("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert "skipped  streams: only admin may look; give its key file with --as" in lines
    other = bus_server.prepare(tmp_path / "other")
    with reached(server.files), pytest.raises(CommandError, match="1 of 1"):
        await aegis("doctor", "--as", other.key("operator"))
    assert "problem  bus: it refuses this key" in capsys.readouterr().out
    with pytest.raises(CommandError, match="1 of 1"):
        await aegis("doctor", "--state", tmp_path / "none")
    assert "problem  bus: no system runs with the state directory" in capsys.readouterr().out


async def test_servers_of_a_cluster_that_are_away_are_named(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    with cluster.running(), reached(cluster.files[0]):
        await aegis("cluster", "declare", "--replicas", 3)
        async with cluster.connect() as bus:

            async def good() -> bool:
                return [finding.level for finding in await found(bus)] == [Level.OK]

            await until(good, "all servers are current")
            await bus.client.jetstream().update_stream(replace(topology.declared("DEAD"), num_replicas=1))
            assert "not all are kept on as many servers: 1 on 1, 18 on 3" in [one.text for one in await found(bus)]
            cluster.processes[2].kill()

            async def missed() -> bool:
                away = [finding for finding in await found(bus) if finding.check == "server nats-2"]
                return bool(away) and away[0].level is Level.PROBLEM and away[0].text.startswith("silent for ")

            await until(missed, "it is named", 30)
