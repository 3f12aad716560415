"""Disarmed, no face is processed: not at a start after an armed run either, and from the moment it is told."""

from pathlib import Path

from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, running


async def searched(system: System) -> int:
    return int((await system.json("status"))["counts"]["frames searched"])


async def test_disarmed_means_that_no_face_is_processed(people: People, tmp_path: Path) -> None:
    cameras = file_cameras([people.clip("again.mkv")], loop=True)

    async def processing() -> bool:
        return await searched(system) > 0

    async with running(tmp_path, SITE + cameras) as system:
        await system.enrol("person a", people.photo("help.mkv"))
        await until(processing, "an armed site searches frames")
        assert [path.name.partition(".")[0] for path in system.state.frames.iterdir()] == ["again"]
    assert not system.state.frames.exists()

    async with running(tmp_path, SITE.replace(", state: armed", "") + cameras) as system:
        assert "disarmed" in system.output
        await until(lambda: "camera again online" in system.output, "the camera is connected")
        status = await system.json("status")
        assert status["site"]["state"] == "disarmed"
        assert (status["counts"]["frames captured"], status["counts"]["frames searched"]) == (0, 0)

        await system.command("arm")
        await until(processing, "frames are searched once armed")
        await system.command("disarm")

        async def counted() -> tuple[int, int]:
            counts = (await system.json("status"))["counts"]
            return counts["frames captured"], counts["frames searched"]

        async def still() -> bool:
            # A slow machine drops frames, so not every captured one was searched.
            return await counted() == await counted() == await counted()

        await until(still, "every frame in hand is through, and no more come")
        assert list(system.state.frames.iterdir()) == []
        assert (await system.json("status"))["counts"]["faces"] > 0
