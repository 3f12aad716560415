"""Where packets tell nothing, pictures are but sensed: at less cost, and nobody is seen later or less often."""

import io
import itertools
from collections.abc import Callable

import av
import pytest
from av.video.frame import PictureType
from tests.unit.ingest import streams
from tests.unit.ingest.streams import AT_ONCE, CONSTANT, EPOCH, FPS, LATER, RATE, Played, Scene, blind, play

from aegis.ingest import sensing
from aegis.ingest.packets import Packet

ONE_REFERENCE = {"preset": "veryfast", "g": "50", **CONSTANT}
"""As this preset codes, no other picture builds on one of the B kind, unless it is of that kind itself."""
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
    """Play a stream and sense nothing of it."""

    def play_whole(stream: bytes) -> Played:
        with monkeypatch.context() as patch:
            patch.setattr(sensing, "LOAN", -1e9)
            return play(stream)

    return play_whole


def wakes(played: Played) -> list[float]:
    """Give when sensing was left, in seconds of the wall clock since the start."""
    pairs = itertools.pairwise(played.sensed)
    return [(number + 1) / FPS for number, (before, after) in enumerate(pairs) if before and not after]


@pytest.mark.parametrize("packed", [as_it_is, streams.transport], ids=["parameters before", "parameters within"])
def test_nobody_is_seen_later_or_less_often(
    stream: bytes, packed: Callable[[bytes], bytes], without: Callable[[bytes], Played]
) -> None:
    packed_stream = packed(stream)
    sensed, whole = play(packed_stream), without(packed_stream)
    assert sum(sensed.sensed) > 0.15 * sensed.packets
    assert not any(whole.sensed)
    assert sensed.decoded <= whole.decoded + sensing.LOAN / 2
    for start, end in VISITED.visits:
        ours = [look for look in sensed.looks if start <= look.captured_at - EPOCH < end]
        others = [look for look in whole.looks if start <= look.captured_at - EPOCH < end]
        assert len(ours) >= len(others) - 1
        assert ours[0].captured_at <= others[0].captured_at + 1 / FPS
        assert ours[0].given <= others[0].given + 1 / FPS
        assert blind(sensed, start, end) <= AT_ONCE + LATER


def test_noise_wakes_nobody(stream: bytes) -> None:
    for at in wakes(play(stream)):
        # Pictures come out of order, so that who comes is sensed with a packet of earlier ones.
        assert any(start - 0.3 <= at <= end for start, end in VISITED.visits) or at > VISITED.seconds - 0.2


@pytest.mark.parametrize("noise", [0.2, 1.0])
@pytest.mark.parametrize("rate", ["200k", "1500k"])
def test_nobody_is_hidden_by_noise(noise: float, rate: str) -> None:
    scene = Scene(seconds=24, visits=[(18, 22)], noise=noise)
    constant = {name: rate if value == "600k" else value for name, value in CONSTANT.items()}
    played = play(scene.stream(**ONE_REFERENCE | constant))
    assert any(played.sensed)
    assert blind(played, 18, 22) <= AT_ONCE + LATER


def test_the_beat_goes_on_while_sensing(without: Callable[[bytes], Played]) -> None:
    stream = Scene(seconds=40).stream(**ONE_REFERENCE)
    played = play(stream)
    assert played.decoded < 0.75 * without(stream).decoded
    assert sum(played.sensed) > 0.8 * played.packets
    times = [look.at for look in played.looks if look.at > 1]
    assert 5 <= len(times) <= 8
    assert all(4.9 <= later - at <= 7.1 for at, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "medium", "g": "50", "refs": "4", **CONSTANT},
        {"preset": "veryfast", "g": "50", "bf": "0", **CONSTANT},
        {"preset": "veryfast", "g": "50", "bf": "8", "b_strategy": "0", **CONSTANT},
    ],
    ids=["others build on B pictures", "no B pictures", "too few others"],
)
def test_what_cannot_be_left_out_is_decoded(options: dict[str, str]) -> None:
    scene = Scene(seconds=16, visits=[(4, 6), (12, 14)], noise=1.5)
    played = play(scene.stream(**options))
    assert not any(played.sensed)
    for start, end in scene.visits:
        assert blind(played, start, end) <= AT_ONCE + 3 * LATER


def test_no_more_is_decoded_again_than_was_saved(without: Callable[[bytes], Played]) -> None:
    """People who come and go as quickly as sensing begins cost a loan at most."""
    visits = [(start + 0.9 * (start % 8) / 8, start + 0.9 * (start % 8) / 8 + 0.4) for start in range(4, 58, 4)]
    stream = Scene(seconds=60, visits=visits).stream(**ONE_REFERENCE)
    assert play(stream).decoded <= without(stream).decoded + sensing.LOAN


def test_a_damaged_keyframe_hides_nobody() -> None:
    scene = Scene(seconds=30, visits=[(18, 20), (26, 28)])

    def damage(number: int, packet: Packet) -> Packet:
        if not packet.is_keyframe or not 10 * FPS < number < 16 * FPS:
            return packet
        broken: Packet = av.packet.Packet(bytes(packet)[: packet.size // 4])  # type: ignore[assignment]
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
        broken.is_keyframe = True
        return broken

    played = play(scene.stream(**ONE_REFERENCE), change=damage)
    assert any(played.sensed)
    for start, end in scene.visits:
        assert blind(played, start, end) <= AT_ONCE + LATER


def test_a_camera_that_is_disarmed_while_sensed_sees_again_at_once() -> None:
    stream = Scene(seconds=30, visits=[(20, 28)]).stream(**ONE_REFERENCE)
    played = play(stream, wanted=lambda clock: not 12 <= clock < 21.5)
    assert played.sensed[11 * FPS]
    assert not any(played.sensed[13 * FPS : 21 * FPS])
    assert min(look.given for look in played.looks if look.given >= 21.5) <= 21.5 + LATER
    assert blind(played, 21.7, 27.5) <= AT_ONCE + LATER


def test_the_rate_of_looks_decides_how_much_is_left_out() -> None:
    stream = Scene(seconds=16).stream(**ONE_REFERENCE)
    assert any(play(stream, rate=RATE).sensed)
    assert not any(play(stream, rate=2 * RATE).sensed)


def test_the_stream_is_one_that_has_something_to_leave_out(stream: bytes) -> None:
    with av.open(io.BytesIO(stream), "r") as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]
    assert kinds.count(PictureType.B) > 0.5 * len(kinds)
