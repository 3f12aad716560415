"""``aegis backup`` and ``aegis restore``."""

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.errors

from aegis.cli.backup import copies, streams
from aegis.cli.backup.putting import Backup, own_bus, verify
from aegis.cli.backup.sealed_file import Writer
from aegis.cli.backup.streams import StreamError
from aegis.cli.backup.taking import Taking
from aegis.cli.errors import CommandError
from aegis.cli.requests import connected
from aegis.cli.state import State, site_key_file
from aegis.cli.up import only_one
from aegis.runtime import sealing, status, topology
from aegis.runtime.bus import Bus
from aegis.runtime.consumers import read_all
from aegis.runtime.progress import megabytes, progress_bar
from aegis.runtime.sealing import Sealer, SealError

STATUS_SECONDS = 1.0
ANSWER_SECONDS = 5.0
DECLARE_SECONDS = 60.0
AGREED_SECONDS = 300.0
"""How long the servers of a cluster may take to copy it all from each other."""
SEALED = ("watchlist", "cameras", "users", "cohort", "evidence")
"""Buckets whose values show which site key is the system's; photos are of entries of the watchlist, and large."""


def add_parsers(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    """Describe the commands."""
    take = commands.add_parser("backup", parents=[common], help="write all that is kept into one sealed file")
    take.add_argument("--out", type=Path, metavar="FILE", help="the file to write; one that is there is replaced")
    take.add_argument(
        "--config", type=Path, metavar="SITE.YAML", help="a site file to put in; else the running system's"
    )
    take.add_argument("--no-verify", action="store_true", help="do not try whether it can be restored")
    actions = take.add_subparsers(dest="action", metavar="verify")
    check = actions.add_parser("verify", parents=[common], help="restore a backup into a bus that is thrown away")
    check.add_argument("file", type=Path, metavar="FILE", help="the backup")
    back = commands.add_parser("restore", parents=[common], help="bring a backup into an empty system")
    back.add_argument("file", type=Path, metavar="FILE", help="the backup")
    back.add_argument("--replicas", type=int, choices=(1, 3, 5), help="servers that keep each: 3 by AEGIS_BUS_URL")
    back.add_argument("--site-file", type=Path, metavar="FILE", help="where to write the site file that is in it")


async def backup(arguments: argparse.Namespace) -> None:
    """``aegis backup --out FILE`` and ``aegis backup verify FILE``."""
    if arguments.action == "verify":
        found = Backup(arguments.file, _sealer())
        await verify(found, progress_bar(sys.stderr))
        print(f"{arguments.file} can be restored: {_described(found.manifest)}")
        return
    if arguments.out is None:
        raise CommandError("name the file to write with --out", 2)
    if "AEGIS_BUS_URL" in os.environ and not os.environ.get("AEGIS_SITE_KEY_FILE"):
        raise CommandError("name the site key of the system at AEGIS_BUS_URL in AEGIS_SITE_KEY_FILE", 2)
    sealer = _sealer()
    site_file = _site_file(arguments)
    began = time.monotonic()
    try:
        writer = Writer(arguments.out, sealer)
        try:
            async with _bus(arguments) as bus:
                await _check_rights(bus)
                await _check_key(bus, sealer)
                manifest = await Taking(bus, writer, progress_bar(sys.stderr)).run(site_file)
            if not arguments.no_verify:
                await verify(Backup(writer.temporary, sealer), progress_bar(sys.stderr))
            size = writer.finish()
        finally:
            writer.discard()
    except StreamError as error:
        raise CommandError(f"the bus does not give the backup: {error}") from None
    except OSError as error:
        raise CommandError(f"backup {arguments.out}: {error.strerror}") from None
    verified = "not verified" if arguments.no_verify else "verified by restoring it"
    print(f"{arguments.out}: {megabytes(size)} in {time.monotonic() - began:.1f} s, {verified}: {_described(manifest)}")
    print("It opens with the site key alone, which is not in it: keep that apart.")


async def restore(arguments: argparse.Namespace) -> None:
    """``aegis restore FILE``."""
    found = Backup(arguments.file, _sealer())
    if arguments.site_file is not None:
        _check_site_file(found, arguments.site_file)
    began = time.monotonic()
    replicas = arguments.replicas or (3 if "AEGIS_BUS_URL" in os.environ else 1)
    async with _empty_bus(arguments) as bus:
        try:
            await found.put(bus, "restoring the backup", progress_bar(sys.stderr))
            await copies.fill(bus)
        except StreamError as error:
            await _empty(bus)
            raise CommandError(f"the bus does not take the backup: {error}") from None
        except BaseException:  # also where somebody interrupts it: half a system looks like a whole one
            await _empty(bus)
            raise
        await _declare(bus, replicas)
        if behind := await streams.everywhere(bus, streams.KEPT, replicas, AGREED_SECONDS):
            raise CommandError(f"restored, but not on {replicas} servers: {', '.join(behind)}; see: aegis doctor")
    if arguments.site_file is not None and found.site_file is not None:
        arguments.site_file.write_bytes(found.site_file)
    print(f"restored in {time.monotonic() - began:.1f} s: {_described(found.manifest)}")
    day = _day(found.manifest["began"])
    print(f"Who was removed from the watchlist since {day} is on it again: remove them again.")
    print("Who was added since is not on it, nor are alerts and reviews since.")


async def _declare(bus: Bus, replicas: int) -> None:
    """Bring all streams to what this version declares; servers that elect a leader meanwhile do not answer at first."""
    deadline = time.monotonic() + DECLARE_SECONDS
    while True:
        try:
            return await topology.declare(bus, replicas)
        except nats.errors.Error as error:
            if time.monotonic() > deadline:
                raise CommandError(f"restored, but not declared: {error}; run: aegis cluster declare") from None
            await asyncio.sleep(1.0)


def _sealer() -> Sealer:
    try:
        return sealing.load(site_key_file())
    except SealError as error:
        raise CommandError(str(error), 2) from None


async def _check_rights(bus: Bus) -> None:
    """See that the key may ask for streams: what it may not ask is answered by nobody.

    Raises:
        CommandError: it may not.
        StreamError: nobody answers for another reason.

    """
    try:
        await streams.api(bus, "INFO", patience=ANSWER_SECONDS)
    except StreamError:
        if "permissions violation" not in str(bus.client.last_error).lower():
            raise
        text = "this key may not read the streams: a backup needs that of admin, by AEGIS_KEY_FILE or --as"
        raise CommandError(text) from None


async def _check_key(bus: Bus, sealer: Sealer) -> None:
    """See that the key opens something of what is sealed, if anything is: restored without its key, it is lost.

    Raises:
        CommandError: it opens nothing.

    """
    closed = ""
    for bucket in SEALED:
        sealed = await _first(bus, bucket)
        if sealed is None:
            continue
        try:
            sealer.open(bucket, *sealed)
        except SealError:
            closed = closed or bucket
        else:
            return
    if closed:
        raise CommandError(
            f"{site_key_file()} is not this system's site key: it does not open the {closed}, and nobody could restore"
            " the backup; give the right AEGIS_SITE_KEY_FILE",
            2,
        )


async def _first(bus: Bus, bucket: str) -> tuple[str, bytes] | None:
    """Give the oldest key of a bucket with its value, or None where there is none."""
    prefix = f"$KV.{bucket}."
    async with contextlib.aclosing(read_all(bus, f"KV_{bucket}", f"{prefix}>", "backup-key")) as reading:
        async for message in reading:
            if message.data:
                return message.subject.removeprefix(prefix), message.data
    return None


def _site_file(arguments: argparse.Namespace) -> bytes | None:
    """Read the site file that was named, or that of the running system; none where neither is known."""
    path = arguments.config
    if path is None and "AEGIS_BUS_URL" not in os.environ:
        with contextlib.suppress(CommandError):
            path = Path(State(arguments.state).running().site_file)
    if path is None:
        return None
    try:
        return bytes(path.read_bytes())
    except OSError as error:
        raise CommandError(f"site file {path}: {error.strerror}") from None


def _check_site_file(found: Backup, path: Path) -> None:
    if found.site_file is None:
        raise CommandError(f"there is no site file in this backup; leave out --site-file {path}")
    if path.exists():
        raise CommandError(f"{path} is there already; name another file with --site-file")
    if not os.access(path.parent, os.W_OK):
        raise CommandError(f"{path} cannot be written; name another file with --site-file")


@contextlib.asynccontextmanager
async def _bus(arguments: argparse.Namespace) -> AsyncIterator[Bus]:
    """Connect as ``admin`` to the running system, or start the bus of one that does not run."""
    state = State(arguments.state)
    if "AEGIS_BUS_URL" in os.environ or not (state.bus_directory / "jetstream").is_dir() or _runs(state):
        async with connected(arguments, "admin") as bus:
            yield bus
        return
    with only_one(state):
        async with own_bus(state.bus_directory) as bus:
            yield bus


def _runs(state: State) -> bool:
    """Say whether a system holds the state directory; one that was killed may have left its ``running.json``."""
    try:
        with only_one(state):
            return False
    except CommandError:
        return True


@contextlib.asynccontextmanager
async def _empty_bus(arguments: argparse.Namespace) -> AsyncIterator[Bus]:
    """Give the bus to restore to: the cluster's, or that of a state directory in which nothing runs.

    Raises:
        CommandError: services run, or something is there already.

    """
    if "AEGIS_BUS_URL" in os.environ:
        async with connected(arguments, "admin") as bus:
            await _check_empty(bus)
            yield bus
        return
    if arguments.replicas not in (None, 1):
        raise CommandError("a bus on one machine keeps one replica; leave out --replicas", 2)
    state = State(arguments.state)
    state.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(state):
        async with own_bus(state.bus_directory) as bus:
            await _check_empty(bus)
            yield bus


async def _check_empty(bus: Bus) -> None:
    """See that nothing runs and nothing is there, and make room for the streams."""
    if answers := await status.collect(bus, wait=STATUS_SECONDS):
        who = ", ".join(f"{answer['service']} {answer['replica']}" for answer in answers)
        raise CommandError(f"services are running: {who}; stop all of them before you restore")
    try:
        infos = {stream: info for stream in streams.KEPT if (info := await streams.info(bus, stream))}
    except StreamError as error:
        raise CommandError(f"the bus does not take the backup: {error}") from None
    full = {stream: info["state"]["messages"] for stream, info in infos.items() if info["state"]["messages"]}
    if full:
        there = ", ".join(f"{messages} messages in {stream}" for stream, messages in full.items())
        raise CommandError(f"there is something already: {there}; restore into an empty system")
    await _empty(bus)


async def _empty(bus: Bus) -> None:
    """Remove the streams that a backup holds, which were empty before it."""
    for stream in streams.KEPT:
        with contextlib.suppress(StreamError):
            await streams.api(bus, f"STREAM.DELETE.{stream}")


def _described(manifest: dict[str, Any]) -> str:
    site, held = manifest["site"], manifest["streams"]
    name = f"{site['name']} ({site['id']}), {site['state']}, " if site else ""
    messages = sum(content["messages"] for content in held.values())
    return f"{name}as it was on {_day(manifest['began'])}, {messages} messages of {len(held)} streams"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
