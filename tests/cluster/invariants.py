"""What must be so whatever went wrong, as sentences about what was not."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tests.bus import until
from tests.cluster.cluster import FILM, GUARD, Cluster
from tests.cluster.trial import NORMAL_ALERT, Trial, visits, was_told
from tests.cluster.watch import Passed, Seen, Watch

from aegis.cli.requests import ask
from aegis.contracts import alerts, codec, subjects
from aegis.contracts.alerts import Story
from aegis.contracts.deliveries import DeliveryRecord
from aegis.contracts.messages import SetState, SiteState
from aegis.detect.service import STALE_SECONDS
from aegis.runtime.bus import Bus
from aegis.runtime.leases import TIME_TO_LIVE

BACK_SECONDS = 20.0
"""A lease runs out after 8 s or a server is elected within 10, a camera is opened in 3, its first look passes in 2; and
a machine that runs all of a cluster is not the fastest."""
CALM_SECONDS = 45.0
"""A connection that stood still is noticed, servers elect anew when one comes back, leases are spread evenly again."""
DRAIN_SECONDS = 30.0


async def broken(cluster: Cluster, watch: Watch, trials: list[Trial], since: float) -> list[str]:
    """End the system's work and give every promise that was broken since a time."""
    ended = time.time()
    found = [problem for trial in trials for problem in of_trial(trial)]
    found += unseen(cluster, watch, trials, since, ended - NORMAL_ALERT)
    async with Bus.connect(cluster.servers.config("operator"), "test-operator") as operator:
        await ask(operator, "state-set", SetState(state=SiteState.DISARMED))
    found += await drained(watch)
    found += doubled(watch)
    found += await undelivered(cluster, watch)
    for name, seen in watch.seen.items():
        found += [f"{name} saw {problem}" for problem in disorder(seen)]
    found += stale(watch)
    paused = [(trial.hit, trial.started, trial.started + trial.calm) for trial in trials]
    found += pulled_twice(cluster, paused)
    info = await watch.bus.client.jetstream(timeout=5).stream_info(subjects.DEAD)
    if info.state.messages:
        found.append(f"{info.state.messages} messages could not be handled")
    return found


def of_trial(trial: Trial) -> Iterator[str]:
    """Others take over within their time, or whom it hit goes on in it; and at last all is well again."""
    what = f"{trial.fault}, {trial.victims} ({', '.join(trial.hit)})"
    alone = trial.healed if trial.nobody_left else 0.0
    for part, silence in trial.interrupted.items():
        if silence - alone > BACK_SECONDS:
            yield f"{what}: {part} stood still for {silence:.1f} s"
    if trial.calm - trial.healed > CALM_SECONDS:
        yield f"{what}: not all well {trial.calm - trial.healed:.1f} s after it was mended"


def unseen(cluster: Cluster, watch: Watch, trials: list[Trial], since: float, ended: float) -> Iterator[str]:
    """A visit that began while all was well is told within its normal time."""
    troubled = [(trial.started, trial.started + trial.calm) for trial in trials]
    for camera, begins in visits(cluster, since, ended):
        ends = begins + NORMAL_ALERT
        calm = all(ends < struck or begins > well for struck, well in troubled)
        if calm and not was_told(watch, cluster, camera, begins, NORMAL_ALERT):
            yield f"nobody was told of the visit at {camera} at {begins:.1f}"


async def drained(watch: Watch) -> list[str]:
    """Queues are empty and everything was told once nothing more comes in."""
    jetstream = watch.bus.client.jetstream(timeout=5)
    waiting: dict[str, object] = {}

    async def empty() -> bool:
        waiting.clear()
        for name in (subjects.FACES, subjects.VECTORS):
            if count := (await jetstream.stream_info(name)).state.messages:
                waiting[name] = count
        for consumer in await jetstream.consumers_info(subjects.DELIVERIES):
            if consumer.num_pending or consumer.num_ack_pending:
                waiting[consumer.name] = consumer.num_pending, consumer.num_ack_pending
        return not waiting

    try:
        await until(empty, "the queues are empty", DRAIN_SECONDS)
    except AssertionError:
        return [f"not empty {DRAIN_SECONDS:.0f} s after the end: {waiting}"]
    return []


def doubled(watch: Watch) -> Iterator[str]:
    """One visit, one alert: the story of each person, folded as everybody folds it, is never raised while open."""
    stories: dict[str, Story] = defaultdict(Story)
    ids = Counter(told.id for told in watch.told)
    yield from (f"event {name} stands {count} times on the bus" for name, count in ids.items() if count > 1)
    for sequence, told in enumerate(watch.told, 1):
        story = stories[told.sighting.entry]
        if told.kind == alerts.RAISED and story.open_at(told.sighting.captured_at):
            yield f"{told.sighting.person} was raised again at {told.at:.1f} within one visit"
        event = alerts.event(told.kind, told.id, told.sighting)
        stories[told.sighting.entry] = alerts.fold(story, sequence, event)


