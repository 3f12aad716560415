"""Two writers on a real bus never open the same visit twice."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bus import Server

from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import SIGHTING_INTERVAL, VISIT_GAP, Sighting, Story
from aegis.contracts.messages import Severity
from aegis.match.stories import Stories, Told, Verdict
from aegis.runtime import topology
from aegis.runtime.bus import Bus
from aegis.runtime.references import new_alert

ADA = subjects.alert("north", "barred", "ada")
NOW = time.time()


class Desk:
    """A bus, two connections with match's own rights, and what was told."""

    def __init__(self, first: Bus, second: Bus, admin: Bus) -> None:
        self.buses = first, second
        self.admin = admin
        self.writers = [Stories(first, "match-0"), Stories(second, "match-1")]

    async def tell(self, writer: int, after: float, *, severity: Severity = Severity.HIGH, subject: str = ADA) -> Told:
        seen_at = NOW + after

        def compose(story: Story, verdict: Verdict) -> Sighting:
            return sighting(story, verdict, seen_at, severity)

        return await self.writers[writer].tell(subject, seen_at, severity, compose)

    async def told(self, subject: str = ADA) -> list[tuple[str, float, str]]:
        """Give (type, seconds after the start, alert) of each event on the subject that can be read."""
        info = await self.admin.client.jetstream().stream_info(subjects.ALERTS)
        found = []
        for sequence in range(1, info.state.last_seq + 1):
            message = await self.admin.client.jetstream().get_msg(subjects.ALERTS, sequence)
            if message.subject == subject:
                with contextlib.suppress(codec.DecodeError):
                    event = cloudevents.load(message.data or b"")
                    seen = cloudevents.from_data(Sighting, event.data)
                    found.append((event.type, round(seen.captured_at - NOW, 1), seen.alert))
        return found


def sighting(story: Story, verdict: Verdict, seen_at: float, severity: Severity) -> Sighting:
    alert, reference = new_alert() if verdict == "raise" else (story.alert, story.reference)
    return Sighting(
        alert=alert, reference=reference, site="north", site_name="North", category="barred", severity=severity,
        entry="ada", person="Ada", camera="gate", camera_name="Gate", captured_at=seen_at, first_captured_at=seen_at,
        score=0.7, threshold=0.5, looks=2, track="gate.1.1", detector="d", embedder="e", watchlist_version=1,
        raised_at=seen_at, expires_at=seen_at + 600, drill=True, chip="", frame="",
    )  # fmt: skip


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    server = Server(tmp_path)
    server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.kill)
        admin = await stack.enter_async_context(server.connect())
        await topology.declare(admin)
        first, second = [await stack.enter_async_context(server.connect("match")) for _ in range(2)]
        yield Desk(first, second, admin)


async def test_two_writers_at_once_raise_each_visit_once(desk: Desk) -> None:
    """Fifty pairs of sightings, told at the same moment: 49 two seconds apart, one of them after a visit's gap."""
    times = [2.0 * n + (VISIT_GAP if n >= 25 else 0) for n in range(50)]
    for after in times:
        await asyncio.gather(desk.tell(0, after), desk.tell(1, after))
    told = await desk.told()
    raised = [(after, alert) for kind, after, alert in told if kind == alerts.RAISED]
    assert [after for after, _ in raised] == [0.0, times[25]]
    visits = Counter(alert for _, _, alert in told)
    assert set(visits) == {alert for _, alert in raised}
    for _, alert in raised:
        seen = [after for _, after, one in told if one == alert]
        assert all(later - earlier >= SIGHTING_INTERVAL for earlier, later in itertools.pairwise(seen))
        assert len(seen) == 5, "0, 10, 20, 30 and 40 s into a visit of 48 s"


async def test_fifty_at_once_raise_one(desk: Desk) -> None:
    verdicts = Counter(told.verdict for told in await asyncio.gather(*(desk.tell(n % 2, 0.0) for n in range(50))))
    assert verdicts == {"raise": 1, "silent": 49}
    assert len(await desk.told()) == 1


