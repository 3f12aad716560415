"""A site in shadow: everything is compared and counted, and nobody is alerted."""

from dataclasses import replace

from tests.bus import until
from tests.integration.match.people import Person, control, person_known
from tests.integration.match.world import SITE, World

from aegis.contracts import alerts, codec, subjects
from aegis.contracts.messages import LookFound, SiteState
from aegis.runtime.bus import Msg

SHADOW = replace(SITE, state=SiteState.SHADOW)
DISARMED = replace(SITE, state=SiteState.DISARMED)


async def enrolled(world: World) -> Person:
    person = Person(world)
    await person.enrol()
    await person_known(world, person)
    return person


async def in_shadow(world: World, person: Person) -> None:
    """Switch to shadow and wait until it holds, which ``person`` walking by shows."""
    await world.site(SHADOW)

    async def told() -> bool:
        await person.walk_by()
        return bool(await person.told(subjects.SHADOW))

    await until(told, "the site is in shadow")


async def test_what_would_have_been_alerted_is_told_once_and_without_a_picture(world: World) -> None:
    asked: list[bytes] = []

    async def picture(message: Msg) -> bytes:
        asked.append(message.data)
        return codec.encode(LookFound(chip_png=b"the probe", frame_jpeg=b"the frame"))

    served = await world.bus.serve(subjects.look_requested(7, "*"), picture)
    ada, ben = await enrolled(world), await enrolled(world)
    await in_shadow(world, ben)
    if await ben.told():  # who walks by before match knows of it is still alerted

        async def settled() -> bool:
            return (await world.written())["KV_evidence"] == 2

        await until(settled, "the pictures of the alert before are kept")
    asked.clear()
    before, told = await world.written(), len(await ben.told())
    for number in range(1, 6):
        await ada.walk_by(look=number)
    would = await ada.alerted(alerts.WOULD_RAISE)
    assert (would.person, would.camera_name, would.chip, would.frame) == (ada.id.title(), "Gate", "", "")

    async def counted() -> bool:
        return await world.metric('aegis_shadow_alerts_total{event="raise"}') == 2

    await until(counted, "both are counted")
    await world.site()
    await control(world, lambda: Person(world))

    async def kept() -> bool:
        return (await world.written())["KV_evidence"] >= before["KV_evidence"] + 2

    await until(kept, "the pictures of the alert that was raised once armed are kept")
    await served.unsubscribe()
    after = await world.written()
    assert await ada.told() == []
    assert len(await ben.told()) == told
    assert after[subjects.SHADOW] == before[subjects.SHADOW] + 1
    assert after["KV_evidence"] == before["KV_evidence"] + 2, "those of the alert that was raised once armed"
    assert len(asked) == 1


async def test_arming_while_the_person_stands_there_alerts_and_shadow_ends_it(world: World) -> None:
    ada = await enrolled(world)
    await in_shadow(world, ada)
    await world.site()

    async def armed() -> bool:
        await ada.walk_by(camera="gate", look=2)
        return bool(await ada.told())

    await until(armed, "the person in view is alerted once the site is armed")
    await ada.alerted()
    # Not one of those below: who walks by before match knows of it is still alerted.
    await in_shadow(world, await enrolled(world))
    told = len(await ada.told())
    cora = await enrolled(world)
    for person in (ada, cora):
        await person.walk_by(look=3)
    await cora.alerted(alerts.WOULD_RAISE)
    assert await cora.told() == []
    assert len(await ada.told()) == told


async def test_what_a_person_says_in_one_state_is_no_part_of_the_story_in_the_other(world: World) -> None:
    ada = await enrolled(world)
    await ada.walk_by(ago=5)
    raised = await ada.alerted()
    await world.site(DISARMED)
    await in_shadow(world, ada)
    would = await ada.alerted(alerts.WOULD_RAISE)
    assert would.alert != raised.alert