async def undelivered(cluster: Cluster, watch: Watch) -> list[str]:
    """Each alert reached mail and webhook; more than once only under the same id, and no more than was attempted."""
    raised = {told.id for told in watch.raised()}
    mails = Counter(str(mail["Message-ID"]).strip("<").partition("@")[0] for mail in cluster.mail.of(GUARD))
    posts = Counter(
        request.headers["webhook-id"]
        for request in cluster.hook.taken
        if json.loads(request.body)["type"] == alerts.RAISED
    )
    attempts = await _attempts(watch)
    problems = []
    for channel, counts in (("email", mails), ("webhook", posts)):
        ids: dict[str, list[str]] = defaultdict(list)
        for name in counts:
            ids[name.partition("-")[0]].append(name)
        problems += [f"alert {event} was not told by {channel}" for event in raised - set(ids)]
        problems += [f"{channel} told of {event}, which is not on the bus" for event in set(ids) - raised]
        problems += [f"{channel} told of {event} under {names}" for event, names in ids.items() if len(names) > 1]
        problems += [
            f"{channel} told of {name} {count} times, in {attempts[channel, name.partition('-')[0]]} attempts"
            for name, count in counts.items()
            if count > attempts[channel, name.partition("-")[0]]
        ]
    return problems


async def _attempts(watch: Watch) -> Counter[tuple[str, str]]:
    """Count by channel and event how often something may have been handed over."""
    jetstream = watch.bus.client.jetstream(timeout=5)
    info = await jetstream.stream_info(subjects.DELIVERIES, subjects_filter=">")
    found: Counter[tuple[str, str]] = Counter()
    for subject in info.state.subjects or {}:
        message = await watch.bus.last(subjects.DELIVERIES, subject)
        if message is not None:
            record = codec.decode(DeliveryRecord, message.data or b"")
            found[record.channel, record.event] = record.attempts + record.repeated
    return found


def disorder(seen: Seen) -> Iterator[str]:
    """Nobody goes on under a lease that another has, and what one holder of a camera sends keeps its order."""
    for hop, cameras in (("frames", seen.frames), ("looks", seen.faces)):
        for camera, passed in cameras.items():
            yield from _interleaved(f"{hop} of {camera}", passed)
            # What a sender's machine held back while it was cut off comes late, and nobody takes it any more.
            fresh = [one.number for one in passed if one.at - one.captured_at < STALE_SECONDS]
            yield from _backwards(f"{hop} of {camera}", fresh)


def _interleaved(what: str, passed: list[Passed]) -> Iterator[str]:
    since: dict[int, float] = {}
    newest = 0
    for one in passed:
        lease = one.number[0]
        since.setdefault(lease, one.captured_at)
        if lease < newest and one.captured_at - since[newest] > TIME_TO_LIVE:
            yield f"{what} under {lease}, {one.captured_at - since[newest]:.1f} s after {newest} began"
        newest = max(newest, lease)


def _backwards(what: str, numbers: Iterable[tuple[int, ...]]) -> Iterator[str]:
    last: dict[int, tuple[int, ...]] = {}
    for number in numbers:
        if number < last.get(number[0], ()):
            yield f"{what} go back from {last[number[0]]} to {number}"
        last[number[0]] = number


def stale(watch: Watch) -> Iterator[str]:
    """Match takes nothing of a holder of a camera after it took something of a later one."""
    newest: dict[str, int] = {}
    for told in watch.told:
        camera, lease, _ = told.sighting.track.split(".")
        if int(lease) < newest.get(camera, 0):
            yield f"a story of {camera} goes on with lease {lease} after {newest[camera]}"
        newest[camera] = max(newest.get(camera, 0), int(lease))


def pulled_twice(cluster: Cluster, hit: list[tuple[list[str], float, float]]) -> Iterator[str]:
    """No camera is pulled by two at once for longer than a lease; who is paused or cut off pulls nothing."""
    replicas = {host.address: name for name, host in cluster.network.hosts.items()}
    began: dict[tuple[str, str], list[float]] = defaultdict(list)
    pulls: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for line in (cluster.folder / f"{FILM}.log").read_text().splitlines():
        if not line.startswith("{"):
            continue
        entry = json.loads(line)
        key = entry["camera"], replicas.get(entry["peer"], "")
        if entry["what"] == "pulls":
            began[key].append(entry["at"])
        elif entry["what"] == "ceased":
            pulls[key[0]].append((began[key].pop(0), entry["at"], key[1]))
    for (camera, replica), starts in began.items():
        pulls[camera] += [(start, time.time(), replica) for start in starts]
    for camera, spans in pulls.items():
        spans.sort()
        for first, second in ((a, b) for i, a in enumerate(spans) for b in spans[i + 1 :] if b[0] < a[1]):
            overlap = _healthy(second[0], min(first[1], second[1]), {first[2], second[2]}, hit)
            if overlap > TIME_TO_LIVE:
                yield f"{camera} was pulled by {first[2]} and {second[2]} for {overlap:.1f} s"


def _healthy(since: float, until_: float, replicas: set[str], hit: list[tuple[list[str], float, float]]) -> float:
    """Give how much of a time none of the replicas was hit in."""
    left = until_ - since
    for names, struck, well in hit:
        if replicas & set(names):
            left -= max(0.0, min(until_, well) - max(since, struck))
    return left
