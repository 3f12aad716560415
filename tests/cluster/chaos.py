"""An hour of faults on a whole cluster: `make chaos`, or ``python -m tests.cluster.chaos``.

``AEGIS_CHAOS_SECONDS`` says how long (an hour), ``AEGIS_CHAOS_SEED`` in which order and to whom (1). It ends with 1 if
a promise was broken, and writes what it measured into docs/benchmarks either way.
"""

import asyncio
import contextlib
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import invariants, report, trial
from tests.cluster.cluster import Cluster, people, running, scenes
from tests.cluster.faults import Fault, all_faults
from tests.cluster.network import missing
from tests.cluster.trial import Registry, Trial
from tests.cluster.watch import Watch, watching
from tests.conftest import ROOT

from aegis.runtime import tasks
from aegis.runtime.bus import Bus

CAMERAS = 16
PERIOD, VISIT = 75.0, 8.0
"""Somebody of the list is before each camera for 8 s of 75: 67 s unseen end a visit."""
HOUR = 3600.0
START_AND_END = 90.0
ENOUGH = 20
"""Problems that are told; one cause can have very many."""


@dataclass
class Ordeal:
    """A cluster with everything around it that faults are judged by."""

    cluster: Cluster
    watch: Watch
    registry: Registry
    chance: random.Random
    since: float = field(default_factory=time.time)
    trials: list[Trial] = field(default_factory=list)

    async def suffer(self, fault: Fault) -> Trial:
        """Have one fault strike, and wait until all is well."""
        suffered = await trial.run(fault, self.cluster, self.watch, self.registry, self.chance)
        self.trials.append(suffered)
        return suffered

    async def broken(self) -> list[str]:
        """End it, and give every promise that was broken."""
        return await invariants.broken(self.cluster, self.watch, self.trials, self.since)


@contextlib.asynccontextmanager
async def ordeal(folder: Path, test_data: Path, cameras: int, seed: int) -> AsyncIterator[Ordeal]:
    """Run a cluster of two replicas of everything, and wait until all is well."""
    shown = scenes(people(test_data, 2 * cameras), PERIOD, VISIT)
    async with (
        running(folder, shown) as cluster,
        watching(cluster.servers) as watch,
        Bus.connect(cluster.servers.config("operator"), "test-operator") as operator,
    ):
        registry = Registry(operator)
        asking = asyncio.create_task(registry.run())
        try:
            assert await trial.until_calm(cluster, watch, registry) < float("inf"), f"never well: see {folder}"
            yield Ordeal(cluster, watch, registry, random.Random(seed))
        finally:
            await tasks.end([asking])


async def main(seconds: float, seed: int) -> int:
    """Run rounds of all faults, each in another order, until the time is over."""
    test_data = Path(os.environ.get("AEGIS_TEST_DATA", ROOT.parent / "shared" / "data"))
    folder = Path(tempfile.mkdtemp(prefix="aegis-chaos-"))
    ends = time.monotonic() + seconds - START_AND_END
    order = random.Random(seed)
    say(f"{CAMERAS} cameras, {seconds:.0f} s, seed {seed}; logs in {folder}")
    async with ordeal(folder, test_data, CAMERAS, seed) as suffering:
        waiting: list[Fault] = []
        while time.monotonic() < ends:
            if not waiting:
                waiting = order.sample(all_faults(), len(all_faults()))
            suffered = await suffering.suffer(waiting.pop())
            say(f"{len(suffering.trials):4} {report.line(suffered)}")
            if suffered.calm == float("inf"):
                break
        trials, raised = suffering.trials, suffering.watch.raised()
        broken = await suffering.broken()
    report.write(trials, len(raised), broken, seconds=seconds, seed=seed, cameras=CAMERAS)
    for problem in broken[:ENOUGH]:
        say(f"broken: {problem}")
    say(f"{len(trials)} faults, {len(raised)} alerts, {len(broken)} promises broken; logs in {folder}")
    return 1 if broken else 0


def say(text: str) -> None:
    """Print a line at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    if problem := missing():
        sys.exit(problem)
    logging.disable(logging.WARNING)
    hour, number = os.environ.get("AEGIS_CHAOS_SECONDS", HOUR), os.environ.get("AEGIS_CHAOS_SEED", "1")
    sys.exit(asyncio.run(main(float(hour), int(number))))
