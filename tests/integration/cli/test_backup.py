"""A backup of a real bus, and what comes back: every sequence, every reader's place, and nothing half."""

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from tests.bus import Server, until
from tests.integration.cli.conftest import Cluster, aegis, reached, served

from aegis.cli.backup import streams
from aegis.cli.backup.putting import Backup
from aegis.cli.backup.sealed_file import Writer, records
from aegis.cli.backup.streams import StreamError
from aegis.cli.errors import CommandError
from aegis.cli.state import site_key_file
from aegis.contracts import subjects
from aegis.runtime import sealing, topology
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, ConflictError, Msg
from aegis.runtime.consumers import read_all

ALERTS = [subjects.alert("north", "barred", f"entry{number}") for number in range(3)]
DURABLE = ConsumerConfig(durable_name="notify-email", ack_policy=AckPolicy.EXPLICIT, ack_wait=60)


async def fill(bus: Bus) -> dict[str, int]:
    """Write what a site may have; give the last sequence of each alert."""
    last: dict[str, int] = {}
    for number in range(30):
        subject = ALERTS[number % 3]
        last[subject] = await bus.store(
            subject, b"event %d" % number, message_id=f"id{number}", expected_last=last.get(subject, 0)
        )
    sealer = sealing.load(site_key_file())
    for name in ("watchlist", "photos", "cameras", "evidence", "votes"):
        bucket = Bucket(bus, name)
        for number in range(8):
            key, plain = f"key{number % 5}", os.urandom(50_000 if name == "photos" else 500)
            await bucket.put(key, sealer.seal(name, key, plain))
    await Bucket(bus, "watchlist").delete("key4")
    for number in range(6):
        await bus.store(subjects.delivery("email", f"alert{number}", "event", "to"), b"pending")
    await bus.client.jetstream().add_consumer(subjects.DELIVERIES, DURABLE)
    taken = await bus.client.jetstream().pull_subscribe_bind("notify-email", subjects.DELIVERIES)
    for message in await taken.fetch(4, timeout=5):
        await message.ack()
    await bus.flush()
    return last


async def everything(bus: Bus) -> dict[str, dict[str, object]]:
    found = {}
    for stream in streams.KEPT:
        info = await streams.info(bus, stream)
        assert info is not None
        last = info["state"]["last_seq"]
        found[stream] = asdict(await streams.content(bus, stream, last, await streams.places(bus, stream)))
    return found


