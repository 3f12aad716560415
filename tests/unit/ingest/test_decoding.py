"""The decoder on real streams of known truth: nobody who comes is missed, and what stands still costs little."""

import itertools
from collections.abc import Callable

import av
import numpy as np
import pytest
from tests.unit.ingest import streams
from tests.unit.ingest.streams import AT_ONCE, CONSTANT, EPOCH, FPS, LATER, PLAIN, REORDERED, Scene, blind, due, play

from aegis.ingest import packets
from aegis.ingest.decoding import BEAT_SECONDS
from aegis.ingest.packets import LONGEST_GROUP, Packet

KINDS = {
    "plain": PLAIN,
    "reordered": REORDERED,
    "pyramid": {"preset": "medium", "crf": "23", "g": "50", "bf": "3", "b-pyramid": "normal"},
    "open groups": REORDERED | {"x264-params": "open-gop=1"},
    "constant rate": {"preset": "veryfast", "g": "50", **CONSTANT},
    "long groups": REORDERED | {"g": "250", "x264-params": "scenecut=0"},
    "endless group": REORDERED | {"g": "10000", "x264-params": "scenecut=0"},
    "only keyframes": PLAIN | {"g": "1"},
}
VISITED = Scene(seconds=18, visits=[(8.28, 10.28), (14.52, 16.52)])


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def visited(kind: str) -> bytes:
    return VISITED.stream(**KINDS[kind])


def test_whoever_comes_is_looked_at_from_the_first_picture_on(kind: str, visited: bytes) -> None:
    played = play(visited)
    patience = AT_ONCE + LATER * (kind not in ("plain", "only keyframes"))
    for start, end in VISITED.visits:
        assert blind(played, start, end) <= patience
        first = min(look.at for look in played.looks if look.at >= start)
        # What is held back to bring pictures into order comes with a few more packets.
        assert min(look.given for look in played.looks if look.at >= start) - first <= 0.25


def test_the_pictures_are_those_that_full_decoding_gives(visited: bytes) -> None:
    streams.assert_decoded_in_full(visited)


def test_times_go_on_and_are_never_in_the_future(visited: bytes) -> None:
    looks = play(visited).looks
    assert looks
    for before, after in itertools.pairwise(looks):
        assert before.captured_at <= after.captured_at
        assert before.at < after.at
    for look in looks:
        assert look.captured_at <= EPOCH + look.given
        assert EPOCH + look.given - look.captured_at < 0.3


def test_stillness_is_passed_over_where_packets_tell(kind: str, visited: bytes) -> None:
    played = play(visited)
    if kind in ("constant rate", "only keyframes"):
        assert not any(telling for _, telling in played.telling)
        assert played.passed["packets"] == 0
    else:
        assert any(telling for _, telling in played.telling)
        assert played.passed["packets"] > 0.15 * played.packets
        # Who comes late in a long group costs it all again.
        assert played.decoded < (1.5 if kind in ("long groups", "endless group") else 0.85) * played.packets
    assert played.kept <= LONGEST_GROUP


@pytest.mark.parametrize("name", ["plain", "reordered", "constant rate", "long groups", "endless group"])
def test_who_stands_still_is_looked_at_at_the_beat(name: str) -> None:
    looks = play(Scene(seconds=40).stream(**KINDS[name])).looks
    gaps = np.diff([look.at for look in looks if look.at > 1])
    # While packets are passed over it is the keyframe after the beat, and at the latest two beats.
    assert gaps.max() <= (2 * BEAT_SECONDS + 0.2 if name == "long groups" else BEAT_SECONDS + 2.0)
    assert len(gaps) <= 40 / BEAT_SECONDS + 2


@pytest.mark.parametrize("name", ["plain", "reordered", "constant rate", "long groups"])
def test_who_comes_slowly_out_of_the_dark_is_noticed(name: str) -> None:
    scene = Scene(seconds=24, visits=[(8, 24)], fade=10, speed=2)
    stream = scene.stream(**KINDS[name])
    seen = [look.at for look in play(stream).between(8, 20)]
    # Half there, they are looked at again and again.
    assert len([at for at in seen if 10 <= at < 13]) >= 3
    assert len([at for at in seen if 13 <= at < 18]) >= 10


@pytest.mark.parametrize(
    ("light", "fewest", "most"),
    [
        (lambda clock: 50.0 * (clock >= 12), 3, 25),
        (lambda clock: max(0.0, clock - 8) * 2.0, 2, 60),
    ],
    ids=["at once", "slowly"],
)
def test_light_that_changes_is_looked_at_and_no_more(light: Callable[[float], float], fewest: int, most: int) -> None:
    scene = Scene(seconds=30, visits=[(26, 28)], light=light)
    stream = scene.stream(**PLAIN)
    played = play(stream)
    assert fewest <= len(played.between(10, 26)) <= most
    assert blind(played, 26, 28) <= AT_ONCE


@pytest.mark.parametrize("noise", [0.2, 0.75, 1.5])
@pytest.mark.parametrize("quality", ["18", "27"])
def test_noise_hides_nobody(noise: float, quality: str) -> None:
    scene = Scene(seconds=15, visits=[(10, 13)], noise=noise)
    stream = scene.stream(**PLAIN | {"crf": quality})
    played = play(stream)
    assert blind(played, 10, 13) <= AT_ONCE
    assert len(played.between(2, 10)) <= 10


def test_pictures_that_stand_alone_are_decoded_only_when_due() -> None:
    pictures = VISITED.pictures()
    stream = streams.encode(pictures, "mjpeg", "yuvj420p")
    played = play(stream)
    assert 0 <= played.decoded - due(stream) <= 2
    assert played.kept == 0
    for start, end in VISITED.visits:
        assert blind(played, start, end) <= AT_ONCE
    assert len(played.between(1.2, 8)) <= 4