async def test_after_a_restart_the_open_visit_goes_on(desk: Desk) -> None:
    first = await desk.tell(0, 0)
    desk.writers[0] = Stories(desk.buses[0], "match-0")
    assert (await desk.tell(0, 5)).verdict == "silent"
    second = await desk.tell(0, 12)
    assert (second.verdict, second.sighting and second.sighting.alert) == (
        "sight",
        first.sighting and first.sighting.alert,
    )


async def test_more_severe_raises_again_under_the_same_name(desk: Desk) -> None:
    first = await desk.tell(0, 0, severity=Severity.MEDIUM)
    again = await desk.tell(1, 1, severity=Severity.CRITICAL)
    assert again.verdict == "raise again"
    assert first.sighting
    assert again.sighting
    assert (again.sighting.alert, again.sighting.reference) == (first.sighting.alert, first.sighting.reference)
    assert (await desk.tell(0, 2, severity=Severity.MEDIUM)).verdict == "silent"
    assert (await desk.tell(1, 3, severity=Severity.CRITICAL)).verdict == "silent"
    assert [(kind, after) for kind, after, _ in await desk.told()] == [(alerts.RAISED, 0.0), (alerts.RAISED, 1.0)]


async def test_a_visit_ends_after_a_minute_out_of_sight_and_not_before(desk: Desk) -> None:
    first = await desk.tell(0, 0)
    kept_open = await desk.tell(0, 59)
    assert kept_open.verdict == "sight"
    assert (await desk.tell(0, 68)).verdict == "silent"
    assert (await desk.tell(0, 127)).verdict == "sight", "what was seen in silence counts"
    new = await desk.tell(0, 187)
    assert new.verdict == "raise"
    assert first.sighting
    assert new.sighting
    assert new.sighting.alert != first.sighting.alert


async def test_people_and_categories_have_stories_of_their_own(desk: Desk) -> None:
    await desk.tell(0, 0)
    for subject in (subjects.alert("north", "barred", "ben"), subjects.alert("north", "missing", "ada")):
        assert (await desk.tell(0, 1, subject=subject)).verdict == "raise"
        assert (await desk.tell(1, 2, subject=subject)).verdict == "silent"
    assert len(await desk.told()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{not json",
        b'{"specversion":"1.0"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"aegis.alert.raised.v1","time":"t","subject":"x","data":{}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"aegis.alert.newer.v1","time":"t","subject":"x","data":{}}',
    ],
    ids=["empty", "not JSON", "not whole", "no sighting", "a newer kind"],
)
async def test_an_event_that_cannot_be_read_stops_nobody(desk: Desk, body: bytes) -> None:
    await desk.admin.store(ADA, body, message_id="bad-1")
    first = await desk.tell(0, 0)
    assert first.verdict == "raise"
    await desk.admin.store(ADA, body, message_id="bad-2")
    assert (await desk.tell(0, 5)).verdict == "silent"
    second = await desk.tell(0, 11)
    assert second.verdict == "sight"
    assert (await desk.tell(1, 12)).verdict == "silent"
    assert first.sighting
    assert second.sighting
    assert second.sighting.alert == first.sighting.alert


async def test_a_writer_that_was_paused_raises_no_second_alert(desk: Desk) -> None:
    """It last read the story before the visit ended, and so believes that a new one is to be opened."""
    await desk.tell(0, 0)
    raised = await desk.tell(1, 100)
    assert raised.verdict == "raise"
    assert (await desk.tell(0, 100.5)).verdict == "silent"
    later = await desk.tell(0, 111)
    assert later.verdict == "sight"
    assert raised.sighting
    assert later.sighting
    assert later.sighting.alert == raised.sighting.alert
    assert [kind for kind, _, _ in await desk.told()] == [alerts.RAISED, alerts.RAISED, alerts.SIGHTED]


async def test_a_reference_is_short_and_has_no_letter_that_is_mistaken() -> None:
    made = [new_alert() for _ in range(200)]
    assert len(set(made)) == 200
    for alert, reference in made:
        assert len(reference) == 7
        assert reference[3] == "-"
        assert not set(reference) & set("01OIL")
        assert alert.startswith(reference.replace("-", "").lower())
        subjects.token(alert, "alert")