async def test_what_comes_back_is_what_was_there(bus: Bus, server: Server, tmp_path: Path) -> None:
    chains, file = await fill(bus), tmp_path / "backup"
    before = await everything(bus)
    with reached(server.files):
        await aegis("backup", "--out", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"event" not in file.read_bytes()
    await aegis("restore", file, "--state", tmp_path / "new")
    with served(tmp_path / "new") as new:
        async with new.connect() as restored:
            assert await everything(restored) == before
            for subject, last in chains.items():
                with pytest.raises(ConflictError):
                    await restored.store(subject, b"stale", expected_last=last - 3)
                assert await restored.store(subject, b"next", expected_last=last) > 30
            assert await Bucket(restored, "watchlist").get("key4") is None
            entry = await Bucket(restored, "watchlist").get("key0")
            assert entry is not None
            await Bucket(restored, "watchlist").update("key0", b"anew", entry.revision)
            reader = await restored.client.jetstream().pull_subscribe_bind("notify-email", subjects.DELIVERIES)
            assert [message.metadata.sequence.stream for message in await reader.fetch(9, timeout=1)] == [5, 6]
            repeated = await restored.store(ALERTS[0], b"event 29", message_id="id29")
            assert repeated == 30


async def test_a_system_that_does_not_run_is_backed_up_from_its_state_directory(server: Server, tmp_path: Path) -> None:
    async with server.connect() as bus:
        await topology.declare(bus)
        await fill(bus)
        before = await everything(bus)
    await asyncio.to_thread(server.stop)
    (tmp_path / "site.yaml").write_text("site: {id: north}\n")
    await aegis(
        "backup", "--out", tmp_path / "backup", "--state", tmp_path / "state", "--config", tmp_path / "site.yaml"
    )
    written = tmp_path / "again.yaml"
    await aegis("restore", tmp_path / "backup", "--state", tmp_path / "new", "--site-file", written)
    assert written.read_text() == "site: {id: north}\n"
    with served(tmp_path / "new") as new:
        async with new.connect() as restored:
            assert await everything(restored) == before


async def refused(*words: object) -> str:
    with pytest.raises(CommandError) as error:
        await aegis(*words)
    return str(error.value)


async def test_nothing_is_restored_over_something_or_under_running_services(
    bus: Bus, server: Server, tmp_path: Path
) -> None:
    await fill(bus)
    file = tmp_path / "backup"
    with reached(server.files):
        await aegis("backup", "--out", file, "--no-verify")
        told = await refused("restore", file)
        assert told.startswith("there is something already: 30 messages in ALERTS, 6 messages in DELIVERIES")
        assert "5 messages in KV_watchlist" in told
    with served(tmp_path / "other") as other, reached(other.files):
        async with other.connect() as elsewhere:

            async def answer(_: Msg) -> bytes:
                return b'{"service": "match", "replica": "1"}'

            running = await elsewhere.serve(subjects.STATUS, answer)
            assert (await refused("restore", file, "--replicas", 1)).startswith("services are running: match 1; stop")
            await running.unsubscribe()
            await elsewhere.flush()
            await aegis("restore", file, "--replicas", 1)
            assert await everything(elsewhere) == await everything(bus)


async def test_nothing_is_sealed_with_a_key_that_is_not_the_systems(
    bus: Bus, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, file = tmp_path / "config" / "aegis" / "site.key", tmp_path / "backup"
    sealing.load_or_create(other)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with reached(server.files):
        await aegis("backup", "--out", file, "--no-verify")  # nothing is sealed yet
        await fill(bus)
        earlier = file.read_bytes()
        monkeypatch.setenv("AEGIS_SITE_KEY_FILE", str(other))
        assert (await refused("backup", "--out", file)).startswith(f"{other} is not this system's site key")
        monkeypatch.delenv("AEGIS_SITE_KEY_FILE")
        assert "in AEGIS_SITE_KEY_FILE" in await refused("backup", "--out", file)
    await asyncio.to_thread(server.stop)
    told = await refused("backup", "--out", file, "--state", tmp_path / "state")
    assert told.startswith(f"{other} is not this system's site key")
    assert file.read_bytes() == earlier


async def test_a_key_that_may_not_read_the_streams_is_told_which_one_may(
    bus: Bus, server: Server, tmp_path: Path
) -> None:
    with reached(server.files, "operator"):
        told = await refused("backup", "--out", tmp_path / "backup")
    assert told.startswith("this key may not read the streams: a backup needs that of admin, by AEGIS_KEY_FILE")
    with reached(server.files):
        await bus.client.jetstream().delete_stream("KV_votes")
        assert (await refused("backup", "--out", tmp_path / "backup")).startswith("there is no stream KV_votes")
    assert {path.name for path in tmp_path.iterdir()} == {"site.key", "state"}


@pytest.mark.usefixtures("bus")
async def test_a_bus_that_stops_answering_is_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered(_: Bus, stream: str) -> None:
        raise StreamError(f"STREAM.INFO.{stream}: nats: timeout")

    monkeypatch.setattr(streams, "info", unanswered)
    with reached(server.files):
        told = await refused("backup", "--out", tmp_path / "backup")
    assert told.startswith("the bus does not give the backup: STREAM.INFO.")


async def test_a_backup_that_cannot_be_used_changes_nothing(
    bus: Bus, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(bus)
    file, new = tmp_path / "backup", tmp_path / "new"
    with reached(server.files):
        await aegis("backup", "--out", file, "--no-verify")
    assert "there is no site file in this backup" in await refused("restore", file, "--site-file", tmp_path / "x.yaml")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    assert "is damaged" in await refused("restore", tmp_path / "damaged", "--state", new)
    (tmp_path / "short").write_bytes(file.read_bytes()[:-1])
    assert "was cut off" in await refused("restore", tmp_path / "short", "--state", new)
    other = tmp_path / "other.key"
    sealing.load_or_create(other)
    monkeypatch.setenv("AEGIS_SITE_KEY_FILE", str(other))
    assert "another site key" in await refused("restore", file, "--state", new)
    assert not new.exists()


async def test_a_backup_that_is_not_what_it_says_is_found_and_taken_back(
    bus: Bus, server: Server, tmp_path: Path, site_key: Path
) -> None:
    await fill(bus)
    file, sealer = tmp_path / "backup", sealing.load(site_key)
    with reached(server.files):
        await aegis("backup", "--out", file, "--no-verify")
    await aegis("backup", "verify", file)
    *kept, manifest = records(file, sealer)
    claims = {
        "the messages are not the same": manifest.replace(b'"digests": {"0": "', b'"digests": {"0": "0', 1),
        "the place of notify-email in it is lost": manifest.replace(b'"notify-email": 4', b'"notify-email": 6'),
        "1 messages miss": manifest.replace(b'"messages": 6', b'"messages": 7'),
    }
    for number, (problem, claim) in enumerate(claims.items()):
        assert claim != manifest
        writer = Writer(tmp_path / f"false{number}", sealer)
        for record in kept:
            writer.add(record)
        writer.add(claim, last=True)
        writer.finish()
        assert problem in await refused("backup", "verify", tmp_path / f"false{number}")
    new = tmp_path / "new"
    assert "is not as it was when the backup was taken" in await refused("restore", tmp_path / "false0", "--state", new)
    await aegis("restore", file, "--state", new)


async def test_what_the_registry_writes_belongs_together_although_it_writes_meanwhile(
    bus: Bus, server: Server, tmp_path: Path, site_key: Path
) -> None:
    watchlist, photos, sealer = Bucket(bus, "watchlist"), Bucket(bus, "photos"), sealing.load(site_key)

    async def enrol(number: int) -> None:
        await photos.put(f"photo{number}", os.urandom(2000))
        await watchlist.put(f"entry{number}", sealer.seal("watchlist", f"entry{number}", f"photo{number}".encode()))

    enough = asyncio.Event()

    async def change() -> None:
        for number in itertools.count():
            if enough.is_set():
                return
            await enrol(number)
            if number % 3 == 0:
                await watchlist.delete(f"entry{number}")
                await photos.delete(f"photo{number}")

    async def alerts() -> None:
        for number in itertools.count():
            if enough.is_set() and number > 1000:
                return
            await bus.store(ALERTS[number % 3], b"seen")
            picture = sealer.seal("evidence", f"alert{number}", b"picture")
            await Bucket(bus, "evidence").put(f"alert{number}", picture)

    with reached(server.files):
        changing, seeing = asyncio.create_task(change()), asyncio.create_task(alerts())
        told = await refused("backup", "--out", tmp_path / "backup")
        assert told.startswith("the registry's buckets could not be taken in 5 tries: "), told
        assert {path.name for path in tmp_path.iterdir()} == {"site.key", "state"}
        taking = asyncio.create_task(aegis("backup", "--out", tmp_path / "backup"))
        await until(lambda: any(path.suffix == ".part" for path in tmp_path.iterdir()), "it began")
        enough.set()
        await asyncio.gather(taking, changing, seeing)
    contents = Backup(tmp_path / "backup", sealing.load(site_key)).contents
    assert contents["ALERTS"].messages > 100
    await aegis("restore", tmp_path / "backup", "--state", tmp_path / "new")
    with served(tmp_path / "new") as new:
        async with new.connect() as restored:
            listed = [message async for message in read_all(restored, "KV_watchlist", "$KV.watchlist.>", "test")]
            kept = [(m.subject.removeprefix("$KV.watchlist."), m.data) for m in listed if m.data]
            assert kept
            for photo in (sealer.open("watchlist", *one).decode() for one in kept):
                assert await Bucket(restored, "photos").get(photo) is not None, photo


async def test_integrators_who_listen_hear_new_alerts_and_not_a_month_of_old_ones(
    bus: Bus, server: Server, tmp_path: Path
) -> None:
    await fill(bus)
    with reached(server.files):
        await aegis("backup", "--out", tmp_path / "backup", "--no-verify")
    with served(tmp_path / "other") as other, reached(other.files):
        async with other.connect() as admin, other.connect("integrator") as integrator:
            heard: list[bytes] = []

            async def hear(message: Msg) -> None:
                heard.append(message.data)

            await integrator.subscribe(f"{subjects.PREFIX}.alert.>", hear)
            await aegis("restore", tmp_path / "backup", "--replicas", 1)
            await admin.store(ALERTS[0], b"new")
            await until(lambda: bool(heard), "the new alert is heard")
            assert heard == [b"new"]
            copied = [m.data async for m in read_all(integrator, "ALERTS", f"{subjects.PREFIX}.alert.>", "test")]
            assert len(copied) == 31


def test_a_full_disk_is_told_and_leaves_the_earlier_backup(tmp_path: Path) -> None:
    async def take() -> None:
        with served(tmp_path / "state") as server:
            async with server.connect() as bus:
                await topology.declare(bus)
                await fill(bus)
            await asyncio.to_thread(command, server)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    def command(server: Server) -> None:
        with reached(server.files):
            done = subprocess.run(
                [Path(sys.executable).with_name("aegis"), "backup", "--out", file],
                capture_output=True, text=True, check=False, preexec_fn=small_disk,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"aegis: backup {file}: File too large"

    file = tmp_path / "backups" / "today"
    file.parent.mkdir()
    file.write_bytes(b"the earlier one")
    asyncio.run(take())
    assert [path.name for path in file.parent.iterdir()] == ["today"]
    assert file.read_bytes() == b"the earlier one"


@contextlib.asynccontextmanager
async def agreed(cluster: Cluster) -> AsyncIterator[Bus]:
    """Connect once three servers have a leader."""
    with cluster.running(), reached(cluster.files[1]):
        async with cluster.connect() as bus:

            async def led() -> bool:
                with contextlib.suppress(StreamError):
                    return "error" not in await streams.api(bus, "INFO", patience=1)
                return False

            await until(led, "a leader", 30)
            yield bus


async def test_three_servers_give_a_backup_and_take_it(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    async with agreed(Cluster(tmp_path / "one")) as bus:
        await aegis("cluster", "declare", "--replicas", 3)
        await fill(bus)
        before = await everything(bus)
        await aegis("backup", "--out", file)
    async with agreed(Cluster(tmp_path / "two")) as bus:
        await aegis("restore", file)
        assert await everything(bus) == before
        for stream in streams.KEPT:
            info = await streams.info(bus, stream)
            assert info is not None
            assert info["config"]["num_replicas"] == 3
