"""Leases with their real times, on a real bus: spread, taken over, given up in time, and never held by two."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from tests.bus import Server, until
from tests.integration.runtime.conftest import kill, start
from tests.integration.runtime.replica import Sample, note

from aegis.runtime import tasks, topology
from aegis.runtime.bus import Bus
from aegis.runtime.leases import STOP_AFTER, TIME_TO_LIVE, Lease, Leases, fair_share

PROGRAM = Path(__file__).with_name("replica.py")
FIVE = ("one", "two", "three", "four", "five")


class Replica:
    """One replica in this process; leaving it gives everything back."""

    def __init__(self, bus: Bus, name: str, samples: list[Sample], pool: str = "") -> None:
        self.bus = bus
        self.leases = Leases(bus, "detect", name, note(name, samples.append), pool=pool)
        self.samples = samples

    @property
    def held(self) -> dict[str, Lease]:
        return {name: lease for name, lease in self.leases.held.items() if lease.valid}


@contextlib.asynccontextmanager
async def join(
    server: Server, name: str, resources: Sequence[str], samples: list[Sample] | None = None, pool: str = ""
) -> AsyncIterator[Replica]:
    async with server.connect("detect") as bus:
        replica = Replica(bus, name, [] if samples is None else samples, pool)
        replica.leases.want(resources)
        task = asyncio.create_task(replica.leases.run())
        try:
            yield replica
            assert not task.done()
        finally:
            await tasks.end([task])


@contextlib.asynccontextmanager
async def process(
    server: Server, name: str, resources: Sequence[str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    config = server.config("detect")
    arguments = (config.url, str(config.ca), str(config.key), name, ",".join(resources), str(log))
    program = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), *arguments)
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


def read(log: Path) -> list[Sample]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [Sample(**json.loads(line)) for line in lines]


async def samples_of(log: Path) -> list[Sample]:
    return await asyncio.to_thread(read, log)


def overlaps(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Find times at which two replicas would both have acted on one resource, or a later holder had a lower epoch."""
    spans: dict[tuple[str, str, int], list[Sample]] = {}
    for sample in samples:
        if sample.valid:
            spans.setdefault((sample.resource, sample.replica, sample.epoch), []).append(sample)
    ordered = sorted(spans.values(), key=lambda span: (span[0].resource, span[0].at))
    return [
        (earlier[-1], later[0])
        for earlier, later in pairwise(ordered)
        if earlier[0].resource == later[0].resource
        and (earlier[-1].at >= later[0].at or earlier[0].epoch >= later[0].epoch)
    ]


def shared(resources: Sequence[str], *replicas: Replica) -> list[int]:
    """Give how many each holds, once every resource is held; else nothing."""
    held = [name for replica in replicas for name in replica.held]
    return sorted(len(replica.held) for replica in replicas) if Counter(held) == Counter(resources) else []


# Pure


