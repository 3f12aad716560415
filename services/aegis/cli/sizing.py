"""What so many cameras need, from what a few were measured to need: pure arithmetic.

A service's CPU is what it uses without any camera, and what each camera adds: something for being watched, and more
for the share of the time in which somebody is in view. Two measured scenes, one quiet and one busy, give the latter two
by a straight line; ``benchmarks/unit_costs.py`` measures them, and a third one that the line must foretell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

MEASURED_FPS = 5.0
FILLED = 0.6
"""How much of a replica's core is planned for; the rest is for moments in which more happens than usual."""
DAYS = 30.0
"""How long alerts and their pictures are kept."""
CLUSTER = 3
RELAYED = 1 + 2 / 3
"""In a cluster of three, two of three messages come to another server than the one that their reader is at."""
SHARED = ("ingest", "detect", "embed", "match")
"""Services whose replicas share the cameras; of the others one works, or all do the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was measured, of one camera in one second at ``MEASURED_FPS`` looks."""

    occupied: float
    """Share of the time in which somebody is in view."""
    cpu: Mapping[str, float]
    """Seconds of CPU, by service; ``nats-server`` is the bus."""
    frames: float
    """Frames that were searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """What a few cameras cost on the machine that was measured."""

    date: str
    machine: str
    inference: Mapping[str, float]
    """Milliseconds of CPU of one run of each model, by which another machine is compared."""
    idle: Mapping[str, float]
    """Seconds of CPU a second without cameras, by service."""
    quiet: Scene
    busy: Scene
    memory: Mapping[str, tuple[float, float]]
    """MB of 2**20 bytes of each process without cameras, and what each camera adds. What they share counts once."""
    unshared: Mapping[str, float]
    """MB more that each process takes on a machine, or in a container, of its own."""
    frame_bytes: float
    alert_bytes: float
    """What an alert takes on disk, its sightings, pictures and deliveries with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a site is to watch."""

    cameras: int
    occupied: float
    fps: float
    megabits: float
    """Bit rate of one camera, in Mbit/s."""
    alerts_a_day: float
    speed: float
    """How fast a core is, of one of the measured machine."""
    cluster: bool
    """Whether to outlive the loss of a machine: two replicas of everything, three servers of the bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one service needs: so many replicas, each with so many cores and so much memory (MB)."""

    service: str
    replicas: int
    cores: float
    memory: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a site needs."""

    needs: tuple[Need, ...]
    camera_megabits: float
    bus_megabits: float
    """Into the bus, and as much out of it."""
    disk: float
    """GB of 10**9 bytes, over all servers of the bus."""

    @property
    def cores(self) -> float:
        return sum(need.replicas * need.cores for need in self.needs)

    @property
    def memory(self) -> float:
        return sum(need.replicas * need.memory for need in self.needs)


def line(quiet: float, busy: float, costs: UnitCosts) -> tuple[float, float]:
    """Give what a camera costs that sees nobody, and what somebody in view adds, from what two scenes cost."""
    slope = max(0.0, busy - quiet) / (costs.busy.occupied - costs.quiet.occupied)
    return max(0.0, quiet - slope * costs.quiet.occupied), slope


def cpu(service: str, costs: UnitCosts, demand: Demand) -> float:
    """Give the cores that a service uses on the average, over all its replicas."""
    watching, seeing = line(costs.quiet.cpu[service], costs.busy.cpu[service], costs)
    each = watching + demand.occupied * seeing * demand.fps / MEASURED_FPS
    return (costs.idle[service] + demand.cameras * each) / demand.speed


def plan(costs: UnitCosts, demand: Demand) -> Plan:
    """Give what a site needs."""
    needs = []
    for service, (base, each) in costs.memory.items():
        bus = service == "nats-server"
        used = cpu(service, costs, demand) * (RELAYED if bus and demand.cluster else 1.0)
        least = (CLUSTER if bus else 2) if demand.cluster else 1
        replicas = max(least, math.ceil(used / FILLED)) if service in SHARED else least
        shared = replicas if service in SHARED else 1
        working = replicas if service in (*SHARED, "nats-server") else 1
        needs.append(
            Need(
                service=service,
                replicas=replicas,
                cores=used / working / FILLED,
                memory=base + demand.cluster * costs.unshared[service] + each * math.ceil(demand.cameras / shared),
            )
        )
    watching, seeing = line(costs.quiet.frames, costs.busy.frames, costs)
    frames = demand.cameras * (watching + demand.occupied * seeing * demand.fps / MEASURED_FPS)
    copies = CLUSTER if demand.cluster else 1
    return Plan(
        needs=tuple(needs),
        camera_megabits=demand.cameras * demand.megabits,
        bus_megabits=frames * costs.frame_bytes * 8 / 1e6,
        disk=demand.alerts_a_day * DAYS * costs.alert_bytes * copies / 1e9,
    )
