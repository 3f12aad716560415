"""Files as cameras: at their own pace, once or for ever, and what is said of those that cannot be played."""

import itertools
import shutil
from pathlib import Path

import cv2
import numpy as np
from tests.bus import until
from tests.integration.ingest.conftest import System

from aegis.contracts import cloudevents
from aegis.contracts.messages import SiteState


async def test_a_clip_is_played_once_when_somebody_looks(system: System, clip: Path) -> None:
    await system.site(run="first")
    revision = await system.camera("door", f"file:{clip}", name="Front door")
    async with system.ingest(run="first"):
        await until(lambda: _is(system, "door", "waiting"), "the camera waits for detect and match")
        assert (await system.status())["busy"] == 1
        assert not system.frames["door"]
        async with system.readers():
            event = await system.told("door", "ended")
            await until(lambda: _busy(system, 0), "nothing is in hand")

        frames = system.frames["door"]
        assert len(frames) == 8
        for frame in frames:
            picture = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (480, 640, 3)
        assert [frame.sequence for frame in frames] == list(range(8))
        assert len({frame.lease for frame in frames}) == 1
        for number, frame in enumerate(frames):
            assert frame.media_time is not None
            # On its way to the common beat a look comes up to 0.04 s sooner or later, as a picture of 1/15 s has it.
            assert -0.05 < frame.media_time - 0.2 * number < 0.04 + 1 / 15
            assert abs(frame.captured_at - frames[0].captured_at - frame.media_time) < 0.15
        assert [told.type.split(".")[2] for told in system.events["door"]] == ["online", "ended"]
        assert event.data["revision"] == revision
        assert event.data["run"] == "first"
        assert event.data["camera_name"] == "Front door"
        assert "reason" not in event.data or not event.data["reason"]
        assert {headers["content-type"] for headers in system.headers} == {cloudevents.CONTENT_TYPE}
        metrics = (await system.status())["metrics"]
        assert metrics['aegis_frames_captured_total{camera="door"}'] == 8
        assert metrics['aegis_leases_held{kind="ingest"}'] == 1

    async with system.readers():
        async with system.ingest(run="first"):
            await until(lambda: _is(system, "door", "ended"), "it is known to have ended")
            assert len(system.frames["door"]) == 8
            await system.camera("door", f"file:{clip}", fps=10.0)
            await until(lambda: len(system.frames["door"]) == 8 + 16, "the changed camera is played")
            await until(lambda: _is(system, "door", "ended"), "it ends again")
        async with system.ingest(run="second"):
            # What the first run left of the policy does not count: nothing is opened before the site is known anew.
            await until(lambda: _held(system), "the camera is held")
            assert await system.state("door") == ""
            await system.site(run="second")
            await system.delivers("door")


async def test_a_loop_plays_for_ever_and_only_while_armed(system: System, clip: Path) -> None:
    await system.site(SiteState.DISARMED)
    await system.camera("hall", f"file:{clip}", loop=True, fps=10.0)
    async with system.ingest():
        await system.told("hall", "online")
        assert not system.frames["hall"]
        await system.site()
        await system.delivers("hall", 36)
        frames = system.frames["hall"]
        gaps = [later.captured_at - earlier.captured_at for earlier, later in itertools.pairwise(frames)]
        assert all(0.02 < gap < 0.25 for gap in gaps), gaps
        positions = [frame.media_time or 0.0 for frame in frames]
        assert sum(later < earlier for earlier, later in itertools.pairwise(positions)) >= 2
        assert [frame.sequence for frame in frames] == list(range(len(frames)))

        await system.site(SiteState.DISARMED)
        await until(lambda: _stopped(system), "frames stop")
        assert await _is(system, "hall", "online")
        assert (await system.status())["busy"] == 0
        await system.site()
        await system.delivers("hall")
        await system.remove("hall")
        await until(lambda: _is(system, "hall", ""), "the camera is let go")
    assert [told.type for told in system.events["hall"]] == ["aegis.camera.online.v1"]


async def test_files_that_cannot_be_played(system: System, clip: Path, tmp_path: Path) -> None:
    text, noise, cut, late = (tmp_path / name for name in ("notes.txt", "noise.mp4", "cut.mkv", "late.mkv"))
    _write_bad_files(clip, text, noise, cut)
    await system.site()
    for name, path in (("text", text), ("noise", noise), ("cut", cut), ("late", late), ("folder", tmp_path)):
        await system.camera(name, f"file:{path}")
    async with system.readers(), system.ingest():
        await system.told("text", "offline", "no video")
        await system.told("noise", "offline", "no video")
        await system.told("folder", "offline", "directory")
        await system.told("late", "offline", "not found")
        event = await system.told("cut", "ended", "ended early")
        assert "of 1.6 s" in str(event.data["reason"])
        assert 3 <= len(system.frames["cut"]) <= 6
        shutil.copy(clip, late)
        await system.told("late", "ended")
        assert not system.frames["text"] + system.frames["noise"]
        # Each was tried again and again, and told once.
        assert len(system.events["text"]) == len(system.events["noise"]) == 1


def _write_bad_files(clip: Path, text: Path, noise: Path, cut: Path) -> None:
    text.write_text("This is no video.\n" * 500)
    noise.write_bytes(np.random.default_rng(1).bytes(100_000))
    content = clip.read_bytes()
    cut.write_bytes(content[: len(content) // 2])


async def _is(system: System, camera: str, state: str) -> bool:
    return await system.state(camera) == state


async def _held(system: System) -> bool:
    return bool((await system.status())["metrics"]['aegis_leases_held{kind="ingest"}'] == 1)


async def _busy(system: System, count: int) -> bool:
    return bool((await system.status())["busy"] == count)


async def _stopped(system: System) -> bool:
    name = 'aegis_frames_captured_total{camera="hall"}'
    before = (await system.status())["metrics"][name]
    online = await _is(system, "hall", "online")
    seen = len(system.frames["hall"])
    try:
        await until(lambda: len(system.frames["hall"]) > seen, "another frame", 0.5)
    except AssertionError:
        return online and bool((await system.status())["metrics"][name] == before)
    return False
