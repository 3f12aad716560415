"""Embed as a process: looks in, unit vectors out, and no picture any further."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.bus import until
from tests.integration.match.world import MALFORMED, SITE, World

from aegis.contracts import codec, subjects
from aegis.contracts.messages import EmbeddedLook, FacesDetected, FacesEmbedded, Look, SiteState

_numbers = itertools.count(1)
CHIP = 112 * 112 * 3


def look(number: int, ago: float = 0.0, size: int = CHIP) -> Look:
    at = time.time() - ago
    chip = np.random.default_rng(number).integers(0, 255, size, np.uint8).tobytes()
    return Look(
        track=1,
        look=number,
        captured_at=at - 1,
        first_captured_at=at - 2,
        seen_at=at,
        quality=0.5,
        media_time=3.5,
        chip=chip,
    )


class Gate:
    """A camera, as detect stands for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = f"gate{next(_numbers)}"
        self.faces = subjects.face_detected(3, self.name)

    async def send(self, *looks: Look) -> None:
        message = FacesDetected(camera=self.name, lease=4, detector="d", looks=looks)
        await self.world.bus.store(self.faces, codec.encode(message))

    async def vectors(self) -> FacesEmbedded | None:
        message = await self.world.newest(subjects.VECTORS, subjects.face_embedded(3, self.name))
        return codec.decode(FacesEmbedded, message) if message is not None else None

    async def embedded(self, *looks: Look) -> tuple[EmbeddedLook, ...]:
        await self.send(*looks)
        found: list[FacesEmbedded] = []

        async def come() -> bool:
            if faces := await self.vectors():
                found.append(faces)
            return bool(found)

        await until(come, f"vectors of {self.name}", 8)
        assert (found[0].camera, found[0].lease, found[0].detector) == (self.name, 4, "d")
        assert found[0].embedder == "sface-2021dec.1"
        return found[0].looks


@pytest.fixture
def gate(world: World) -> Gate:
    return Gate(world)


async def test_looks_become_unit_vectors_in_their_order_and_nothing_else_is_changed(gate: Gate) -> None:
    sent = [look(number) for number in range(1, 13)]
    came = await gate.embedded(*sent)
    assert [seen.look for seen in came] == list(range(1, 13))
    for one, other in zip(sent, came, strict=True):
        vector = np.frombuffer(other.vector, "<f4")
        assert vector.shape == (128,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
        assert replace(other, vector=b"") == EmbeddedLook(
            track=one.track,
            look=one.look,
            captured_at=one.captured_at,
            first_captured_at=one.first_captured_at,
            seen_at=one.seen_at,
            media_time=one.media_time,
            quality=one.quality,
            vector=b"",
        )
    (alone,) = await Gate(gate.world).embedded(sent[7])
    near = float(np.frombuffer(alone.vector, "<f4") @ np.frombuffer(came[7].vector, "<f4"))
    assert near == pytest.approx(1, abs=1e-4), "a batch changes no vector"


async def test_a_look_that_is_sent_again_has_the_same_vector_without_being_embedded_again(gate: Gate) -> None:
    first = look(1)
    (before,) = await gate.embedded(first)
    embedded = await gate.world.metric("aegis_looks_embedded_total")
    again = replace(first, seen_at=time.time())
    await gate.send(again, look(2))

    async def come() -> bool:
        faces = await gate.vectors()
        return faces is not None and len(faces.looks) == 2

    await until(come, "vectors of both", 5)
    faces = await gate.vectors()
    assert faces is not None
    assert faces.looks[0] == replace(before, seen_at=again.seen_at)
    assert faces.looks[1].vector != before.vector
    assert await gate.world.metric("aegis_looks_embedded_total") == embedded + 1


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_message_that_cannot_be_read_is_put_aside_and_the_next_is_embedded(gate: Gate, case: str) -> None:
    body, problem = MALFORMED[case]
    await gate.world.bus.store(gate.faces, body)
    assert problem in await gate.world.dead_letter(gate.faces)
    assert len(await gate.embedded(look(1))) == 1
    await gate.world.unharmed()


@pytest.mark.parametrize("size", [0, CHIP - 1, CHIP + 1, 300_000])
async def test_a_chip_of_another_size_is_put_aside_by_name(gate: Gate, size: int) -> None:
    await gate.send(look(1), look(2, size=size))
    assert "looks.chip" in await gate.world.dead_letter(gate.faces)
    assert await gate.vectors() is None
    assert len(await gate.embedded(look(3))) == 1
    await gate.world.unharmed()


async def test_a_message_without_looks_is_nothing(gate: Gate) -> None:
    await gate.send()
    assert len(await gate.embedded(look(1))) == 1


async def test_what_is_too_old_is_not_embedded(gate: Gate) -> None:
    expired = await gate.world.metric("aegis_looks_expired_total")
    await gate.send(look(1, ago=6), look(2, ago=7))

    async def passed_over() -> bool:
        return await gate.world.metric("aegis_looks_expired_total") == expired + 2

    await until(passed_over, "the looks are passed over", 5)
    assert await gate.vectors() is None
    assert len(await gate.embedded(look(3))) == 1


async def test_while_disarmed_nothing_is_embedded(gate: Gate) -> None:
    await gate.world.site(replace(SITE, state=SiteState.DISARMED))
    probe = Gate(gate.world)
    expired = await gate.world.metric("aegis_looks_expired_total")

    async def disarmed() -> bool:
        await probe.send(look(1))
        return await gate.world.metric("aegis_looks_expired_total") > expired

    await until(disarmed, "looks are passed over", 5)
    embedded = await gate.world.metric("aegis_looks_embedded_total")
    expired = await gate.world.metric("aegis_looks_expired_total")
    await gate.send(look(2))

    async def passed_over() -> bool:
        return await gate.world.metric("aegis_looks_expired_total") > expired

    await until(passed_over, "the look is passed over", 5)
    assert await gate.world.metric("aegis_looks_embedded_total") == embedded
    assert await gate.vectors() is None
