"""What can go wrong in a cluster, as data: whom it hits, what is done to them, for how long, and how it is undone."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.bus import until
from tests.cluster.cluster import SERVICES, START_SECONDS, Cluster
from tests.cluster.servers import NAMES

from aegis.contracts import subjects

Choose = Callable[[Cluster, random.Random], Awaitable[list[str]]]
Act = Callable[[Cluster, list[str], random.Random], Awaitable[None]]

AWAY = 15.0
"""A node is lost for so long: longer than a lease, so the others must do without."""
SHORT, LONG = 3.0, 13.0
"""Pauses of less and of more than a lease."""
STEADY = 10.0
"""How long a new replica is ready before an old one goes, as the Deployments have it."""
DELAY, JITTER, LOSS = 0.15, 0.05, 0.03


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, for ``lasts`` seconds."""

    name: str
    victims: str
    choose: Choose
    hurt: Act
    heal: Act
    lasts: float
    all_of_them: bool = False
    """Nobody is left to take over, so the time for it counts from when it is healed."""


def service(name: str, *, both: bool = False) -> Choose:
    """Choose one replica of a service, or both."""

    async def choose(cluster: Cluster, chance: random.Random) -> list[str]:
        names = sorted(cluster.of(name))
        return names if both else [chance.choice(names)]

    return choose


def leader(stream: str) -> Choose:
    async def choose(cluster: Cluster, _: random.Random) -> list[str]:
        return [await cluster.servers.leader(stream)]

    return choose


def follower(stream: str) -> Choose:
    async def choose(cluster: Cluster, chance: random.Random) -> list[str]:
        leads = await cluster.servers.leader(stream)
        return [chance.choice([name for name in NAMES if name != leads])]

    return choose


async def _two_servers(_: Cluster, chance: random.Random) -> list[str]:
    return sorted(chance.sample(NAMES, 2))


async def _kill(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.kill(name)


async def _restart(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.restart(name)


async def _pause(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.send(name, signal.SIGSTOP)


async def _resume(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.send(name, signal.SIGCONT)


async def _cut(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.network.cut(name)


async def _cut_routes(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.network.cut_between(name, [other for other in NAMES if other != name])


async def _slow(cluster: Cluster, names: list[str], chance: random.Random) -> None:
    for name in names:
        cluster.network.slow(name, DELAY, JITTER, LOSS, chance.randrange(2**31))


async def _mend(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        cluster.network.mend(name)


async def _nothing(*_: object) -> None:
    """All that is to be done was done."""


async def _roll(cluster: Cluster, names: list[str], _: random.Random) -> None:
    """Replace replicas as a Deployment does: one more first, and one less once that is steady."""
    for name in names:
        await roll_one(cluster, name, STEADY)


async def roll_one(cluster: Cluster, name: str, steady: float) -> None:
    """Start another replica in the place of one, and end that one when the other was ready for so long."""
    new = cluster.start_spare(cluster.replicas[name].service)
    await until(lambda: cluster.ready([new]), f"{new} is ready", START_SECONDS)
    await asyncio.sleep(steady)  # a time that the Deployment's minReadySeconds gives, not a condition
    assert await cluster.ready([new]), new
    code = await cluster.leave(name)
    assert code == 0, f"{name} ended with {code} instead of 0"


async def _roll_server(cluster: Cluster, names: list[str], _: random.Random) -> None:
    for name in names:
        await asyncio.to_thread(cluster.servers.lame_duck, name)
        cluster.servers.start(name)
        await until(cluster.servers.healthy, f"{name} has caught up", START_SECONDS)


def _kinds(victims: str, choose: Choose, *, all_of_them: bool = False) -> list[Fault]:
    """Give all that can befall a process that others can stand in for, or that all of its kind suffer at once."""
    cases: list[tuple[str, Act, Act, float]] = [("kill", _kill, _restart, AWAY if not all_of_them else SHORT)]
    if not all_of_them:
        cases += [
            ("pause for 3 s", _pause, _resume, SHORT),
            ("pause for 13 s", _pause, _resume, LONG),
            ("cut off", _cut, _mend, AWAY),
            ("slow down", _slow, _mend, AWAY),
        ]
    return [Fault(name, victims, choose, hurt, heal, lasts, all_of_them) for name, hurt, heal, lasts in cases]


def all_faults() -> list[Fault]:
    """Give every fault of the hour."""
    found: list[Fault] = []
    for name in SERVICES:
        found += _kinds(f"one {name}", service(name))
        found += _kinds(f"both {name}", service(name, both=True), all_of_them=True)
        found.append(Fault("roll", f"both {name}", service(name, both=True), _roll, _nothing, 0.0))
    found += _kinds("the leader of ALERTS", leader(subjects.ALERTS))
    found += _kinds("a follower of ALERTS", follower(subjects.ALERTS))
    for stream in ("KV_leases", subjects.FACES, subjects.VECTORS):
        found.append(Fault("kill", f"the leader of {stream}", leader(stream), _kill, _restart, AWAY))
    found += [
        Fault("cut from the servers", "the leader of ALERTS", leader(subjects.ALERTS), _cut_routes, _mend, AWAY),
        Fault("kill", "two servers", _two_servers, _kill, _restart, SHORT, all_of_them=True),
        Fault("lame duck", "the leader of ALERTS", leader(subjects.ALERTS), _roll_server, _nothing, 0.0),
    ]
    return found


def named(name: str, victims: str) -> Fault:
    """Give one of the faults."""
    return next(fault for fault in all_faults() if (fault.name, fault.victims) == (name, victims))
