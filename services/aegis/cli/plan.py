"""``aegis plan``: how many replicas, cores, memory, bandwidth and disk so many cameras need."""

import argparse
import json
import math
import statistics
import time
from dataclasses import asdict
from pathlib import Path

from aegis.cli.errors import CommandError
from aegis.cli.requests import table
from aegis.cli.sizing import CLUSTER, DAYS, FILLED, MEASURED_FPS, Demand, Plan, Scene, UnitCosts, line, plan
from aegis.cli.state import models_dir

TRAFFIC = {"quiet": 0.02, "usual": 0.1, "busy": 0.5, "crowded": 0.95}
"""Share of the time in which somebody is in view of a camera: a store room, a hallway, an entrance, a crowd."""
MEASURED = Path(__file__).with_name("unit_costs.json")
ROUNDS = 15
DETECTOR, EMBEDDER = "yunet-2023mar", "sface-2021dec"


def unit_costs(path: Path = MEASURED) -> UnitCosts:
    """Read what ``benchmarks/unit_costs.py`` measured."""
    known = json.loads(path.read_text(encoding="utf-8"))
    memory = {service: (base, each) for service, (base, each) in known["memory"].items()}
    scenes = {name: Scene(**known[name]) for name in ("quiet", "busy")}
    return UnitCosts(**(known | scenes | {"memory": memory}))


def show(arguments: argparse.Namespace) -> None:
    """``aegis plan``."""
    costs = unit_costs()
    speed = measured_speed(costs) if arguments.measure else arguments.speed
    demand = Demand(
        cameras=arguments.cameras,
        occupied=TRAFFIC[arguments.traffic] if arguments.occupied is None else arguments.occupied,
        fps=arguments.fps,
        megabits=arguments.megabits,
        alerts_a_day=arguments.alerts,
        speed=speed,
        cluster=not arguments.single,
    )
    planned = plan(costs, demand)
    if arguments.json:
        told = asdict(planned) | {"cores": planned.cores, "memory": planned.memory, "sites": arguments.sites}
        print(json.dumps({"demand": asdict(demand), "plan": told, "measured": asdict(costs)}, indent=2))
        return
    print("\n".join(report(costs, demand, planned, arguments.sites)))


def inference() -> dict[str, float]:
    """Measure the milliseconds of CPU that each model takes for one run on this machine.

    Raises:
        CommandError: the models are not there.

    """
    # What it computes with takes seconds to import, which no other command should pay.
    import numpy as np  # noqa: PLC0415

    from aegis.runtime.inference import open_model  # noqa: PLC0415
    from aegis.runtime.models import ModelError, load_cards  # noqa: PLC0415

    taken = {}
    cards = load_cards()
    for card, size in ((cards[DETECTOR], (384, 640)), (cards[EMBEDDER], (112, 112))):
        try:
            model = open_model(card, models_dir())
        except ModelError as error:
            raise CommandError(str(error)) from None
        tensor = np.zeros((1, 3, *size), np.float32)
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            model.run(tensor)
            times.append(1000 * (time.process_time() - began))
        taken[card.id] = statistics.median(times)
    return {model: round(milliseconds, 2) for model, milliseconds in taken.items()}


def measured_speed(costs: UnitCosts) -> float:
    """Give how fast a core of this machine is, of one of the measured machine: the mean over the models."""
    here = inference()
    return statistics.geometric_mean(costs.inference[model] / here[model] for model in costs.inference)


def report(costs: UnitCosts, demand: Demand, planned: Plan, sites: int) -> list[str]:
    """Say the plan in words: the table, the sums, and how it was reckoned."""
    rows = [
        (need.service, str(need.replicas), f"{need.cores:.2f}", f"{math.ceil(need.memory / 10) * 10} MB")
        for need in planned.needs
    ]
    servers = f", on {CLUSTER} servers" if demand.cluster else ""
    lines = [
        f"{demand.cameras} cameras, {demand.fps:g} looks a second, somebody in view {demand.occupied:.0%} of the time",
        "",
        *table((("service", "replicas", "cores each", "memory each"), *rows)),
        "",
        f"together  {planned.cores:.1f} cores, {planned.memory / 1024:.1f} GB of memory",
        f"network   {planned.camera_megabits:.0f} Mbit/s from cameras, {planned.bus_megabits:.0f} to the bus and back",
        f"disk      {planned.disk:.1f} GB for {DAYS:.0f} days of alerts{servers}",
    ]
    if sites > 1:
        cores, memory, disk = (sites * size for size in (planned.cores, planned.memory / 1024, planned.disk))
        lines.append(f"{sites} such sites: {cores:,.0f} cores, {memory:,.0f} GB of memory, {disk:,.0f} GB of disk")
    return [*lines, "", *formula(costs, demand)]


def formula(costs: UnitCosts, demand: Demand) -> list[str]:
    """Say how a plan is reckoned, with the figures that were measured."""
    lines = {service: line(costs.quiet.cpu[service], costs.busy.cpu[service], costs) for service in costs.memory}
    cpu = ", ".join(f"{s} {1000 * costs.idle[s]:.1f} + {1000 * a:.1f} + {1000 * b:.1f}" for s, (a, b) in lines.items())
    memory = ", ".join(
        f"{service} {base + demand.cluster * costs.unshared[service]:.0f} + {each:.1f}"
        for service, (base, each) in costs.memory.items()
    )
    copies = f" x {CLUSTER} copies" if demand.cluster else ""
    return [
        f"Measured {costs.date} on {costs.machine}; a core here counts as {demand.speed:.2f} of one there.",
        f"cores = (i + cameras x (a + b x share in view x looks / {MEASURED_FPS:g})) / speed / {FILLED:g}",
        f"  i + a + b in ms of CPU a second: {cpu}",
        f"memory = m + c x cameras of a replica, in MB: {memory}",
        f"network = frames x {costs.frame_bytes / 1000:.0f} KB",
        f"disk = alerts x {costs.alert_bytes / 1000:.0f} KB x days{copies}",
    ]
