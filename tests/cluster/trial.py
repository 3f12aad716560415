"""One fault: when it was noticed, when all was well again, and what was seen of the visits meanwhile."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.faults import Fault
from tests.cluster.servers import NAMES
from tests.cluster.watch import HOPS, LEASED, Watch

from aegis.cli.errors import CommandError
from aegis.cli.requests import ask
from aegis.contracts.messages import ListAll
from aegis.runtime.bus import Bus

NORMAL_GAP = 3.0
"""Something of each camera passes each hop more often than this, in seconds, while nothing is wrong."""
NORMAL_DELIVERY = 3.0
"""An alert is delivered within so many seconds of when it was told."""
NORMAL_ALERT = 4.0
"""A visit is told within so many seconds of its beginning."""
CALM_SECONDS = 90.0
POLL = 0.25


@dataclass(slots=True)
class Trial:
    """What came of one fault. Times are seconds since it struck; None means never."""

    fault: str
    victims: str
    hit: list[str]
    started: float
    nobody_left: bool
    """Nobody could take over before it was healed."""
    healed: float = 0.0
    noticed: float | None = None
    recovered: float = 0.0
    """When frames of every camera were searched and matched again, alerts delivered and requests answered."""
    interrupted: dict[str, float] = field(default_factory=dict)
    """The longest silence of any camera by hop, of deliveries and of the registry, if it was above normal."""
    calm: float = 0.0
    """When every process was well again, too."""
    visits: int = 0
    told: int = 0
    idle: float = 0.0
    """Share of the machine's CPU time that nobody used: with none left, want of it is what is seen."""


class Registry:
    """Asks the registry again and again, as people do."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.answered: list[float] = [time.time()]

    async def run(self) -> None:
        while True:
            with contextlib.suppress(CommandError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await ask(self._bus, "camera-list", ListAll())
                self.answered.append(time.time())
            await asyncio.sleep(0.5)


async def calm(cluster: Cluster, watch: Watch, registry: Registry) -> bool:
    """Tell whether all is well: processes ready, every camera through every hop, leases even, requests answered."""
    shares = [watch.spread(kind) for kind in LEASED]
    even = all(sum(s.values()) == len(cluster.scenes) and max(s.values()) - min(s.values()) <= 1 for s in shares if s)
    alive = all(set(share) <= set(cluster.replicas) and len(share) > 1 for share in shares)
    flowing = watch.flowing(cluster.scenes, NORMAL_GAP) and time.time() - registry.answered[-1] < NORMAL_GAP
    return even and alive and flowing and await cluster.ready(cluster.replicas) and await cluster.servers.healthy()


async def until_calm(cluster: Cluster, watch: Watch, registry: Registry) -> float:
    """Wait until all is well, and give when; or infinity if it does not become so."""
    deadline = time.time() + CALM_SECONDS
    while time.time() < deadline:
        if await calm(cluster, watch, registry):
            return time.time()
        await asyncio.sleep(POLL)
    return float("inf")


async def run(fault: Fault, cluster: Cluster, watch: Watch, registry: Registry, chance: random.Random) -> Trial:
    """Have a fault strike while all is well, and wait until all is well again."""
    hit = await fault.choose(cluster, chance)
    keys = {key for name in hit for key in watch.held(name)}
    busy = _cpu()
    trial = Trial(fault.name, fault.victims, hit, time.time(), fault.all_of_them)
    noticing = asyncio.create_task(_noticed(trial, cluster, watch, keys))
    await fault.hurt(cluster, hit, chance)
    await asyncio.sleep(max(0.0, trial.started + fault.lasts - time.time()))
    await fault.heal(cluster, hit, chance)
    trial.healed = time.time() - trial.started
    trial.calm = await until_calm(cluster, watch, registry) - trial.started
    noticing.cancel()
    trial.idle = _idle(busy, _cpu())
    _judge(trial, cluster, watch, registry)
    return trial


async def _noticed(trial: Trial, cluster: Cluster, watch: Watch, keys: set[str]) -> None:
    """Note when others had taken over: all leases of whom it hit, or what a server led; or knew that it was gone."""
    servers = [name for name in trial.hit if name in NAMES]
    others = [name for name in NAMES if name not in servers]
    while keys or servers:
        if keys:
            moved = {key for at, key, owner in watch.taken if at > trial.started and owner not in ("", *trial.hit)}
            done = keys <= moved
        else:
            done = await _left(cluster, others, servers)
        if done:
            trial.noticed = time.time() - trial.started
            return
        await asyncio.sleep(POLL / 2)


async def _left(cluster: Cluster, others: list[str], gone: list[str]) -> bool:
    for name in others:
        streams = await cluster.servers.streams(name)
        led = [cluster for cluster in streams.values() if cluster.get("leader") == name]
        if not led or any(cluster.get("leader") in (*gone, "", None) for cluster in streams.values()):
            return False
        followers = [peer for cluster in led for peer in cluster.get("replicas", ()) if peer["name"] in gone]
        if any(peer.get("current") and not peer.get("offline") for peer in followers):
            return False
    return True


def _judge(trial: Trial, cluster: Cluster, watch: Watch, registry: Registry) -> None:
    end = min(trial.started + trial.calm, time.time())
    for hop in HOPS:
        for camera in cluster.scenes:
            _silence(trial, hop, watch.times(hop, camera), NORMAL_GAP, end)
    _silence(trial, "registry", registry.answered, NORMAL_GAP, end)
    arrived = {request.headers["webhook-id"]: request.at for request in reversed(cluster.hook.taken)}
    for told in watch.raised():
        delivered = min(told.delivered_at(arrived), end)
        if trial.started - NORMAL_DELIVERY < told.at < end and delivered - told.at > NORMAL_DELIVERY:
            trial.interrupted["deliveries"] = max(trial.interrupted.get("deliveries", 0.0), delivered - told.at)
            trial.recovered = max(trial.recovered, delivered - trial.started)
    for camera, begins in visits(cluster, trial.started - 1.0, end - NORMAL_ALERT):
        trial.visits += 1
        trial.told += was_told(watch, cluster, camera, begins, cluster.scenes[camera].visit + NORMAL_ALERT)


def _silence(trial: Trial, what: str, times: list[float], normal: float, end: float) -> None:
    """Note the silences that overlap the trial and are longer than normal."""
    for before, after in zip(times, [*times[1:], end], strict=True):
        if after > trial.started and before < end and after - before > normal:
            trial.interrupted[what] = max(trial.interrupted.get(what, 0.0), after - before)
            trial.recovered = max(trial.recovered, after - trial.started)


def visits(cluster: Cluster, since: float, until: float) -> list[tuple[str, float]]:
    """Give the visits that began between two times: which camera, and when."""
    return [(camera, at) for camera, scene in cluster.scenes.items() for at in scene.visits(since, until)]


def was_told(watch: Watch, cluster: Cluster, camera: str, begins: float, within: float) -> bool:
    """Tell whether an alert was raised of a visit, by a picture of its first seconds."""
    return any(
        told.sighting.person == camera and begins - 1.0 <= told.sighting.captured_at < begins + within
        for told in watch.raised()
    )


def _cpu() -> tuple[int, int]:
    """Give the machine's idle time and all of it since it started, in ticks."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return numbers[3] + numbers[4], sum(numbers)


def _idle(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(1, after[1] - before[1])
