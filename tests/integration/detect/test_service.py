"""Detect as a process: frames in, looks out, pictures on request and only for a while."""

import asyncio
import itertools
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.bus import until
from tests.integration.match.world import MALFORMED, SITE, World

from aegis.contracts import codec, subjects
from aegis.contracts.messages import FacesDetected, FrameCaptured, LookFound, LookRequested, SharedPicture, SiteState
from aegis.runtime.shared_frames import Writer
from aegis.vision.pictures import read_picture

_numbers = itertools.count(1)
EMPTY_ROOM = cv2.imencode(".jpg", np.full((240, 320, 3), 120, np.uint8))[1].tobytes()


class Camera:
    """A camera, as ingest stands for it. Each has a partition of its own."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"camera{number}"
        self.partition = number
        self.frames = subjects.frame_captured(number, self.name)
        self.pictures = subjects.look_requested(number, self.name)
        self._sequence = itertools.count(1)

    async def begin(self) -> None:
        """Add it and wait until detect listens to it."""
        await self.world.camera(self.name, self.partition)

        async def held() -> bool:
            return self.partition == int(await self.world.metric('aegis_leases_held{kind="detect"}'))

        await until(held, f"{self.partition} partitions are held")

    async def send(self, jpeg: bytes, *, lease: int = 1, ago: float = 0.0, shared: SharedPicture | None = None) -> None:
        frame = FrameCaptured(
            camera=self.name,
            lease=lease,
            sequence=next(self._sequence),
            captured_at=time.time() - ago,
            jpeg=jpeg,
            shared=shared,
        )
        await self.world.bus.publish(self.frames, codec.encode(frame))

    async def looks(self) -> FacesDetected | None:
        message = await self.world.newest(subjects.FACES, subjects.face_detected(self.partition, self.name))
        return codec.decode(FacesDetected, message) if message is not None else None

    async def seen(self, jpeg: bytes) -> FacesDetected:
        """Send a frame until looks come of it."""
        found: list[FacesDetected] = []

        async def come() -> bool:
            await self.send(jpeg)
            await asyncio.sleep(0.1)
            if faces := await self.looks():
                found.append(faces)
            return bool(found)

        await until(come, f"looks of {self.name}", 8)
        return found[0]

    async def dropped(self, reason: str) -> float:
        return await self.world.metric(f'aegis_frames_dropped_total{{camera="{self.name}",reason="{reason}"}}')

    async def refused(self, reason: str) -> None:
        async def once() -> bool:
            return await self.dropped(reason) == 1

        await until(once, f"a frame is refused as {reason}", 5)

    async def processed(self) -> float:
        return await self.world.metric(f'aegis_frames_processed_total{{camera="{self.name}"}}')

    async def picture(self, asked: LookRequested) -> LookFound:
        return codec.decode(LookFound, await self.world.bus.request(self.pictures, codec.encode(asked), patience=3))


@pytest.fixture
async def camera(world: World) -> Camera:
    made = Camera(world, next(_numbers))
    await made.begin()
    return made


async def test_a_face_becomes_a_look_whose_picture_can_be_had(camera: Camera, portrait: bytes) -> None:
    faces = await camera.seen(portrait)
    (look,) = faces.looks
    assert (faces.camera, faces.detector, look.track) == (camera.name, "yunet-2023mar", 1)
    assert len(look.chip) == 112 * 112 * 3
    asked = LookRequested(camera=camera.name, lease=faces.lease, track=look.track, look=look.look)
    found = await camera.picture(asked)
    assert found.problem == ""
    chip = cv2.imdecode(np.frombuffer(found.chip_png, np.uint8), cv2.IMREAD_COLOR)
    assert chip is not None
    assert chip.tobytes() == look.chip
    assert found.frame_jpeg.startswith(b"\xff\xd8")
    for wrong in (
        replace(asked, look=99),
        replace(asked, track=99),
        replace(asked, lease=asked.lease + 1),
        replace(asked, camera="another"),
    ):
        assert "forgotten" in (await camera.picture(wrong)).problem


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_frame_that_cannot_be_read_is_put_aside_and_the_next_is_searched(camera: Camera, case: str) -> None:
    body, problem = MALFORMED[case]
    await camera.world.bus.publish(camera.frames, body)
    assert problem in await camera.world.dead_letter(camera.frames)
    await camera.send(EMPTY_ROOM)

    async def searched() -> bool:
        return await camera.processed() == 1

    await until(searched, "the next frame is searched", 5)
    await camera.world.unharmed()


@pytest.mark.parametrize("jpeg", [b"", b"no picture"])
async def test_a_frame_whose_picture_is_broken_is_put_aside(camera: Camera, jpeg: bytes, portrait: bytes) -> None:
    await camera.send(jpeg)
    assert "picture" in await camera.world.dead_letter(camera.frames)
    await camera.seen(portrait)
    await camera.world.unharmed()


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_request_that_cannot_be_read_is_put_aside_and_the_next_is_answered(camera: Camera, case: str) -> None:
    body, problem = MALFORMED[case]
    await camera.world.bus.publish(camera.pictures, body)
    assert problem in await camera.world.dead_letter(camera.pictures)
    asked = LookRequested(camera=camera.name, lease=1, track=1, look=1)
    assert "forgotten" in (await camera.picture(asked)).problem
    await camera.world.unharmed()


async def test_a_frame_in_memory_is_searched_and_one_that_is_overwritten_is_not(
    camera: Camera, portrait: bytes, frames: Path
) -> None:
    image = read_picture(portrait)
    assert image is not None
    height, width = image.shape[:2]
    planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
    writer = Writer(frames, camera.name, 1)
    lies = writer.write(width, height, [planes])
    await camera.send(b"", shared=lies)
    found: list[FacesDetected] = []

    async def come() -> bool:
        found.extend(filter(None, [await camera.looks()]))
        return bool(found)

    await until(come, "a look", 5)
    (look,) = found[0].looks
    asked = LookRequested(camera=camera.name, lease=found[0].lease, track=look.track, look=look.look)
    picture = read_picture((await camera.picture(asked)).frame_jpeg)
    assert picture is not None
    assert picture.shape == image.shape
    writer.close()
    await camera.send(b"", shared=lies)
    await camera.refused("overwritten")
    await camera.world.unharmed()


async def test_old_foreign_and_superseded_frames_are_not_searched(camera: Camera, portrait: bytes) -> None:
    world = camera.world
    foreign = FrameCaptured(camera="another", lease=1, sequence=1, captured_at=time.time(), jpeg=portrait)
    await camera.send(portrait, ago=2.5)
    await camera.refused("old")
    await world.bus.publish(camera.frames, codec.encode(foreign))
    await camera.refused("lease")
    await camera.send(EMPTY_ROOM, lease=9)

    async def searched() -> bool:
        return await camera.processed() == 1

    await until(searched, "the newer lease's frame is searched", 5)
    await camera.send(portrait, lease=8)
    await camera.refused("superseded")
    assert await camera.looks() is None


async def test_while_disarmed_nothing_is_searched_and_no_picture_is_kept(camera: Camera, portrait: bytes) -> None:
    faces = await camera.seen(portrait)
    look = faces.looks[0]
    await camera.world.site(replace(SITE, state=SiteState.DISARMED))

    async def disarmed() -> bool:
        await camera.send(portrait)
        return await camera.dropped("disarmed") > 0

    await until(disarmed, "frames are refused", 5)
    searched = await camera.processed()
    asked = LookRequested(camera=camera.name, lease=faces.lease, track=look.track, look=look.look)
    assert "forgotten" in (await camera.picture(asked)).problem
    assert await camera.processed() == searched


async def test_a_silent_camera_s_faces_are_forgotten_while_another_is_busy(world: World, portrait: bytes) -> None:
    silent, busy = Camera(world, next(_numbers)), Camera(world, next(_numbers))
    await silent.begin()
    await busy.begin()
    await silent.seen(portrait)
    began = time.monotonic()

    async def forgotten() -> bool:
        await busy.send(EMPTY_ROOM)
        await asyncio.sleep(0.1)
        return await world.metric("aegis_tracks") == 0

    await until(forgotten, "no track is left", 8)
    assert time.monotonic() - began < 6
