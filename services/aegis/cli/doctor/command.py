"""``aegis doctor``: look at everything, one line a check, and say what to do."""

import argparse
import asyncio
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nats.errors

from aegis.cli.doctor import bus as bus_checks
from aegis.cli.doctor import services
from aegis.cli.doctor.findings import Finding, Level, problem, skipped
from aegis.cli.errors import CommandError
from aegis.cli.requests import ask, connected
from aegis.cli.state import State
from aegis.contracts import codec
from aegis.contracts.messages import ListAll, SiteRecord
from aegis.runtime import policy, status
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus, BusUnavailableError

WATCH_SECONDS = 1.5
"""Pictures of every camera that delivers come within this time."""
ADMINS = "only admin may look; give its key file with --as"


def add_parsers(commands: Any, *parents: argparse.ArgumentParser) -> None:  # noqa: ANN401 - argparse's own is private
    """Describe the command."""
    commands.add_parser("doctor", parents=parents, help="look for what is wrong, and say what to do")


async def doctor(arguments: argparse.Namespace) -> None:
    """``aegis doctor``.

    Raises:
        CommandError: there is a problem.

    """
    findings = []
    async for finding in _looked(arguments):
        findings.append(finding)
        if not arguments.json:
            print(finding.line(), flush=True)
    if arguments.json:
        print(json.dumps([{**asdict(finding), "level": finding.level.value} for finding in findings], indent=2))
    counted = Counter(finding.level for finding in findings)
    if problems := counted[Level.PROBLEM]:
        raise CommandError(f"{problems} of {len(findings)} checks found a problem")


async def _looked(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    state = State(arguments.state)
    embedded = "AEGIS_BUS_URL" not in os.environ
    admins = state.bus_directory / "keys" / "admin.nk"
    if embedded and arguments.key is None and os.access(admins, os.R_OK):
        arguments.key = admins
    try:
        async with connected(arguments) as bus:
            async for finding in _bus(bus, state.directory if embedded else None):
                yield finding
            async for finding in _services(bus):
                yield finding
    except CommandError as error:
        yield problem("bus", str(error))
    except nats.errors.Error as error:
        yield problem("bus", f"it refuses this key: {error}", "give one of this system's with --as")


async def _bus(bus: Bus, directory: Path | None) -> AsyncIterator[Finding]:
    yield bus_checks.version(bus, bus_checks.pinned())
    yield bus_checks.certificate(bus)
    yield await bus_checks.stranger(bus.config)
    admin = await bus_checks.may_everything(bus)
    yield await bus_checks.rights(bus, admin=admin)
    if not admin:
        for check in ("streams", "clock here", "room", "dead letters"):
            yield skipped(check, ADMINS)
        return
    async for finding in bus_checks.streams(bus):
        yield finding
    yield await bus_checks.clock(bus)
    yield await bus_checks.room(bus, directory)
    yield await bus_checks.dead_letters(bus)


async def _services(bus: Bus) -> AsyncIterator[Finding]:
    before = await status.collect(bus, wait=1.0)
    for finding in services.present(before):
        yield finding
    site = await _site(bus)
    for finding in services.site_state(site):
        yield finding
    if not before:
        return
    listed, users = await _registered(bus)
    await asyncio.sleep(WATCH_SECONDS)
    now = await status.collect(bus, wait=1.0)
    yield services.versions(now, await asyncio.to_thread(importlib.metadata.version, "aegis-watch"))
    for found in (
        services.clocks(now),
        services.certificates(now),
        services.model_files(now),
        services.providers(now),
        services.cameras(listed, before, now, site) if listed is not None else (),
        services.telling(now, site),
    ):
        for finding in found:
            yield finding
    yield services.late(now)
    if users is not None:
        yield services.reviewers(users)


async def _site(bus: Bus) -> SiteRecord | None:
    try:
        entry = await Bucket(bus, policy.BUCKET).get(policy.SITE)
    except BusUnavailableError:
        return None
    return codec.decode(SiteRecord, entry.value) if entry else None


async def _registered(bus: Bus) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]] | None]:
    """Ask the registry for cameras and users; None where it does not answer, which was told already."""
    try:
        return await ask(bus, "camera-list", ListAll()), await ask(bus, "user-list", ListAll())
    except CommandError:
        return None, None
