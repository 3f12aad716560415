"""Pictures that no other one needs are left out: at less cost, and nobody is seen later or less often."""

import io
from collections.abc import Callable

import av
import pytest
from av.video.frame import PictureType, VideoFrame
from tests.unit.ingest import streams
from tests.unit.ingest.streams import AT_ONCE, CONSTANT, EPOCH, FPS, LATER, RATE, Played, Scene, blind, play

from aegis.ingest import sparing
from aegis.ingest.packets import LONGEST_GROUP, Packet

ONE_REFERENCE = {"preset": "veryfast", "g": "50", **CONSTANT}
"""As this preset codes, no other picture builds on one of the B kind, unless it is of that kind itself."""
SEVERAL_REFERENCES = {"preset": "medium", "g": "50", "refs": "4", **CONSTANT}
KINDS = {
    "pyramid": ONE_REFERENCE,
    "open groups": ONE_REFERENCE | {"x264-params": "nal-hrd=cbr:open-gop=1"},
    "long groups": ONE_REFERENCE | {"g": "80"},
    "short groups": ONE_REFERENCE | {"g": "12"},
}
VISITED = Scene(seconds=40, visits=[(12.28, 14.28), (25.0, 27.0), (36.52, 39.0)])


def as_it_is(stream: bytes) -> bytes:
    return stream


@pytest.fixture(scope="module", params=KINDS)
def stream(request: pytest.FixtureRequest) -> bytes:
    return VISITED.stream(**KINDS[request.param])


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Played]:
    """Play a stream and leave out no more than that on which nothing builds."""

    def play_whole(stream: bytes) -> Played:
        with monkeypatch.context() as patch:
            patch.setattr(sparing, "PROOF", 10**9)
            return play(stream)

    return play_whole


@pytest.mark.parametrize("packed", [as_it_is, streams.transport], ids=["parameters before", "parameters within"])
def test_nobody_is_seen_later_or_less_often(
    stream: bytes, packed: Callable[[bytes], bytes], without: Callable[[bytes], Played]
) -> None:
    packed_stream = packed(stream)
    spared, whole = play(packed_stream), without(packed_stream)
    assert sum(spared.spared) > 0.3 * spared.packets
    assert not any(whole.spared)
    assert spared.decoded < 0.9 * whole.decoded
    for start, end in VISITED.visits:
        ours = [look for look in spared.looks if start <= look.captured_at - EPOCH < end]
        others = [look for look in whole.looks if start <= look.captured_at - EPOCH < end]
        assert len(ours) >= len(others) - 1
        assert ours[0].given <= others[0].given + 1 / FPS
        assert blind(spared, start, end) <= AT_ONCE + LATER


def test_the_pictures_are_those_that_full_decoding_gives(stream: bytes) -> None:
    streams.assert_decoded_in_full(stream)


@pytest.mark.parametrize("noise", [0.2, 1.0])
@pytest.mark.parametrize("rate", ["200k", "1500k"])
def test_nobody_is_hidden_by_noise(noise: float, rate: str) -> None:
    scene = Scene(seconds=24, visits=[(4, 9), (18, 22)], noise=noise)
    constant = {name: rate if value == "600k" else value for name, value in CONSTANT.items()}
    played = play(scene.stream(**ONE_REFERENCE | constant))
    assert any(played.spared)
    assert blind(played, 18, 22) <= AT_ONCE + LATER


@pytest.mark.parametrize(
    "options",
    [
        SEVERAL_REFERENCES,
        {"preset": "veryfast", "g": "50", "bf": "0", **CONSTANT},
        {"preset": "veryfast", "g": "50", "bf": "8", "b_strategy": "0", **CONSTANT},
    ],
    ids=["others build on B pictures", "no B pictures", "too few others"],
)
def test_what_cannot_be_left_out_is_decoded(options: dict[str, str]) -> None:
    scene = Scene(seconds=16, visits=[(4, 6), (12, 14)], noise=1.5)
    played = play(scene.stream(**options))
    assert not any(played.spared)
    for start, end in scene.visits:
        assert blind(played, start, end) <= AT_ONCE + 2 * LATER


@pytest.mark.parametrize(("group", "most"), [("50", 50), ("1000", LONGEST_GROUP)], ids=["groups", "an endless group"])
def test_where_nothing_can_be_left_out_hardly_a_picture_is_remembered(
    group: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed: list[int] = []
    exact = sparing._sum

    def counted(frame: VideoFrame) -> int:
        summed.append(exact(frame))
        return summed[-1]

    monkeypatch.setattr(sparing, "_sum", counted)
    stream = Scene(seconds=16, visits=[(0, 16)]).stream(**streams.PLAIN | {"g": group})
    assert play(stream).decoded > LONGEST_GROUP
    assert 0 < len(summed) <= most


@pytest.mark.parametrize(
    ("other", "again"),
    [({"preset": "veryfast", "g": "50", "bf": "8", "b_strategy": "0"}, 300.0), (SEVERAL_REFERENCES, 4.0)],
    ids=["too few others", "others build on B pictures"],
)
def test_a_camera_that_comes_to_encode_in_another_way_is_decoded_again(
    other: dict[str, str], again: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparing, "AGAIN_SECONDS", again)
    before = Scene(seconds=10, visits=[(1, 10)], noise=1.5)
    after = Scene(seconds=20, visits=[(0, 20)], noise=1.5)
    stream = streams.joined(before.stream(**ONE_REFERENCE), after.stream(**CONSTANT | other))
    played = play(stream)
    assert played.spared[9 * FPS]
    assert not any(played.spared[18 * FPS :])
    assert blind(played, 18, 28) <= AT_ONCE + 2 * LATER


def test_a_damaged_keyframe_hides_nobody() -> None:
    scene = Scene(seconds=30, visits=[(3, 9), (18, 20), (26, 28)])

    def damage(number: int, packet: Packet) -> Packet:
        if not packet.is_keyframe or not 10 * FPS < number < 16 * FPS:
            return packet
        broken: Packet = av.packet.Packet(bytes(packet)[: packet.size // 4])  # type: ignore[assignment]
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
        broken.is_keyframe = True
        return broken

    played = play(scene.stream(**ONE_REFERENCE), change=damage)
    assert any(played.spared)
    for start, end in scene.visits:
        assert blind(played, start, end) <= AT_ONCE + LATER


def test_a_camera_that_was_disarmed_sees_again_at_once() -> None:
    stream = Scene(seconds=30, visits=[(3, 9), (20, 28)]).stream(**ONE_REFERENCE)
    played = play(stream, wanted=lambda clock: not 12 <= clock < 21.5)
    assert played.spared[11 * FPS]
    assert min(look.given for look in played.looks if look.given >= 21.5) <= 21.5 + LATER
    assert blind(played, 21.7, 27.5) <= AT_ONCE + LATER


def test_the_rate_of_looks_decides_how_much_is_left_out() -> None:
    stream = Scene(seconds=16, visits=[(3, 12)]).stream(**ONE_REFERENCE)
    assert any(play(stream, rate=RATE).spared)
    assert not any(play(stream, rate=2 * RATE).spared)


def test_the_stream_is_one_that_has_something_to_leave_out(stream: bytes) -> None:
    with av.open(io.BytesIO(stream), "r") as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]
    assert kinds.count(PictureType.B) > 0.5 * len(kinds)