def test_damaged_packets_cost_their_own_pictures() -> None:
    stream = Scene(seconds=20, visits=[(12, 16)]).stream(**PLAIN)

    def damage(number: int, packet: Packet) -> Packet:
        if number % 50 not in (0, 7) or not 100 <= number < 250:
            return packet
        broken: Packet = av.packet.Packet(bytes(packet)[: packet.size // 3] + b"\xff" * 40)  # type: ignore[assignment]
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
        broken.is_keyframe = packet.is_keyframe
        return broken

    assert blind(play(stream, change=damage), 12, 16) <= AT_ONCE


@pytest.mark.parametrize("name", ["plain", "reordered", "constant rate"])
def test_lost_packets_cost_a_group_at_most(name: str) -> None:
    stream = Scene(seconds=20, visits=[(12, 16)]).stream(**KINDS[name])
    played = play(stream, change=lambda number, packet: None if number % 37 == 5 else packet)
    assert len(played.between(12, 14)) >= 1
    assert len(played.between(14, 16)) >= 5


@pytest.mark.parametrize("jump", [-1000.0, -4.0, 50.0, 100_000.0])
@pytest.mark.parametrize("name", ["plain", "reordered", "constant rate"])
def test_a_clock_that_jumps_is_followed(name: str, jump: float) -> None:
    scene = Scene(seconds=30, visits=[(8, 11), (20, 24)])
    stream = scene.stream(**KINDS[name])
    at = 12.4

    def shift(number: int, packet: Packet) -> Packet:
        if number >= at * FPS and packet.pts is not None and packet.dts is not None and packet.time_base:
            packet.pts += round(jump / packet.time_base)
            packet.dts += round(jump / packet.time_base)
        return packet

    played = play(stream, change=shift)
    seen = [look for look in played.looks if 20 <= look.captured_at - EPOCH < 24]
    assert len(seen) >= 4 * streams.RATE - 1
    assert min(look.captured_at for look in seen) - EPOCH <= 20.25
    assert all(a.captured_at <= b.captured_at for a, b in itertools.pairwise(played.looks))
    assert name == "constant rate" or any(telling for clock, telling in played.telling if clock > 15)
    assert len([look for look in played.looks if 14 <= look.captured_at - EPOCH < 20]) <= 8


@pytest.mark.parametrize("name", ["plain", "constant rate"])
def test_packets_without_time_stamps_go_by_when_they_came(name: str) -> None:
    def strip(_: int, packet: Packet) -> Packet:
        packet.pts = packet.dts = None
        return packet

    played = play(VISITED.stream(**KINDS[name]), change=strip)
    for start, end in VISITED.visits:
        seen = [look.captured_at - EPOCH for look in played.looks if start <= look.captured_at - EPOCH < end]
        assert min(seen) <= start + 0.25
        assert max(np.diff(seen)) <= 0.3
    assert len(played.looks) <= 1.5 * streams.RATE * 10


@pytest.mark.parametrize("name", ["plain", "reordered", "long groups", "constant rate"])
def test_a_site_that_is_armed_again_sees_at_once(name: str) -> None:
    stream = Scene(seconds=24, visits=[(14, 24)]).stream(**KINDS[name])
    played = play(stream, wanted=lambda clock: not 5 <= clock < 15.5)
    assert len([look for look in played.looks if 5.2 <= look.given < 15.5]) == 0
    assert min(look.given for look in played.looks if look.given >= 15.5) <= 15.5 + LATER
    assert blind(played, 15.7, 23.5) <= AT_ONCE + LATER


def test_a_site_that_is_disarmed_decodes_next_to_nothing() -> None:
    played = play(Scene(seconds=24, visits=[(14, 20)]).stream(**PLAIN), wanted=lambda _: False)
    assert 1 <= played.decoded <= 10
    assert [look.at for look in played.looks] in ([], [0.0])


def test_a_disarmed_camera_without_keyframes_can_be_armed() -> None:
    scene = Scene(seconds=(LONGEST_GROUP + 200) / FPS, visits=[(LONGEST_GROUP / FPS + 3, 100)], width=160, height=192)
    armed = LONGEST_GROUP / FPS + 4
    played = play(scene.stream(**KINDS["endless group"]), wanted=lambda clock: clock >= armed)
    assert len(played.between(armed, armed + 2)) >= 9
    assert played.kept <= LONGEST_GROUP


def test_a_group_of_large_packets_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "LARGEST_GROUP", 20_000)
    stream = VISITED.stream(**KINDS["constant rate"])
    played = play(stream)
    assert played.kept < 20
    for start, end in VISITED.visits:
        assert blind(played, start, end) <= AT_ONCE + LATER


def test_a_stream_may_change_its_size() -> None:
    """As a camera does whose resolution is set anew: other pictures under the same address, from a keyframe on."""
    small = Scene(seconds=10).stream(**PLAIN)
    large = Scene(seconds=10, visits=[(6, 9)], width=640, height=480).stream(**PLAIN)
    played = play(streams.raw(small) + streams.raw(large))
    assert {look.grey.shape for look in played.looks} == {(192, 320), (480, 640)}
    seen = [look.captured_at - EPOCH for look in played.looks if 16 <= look.captured_at - EPOCH < 19]
    assert len(seen) >= 14
    assert min(seen) <= 16.25


def test_time_stamps_of_the_past_are_forgotten() -> None:
    stream = Scene(seconds=60, width=64, height=48).stream(**PLAIN)
    for wanted in (lambda _: True, lambda _: False):
        assert play(stream, wanted=wanted).remembered <= packets.REMEMBERED