@pytest.mark.parametrize(
    ("resources", "held", "shares"),
    [
        (5, {"a": 0, "b": 0}, {"a": 3, "b": 2}),
        (5, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        (4, {"a": 2, "b": 2, "c": 0}, {"a": 2, "b": 1, "c": 1}),
        (64, {"a": 32, "b": 32, "c": 0}, {"a": 22, "b": 21, "c": 21}),
        (1, {"a": 0, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 0}),
        (0, {"a": 0}, {"a": 0}),
    ],
)
def test_shares_are_even_and_move_little(resources: int, held: dict[str, int], shares: dict[str, int]) -> None:
    assert {name: fair_share(resources, held, name) for name in held} == shares
    assert sum(shares.values()) == resources


def test_an_overlap_is_seen_by_these_tests() -> None:
    def sample(at: float, replica: str, epoch: int) -> Sample:
        return Sample(at=at, replica=replica, resource="one", epoch=epoch, valid=True)

    good = [sample(1, "a", 1), sample(2, "a", 1), sample(3, "b", 2)]
    assert overlaps(good) == []
    assert overlaps([*good, sample(3.5, "a", 1)])
    assert overlaps([sample(1, "a", 5), sample(2, "b", 4)])


# Spread


@pytest.mark.parametrize(("resources", "two", "three"), [(FIVE, [2, 3], [1, 2, 2]), (FIVE[:4], [2, 2], [1, 1, 2])])
async def test_replicas_share_evenly_as_they_come_and_go(
    bus: Bus, server: Server, resources: Sequence[str], two: list[int], three: list[int]
) -> None:
    samples: list[Sample] = []
    async with contextlib.AsyncExitStack() as stack:
        a = await stack.enter_async_context(join(server, "a", resources, samples))
        await until(lambda: shared(resources, a) == [len(resources)], "one has all")
        b = await stack.enter_async_context(join(server, "b", resources, samples))
        await until(lambda: shared(resources, a, b) == two, "two share")
        moves = a.leases.moves + b.leases.moves
        async with join(server, "c", resources, samples) as c:
            await until(lambda: shared(resources, a, b, c) == three, "three share")
            assert a.leases.moves + b.leases.moves - moves == len(c.held), "no more moved than had to"
        await until(lambda: shared(resources, a, b) == two, "what was given back is taken at once", 3)
    assert overlaps(samples) == []


async def test_what_is_given_back_is_free_at_once(bus: Bus, server: Server) -> None:
    async with join(server, "b", ()) as b:
        async with join(server, "a", ("one",)) as a:
            await until(lambda: "one" in a.held, "it is held")
            lease = a.held["one"]
            b.leases.want(("one",))
        left = time.monotonic()
        await until(lambda: "one" in b.held, "it is taken", 2)
        assert time.monotonic() - left < 2
        assert lease.lost.is_set()
        assert not lease.valid
        assert b.held["one"].epoch > lease.epoch


async def test_what_nobody_wants_any_more_is_given_back(bus: Bus, server: Server) -> None:
    async with join(server, "a", FIVE) as a:
        await until(lambda: len(a.held) == 5, "all are held")
        a.leases.want(FIVE[:2])
        await until(lambda: set(a.held) == set(FIVE[:2]), "three are given back", 3)


async def test_one_taken_outside_the_spread_is_refused_to_others(bus: Bus, server: Server) -> None:
    async with join(server, "a", ()) as a, join(server, "b", ()) as b:
        lease = await a.leases.take("browser")
        assert lease is not None
        assert await b.leases.take("browser") is None
        await until(lambda: b.leases.holder("detect", "browser") == "a", "the other knows who has it")
        await a.leases.release(lease)
        again = await b.leases.take("browser")
        assert again is not None
        assert again.epoch > lease.epoch


async def test_an_error_in_the_work_ends_the_replica_and_frees_the_rest(bus: Bus, server: Server) -> None:
    async def fail(lease: Lease) -> None:
        if lease.resource == "two":
            raise LookupError("no such thing")
        await asyncio.Event().wait()

    leases = Leases(bus, "detect", "a", fail)
    leases.want(("one", "two"))
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(leases.run(), 5)
    assert ended.group_contains(LookupError)
    async with join(server, "b", ("one", "two")) as b:
        await until(lambda: len(b.held) == 2, "both are free at once", 2)


async def test_a_lease_that_another_process_took_is_lost(bus: Bus, server: Server) -> None:
    """The same name twice: the second takes over, and the first stops at its next renewal instead of sharing."""
    async with join(server, "a", ("one",)) as first:
        await until(lambda: "one" in first.held, "it is held")
        lease = first.held["one"]
        first.leases.want(())
        first.leases.held.pop("one")  # as a process that does not look
        async with join(server, "a", ("one",)) as second:
            await until(lambda: "one" in second.held, "its own key is taken over at once", 2)
            assert second.held["one"].epoch > lease.epoch
            await first.leases._renew(lease)
            assert lease.lost.is_set()
            assert not lease.valid


# What takes its real time, side by side, each on a server of its own


async def dies_without_goodbye(server: Server, directory: Path) -> None:
    samples: list[Sample] = []
    log = directory / "dying.jsonl"
    async with join(server, "a", FIVE, samples) as a, process(server, "dying", FIVE, log) as program:
        await until(lambda: _both_hold(a, log), "two share")
        program.kill()
        died = time.monotonic()
        await until(lambda: len(a.held) == 5, "the survivor has all", 10)
        assert time.monotonic() - died < 10
        theirs = await samples_of(log)
        before = {sample.resource: sample.epoch for sample in theirs if sample.at > died - 0.5}
        assert len(before) == 2
        assert all(a.held[resource].epoch > epoch for resource, epoch in before.items())
    assert overlaps(samples + theirs) == []


async def is_paused_and_wakes(server: Server, directory: Path) -> None:
    samples: list[Sample] = []
    log = directory / "paused.jsonl"
    async with join(server, "a", FIVE, samples) as a, process(server, "paused", FIVE, log) as program:
        await until(lambda: _both_hold(a, log), "two share")
        program.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        before = await samples_of(log)
        await until(lambda: len(a.held) == 5, "the other has all", 12)
        await asyncio.sleep(max(0.0, stopped + 20 - time.monotonic()))
        program.send_signal(signal.SIGCONT)
        # It wakes, does no harm, and takes part again.
        await until(lambda: len(a.held) == 3, "two share again")
        theirs = await samples_of(log)
    woken: dict[tuple[str, int], Sample] = {}
    for sample in theirs[len(before) :]:
        woken.setdefault((sample.resource, sample.epoch), sample)
    old = {(sample.resource, sample.epoch) for sample in before[-40:]}
    assert old
    assert not [sample for identity, sample in woken.items() if identity in old and sample.valid]
    assert overlaps(samples + theirs) == []


async def misses_the_bus_for_three_seconds(server: Server, directory: Path) -> None:
    async with join(server, "a", FIVE) as a, join(server, "b", FIVE) as b:
        await until(lambda: shared(FIVE, a, b) == [2, 3], "two share")
        before = {name: lease.epoch for replica in (a, b) for name, lease in replica.held.items()}
        moves = a.leases.moves, b.leases.moves
        await kill(server)
        await asyncio.sleep(3)
        assert shared(FIVE, a, b) == [2, 3]
        await start(server)
        await until(lambda: a.bus.connected and b.bus.connected, "the bus is back")
        returned = time.monotonic()
        leases = [*a.held.values(), *b.held.values()]
        await until(lambda: all(lease.confirmed > returned - 2.5 for lease in leases), "all are renewed", 6)
        assert {name: lease.epoch for replica in (a, b) for name, lease in replica.held.items()} == before
        assert (a.leases.moves, b.leases.moves) == moves


async def misses_the_bus_for_ten_seconds(server: Server, directory: Path) -> None:
    samples: list[Sample] = []
    async with join(server, "a", FIVE, samples) as a, join(server, "b", FIVE, samples) as b:
        await until(lambda: shared(FIVE, a, b) == [2, 3], "two share")
        epochs = [lease.epoch for replica in (a, b) for lease in replica.held.values()]
        await kill(server)
        killed = time.monotonic()
        await until(lambda: not a.leases.held and not b.leases.held, "all have stopped", TIME_TO_LIVE)
        # Not only may they not act: their work was ended.
        assert max(sample.at for sample in samples) < killed + STOP_AFTER + 0.3
        await asyncio.sleep(max(0.0, killed + 10 - time.monotonic()))
        await start(server)
        await until(lambda: shared(FIVE, a, b) == [2, 3], "they take them again", 12)
        assert min(lease.epoch for replica in (a, b) for lease in replica.held.values()) > max(epochs)
    assert overlaps(samples) == []


async def many_come_and_go(server: Server, directory: Path) -> None:
    """Processes join, are killed, paused and sent away in turn; no resource ever has two holders."""
    names = ("p", "q", "r", "s")
    logs = {name: directory / f"{name}.jsonl" for name in names}
    async with contextlib.AsyncExitStack() as stack:
        programs = {}
        for name in names:
            programs[name] = await stack.enter_async_context(process(server, name, FIVE, logs[name]))
        await until(lambda: _all_held(logs, 4), "all four hold something")
        programs["p"].kill()
        programs["q"].send_signal(signal.SIGSTOP)
        await asyncio.sleep(9)
        programs["q"].send_signal(signal.SIGCONT)
        programs["r"].terminate()
        again = await stack.enter_async_context(process(server, "p", FIVE, logs["p"]))
        await asyncio.sleep(9)
        assert again.returncode is None
        samples = [sample for log in logs.values() for sample in await samples_of(log)]
    newest = max(sample.at for sample in samples)
    late = sorted((s for s in samples if s.valid and s.at > newest - 1.0), key=lambda sample: sample.at)
    holders = {sample.resource: sample.replica for sample in late}
    assert set(holders) == set(FIVE)
    assert sorted(Counter(holders.values()).values()) == [1, 2, 2]
    assert overlaps(samples) == []


async def _both_hold(replica: Replica, log: Path) -> bool:
    return len(replica.held) == 3 and len({sample.resource for sample in await samples_of(log)}) == 2


async def _all_held(logs: dict[str, Path], replicas: int) -> bool:
    samples = [sample for log in logs.values() for sample in await samples_of(log)]
    recent = [sample for sample in samples if sample.valid and sample.at > time.monotonic() - 0.3]
    return {sample.resource for sample in recent} == set(FIVE) and len({s.replica for s in recent}) == replicas


async def test_real_time_scenarios(tmp_path: Path) -> None:
    async def on_its_own_server(name: str) -> None:
        directory = tmp_path / name
        server = await asyncio.to_thread(Server, directory)
        await start(server)
        try:
            async with server.connect() as bus:
                await topology.declare(bus)
            await SCENARIOS[name](server, directory)
        except Exception as error:
            error.add_note(f"in {name}")
            raise
        finally:
            await kill(server)

    for name in SCENARIOS:
        await asyncio.to_thread((tmp_path / name).mkdir)
    results = await asyncio.gather(*map(on_its_own_server, SCENARIOS), return_exceptions=True)
    if errors := [error for error in results if isinstance(error, Exception)]:
        raise ExceptionGroup("leases", errors)


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        dies_without_goodbye,
        is_paused_and_wakes,
        misses_the_bus_for_three_seconds,
        misses_the_bus_for_ten_seconds,
        many_come_and_go,
    )
}


async def test_replicas_of_a_pool_share_among_themselves(server: Server, bus: Bus) -> None:
    async with (
        join(server, "a", FIVE[:4]) as a,
        join(server, "b", FIVE[:4]) as b,
        join(server, "c", ("gym-1", "gym-2"), pool="gym") as c,
        join(server, "d", ("gym-1", "gym-2"), pool="gym") as d,
    ):
        await until(lambda: [len(r.held) for r in (a, b, c, d)] == [2, 2, 1, 1], "each pool is spread evenly")
        assert {*c.held, *d.held} == {"gym-1", "gym-2"}
