"""``aegis plan``: what so many cameras need follows from what few were measured to need."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.cli import plan, sizing
from aegis.cli.sizing import Demand

RESULTS = Path(__file__).resolve().parents[3] / "docs" / "benchmarks" / "results.json"
COSTS = plan.unit_costs()


def demand(**changed: Any) -> Demand:
    usual = {
        "cameras": 16,
        "occupied": 0.1,
        "fps": 5.0,
        "megabits": 2.0,
        "alerts_a_day": 10.0,
        "speed": 1.0,
        "cluster": False,
    }
    return Demand(**usual | changed)


@pytest.mark.parametrize("cameras", [4, 16, 64])
def test_it_foretells_what_another_measurement_found(cameras: int) -> None:
    """The benchmark of many cameras plays other parts of the clips, in a run of its own."""
    (scale,) = [r for r in json.loads(RESULTS.read_text())["results"] if r["benchmark"] == "scale"]
    facts = scale["facts"][f"{cameras} cameras"]
    found = re.match(r"([\d.]+) ms of CPU a second and camera, [\d.]+ cores.*; (\d+) MB", facts)
    assert found is not None
    cores, megabytes = float(found[1]) * cameras / 1000, float(found[2])
    told = sum(sizing.cpu(service, COSTS, demand(cameras=cameras)) for service in COSTS.memory)
    assert told == pytest.approx(cores, rel=0.35)
    planned = sizing.plan(COSTS, demand(cameras=cameras))
    # The supervisor, which a plan does not count, holds some too.
    assert planned.memory == pytest.approx(megabytes, rel=0.25)


@pytest.mark.parametrize(
    ("occupied", "scene"), [(COSTS.quiet.occupied, COSTS.quiet), (COSTS.busy.occupied, COSTS.busy)]
)
def test_what_was_measured_comes_out_again(occupied: float, scene: sizing.Scene) -> None:
    for service, spent in scene.cpu.items():
        told = sizing.cpu(service, COSTS, demand(cameras=4, occupied=occupied)) - COSTS.idle[service]
        watching, _ = sizing.line(COSTS.quiet.cpu[service], COSTS.busy.cpu[service], COSTS)
        if watching and COSTS.busy.cpu[service] > COSTS.quiet.cpu[service]:
            assert told == pytest.approx(4 * spent), service


@given(
    cameras=st.integers(1, 5000),
    occupied=st.floats(0, 1),
    fps=st.floats(0.5, 25),
    speed=st.floats(0.2, 5),
    cluster=st.booleans(),
)
def test_more_never_needs_less_and_no_core_is_overfull(
    cameras: int, occupied: float, fps: float, speed: float, cluster: bool
) -> None:
    wanted = demand(cameras=cameras, occupied=occupied, fps=fps, speed=speed, cluster=cluster)
    planned = sizing.plan(COSTS, wanted)
    more = sizing.plan(COSTS, demand(cameras=2 * cameras, occupied=occupied, fps=fps, speed=speed, cluster=cluster))
    assert more.cores >= planned.cores
    assert more.camera_megabits == 2 * planned.camera_megabits
    for need in planned.needs:
        if need.service in sizing.SHARED:
            assert need.cores <= 1 + 1e-9
            assert need.replicas * need.cores * sizing.FILLED == pytest.approx(
                sizing.cpu(need.service, COSTS, wanted), rel=1e-6
            )
        assert need.replicas >= (2 if cluster else 1)


def test_half_the_speed_is_twice_the_cores() -> None:
    assert sizing.plan(COSTS, demand(speed=0.5)).cores == pytest.approx(2 * sizing.plan(COSTS, demand()).cores)


def test_it_is_told_with_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    plan.show(
        argparse.Namespace(
            cameras=300, sites=5000, traffic="usual", occupied=None, fps=5.0, megabits=2.0, alerts=10.0, single=False,
            speed=1.0, measure=False, json=False,
        )
    )  # fmt: skip
    told = capsys.readouterr().out
    assert "300 cameras, 5 looks a second, somebody in view 10% of the time" in told
    assert "5000 such sites" in told
    assert "cores = (i + cameras x (a + b x share in view x looks / 5)) / speed / 0.6" in told
    assert all(service in told for service in COSTS.memory)
