"""A stream whose parameters say that its pictures come in order gives them at once."""

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ingest import streams
from tests.unit.ingest.streams import CONSTANT, Scene

from aegis.ingest.sps import HEADERS, START, unordered

STREAM = {"preset": "veryfast", "g": "25"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(seconds=2)


def delay(stream: bytes, *, hasten: bool) -> tuple[set[int], list[bytes]]:
    """Give by how many time stamps pictures come behind their own packets, and the pictures in grey."""
    late: set[int] = set()
    pictures: list[bytes] = []
    with av.open(io.BytesIO(stream), "r") as container:
        source = container.streams.video[0]
        codec = av.CodecContext.create("h264", "r")
        before = source.codec_context.extradata or b""
        within = before[:1] != b"\1"
        codec.extradata = unordered(before) if hasten else before
        codec.thread_count = 1
        codec.skip_frame = "BIDIR"
        for packet in container.demux(source):
            if not packet.size:
                break
            data = av.packet.Packet(unordered(bytes(packet)) if hasten and within else bytes(packet))
            data.pts, data.dts = packet.pts, packet.dts
            for frame in codec.decode(data):
                late.add((packet.pts or 0) - (frame.pts or 0))
                pictures.append(frame.to_ndarray(format="gray").tobytes())
    return late, pictures


@pytest.mark.parametrize("container", ["before", "within"])
@pytest.mark.parametrize(
    ("options", "pixels"),
    [
        (STREAM, "yuv420p"),
        (STREAM | {"x264-params": "aud=1"}, "yuv420p"),
        (STREAM | CONSTANT, "yuv420p"),
        (STREAM | {"profile": "main"}, "yuv420p"),
        (STREAM, "yuv444p"),
    ],
    ids=["high", "delimited", "constant rate", "main", "all colours"],
)
def test_pictures_are_the_same_and_come_at_once(
    scene: Scene, options: dict[str, str], pixels: str, container: str
) -> None:
    stream = streams.encode(scene.pictures(), pixels=pixels, **options)
    packed = streams.transport(stream) if container == "within" else stream
    late, _ = delay(packed, hasten=False)
    soon, pictures = delay(packed, hasten=True)
    assert max(late) > 0
    assert soon == {0}
    whole = delay(packed, hasten=False)[1]
    assert len(pictures) > len(whole)
    assert pictures[: len(whole)] == whole


def test_what_is_no_parameter_set_stays() -> None:
    for data in (b"", b"\1", b"\1\0\0\0\0\xe1\0\x05", b"abc", START + b"\x65" + bytes(3000), START + b"\x67\x64"):
        assert unordered(data) == data


def test_interlaced_and_cut_out_pictures_are_understood() -> None:
    pictures = Scene(seconds=2, width=328, height=184).pictures()
    stream = streams.encode(pictures, **STREAM, flags="+ilme+ildct")
    assert delay(stream, hasten=True)[0] == {0}


@given(st.binary(max_size=64))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    for odd in (data, b"\1" + data, START + data, START + b"\x67" + data + START + b"\x68"):
        assert isinstance(unordered(odd), bytes)


@given(st.binary(min_size=HEADERS, max_size=2 * HEADERS))
def test_what_follows_the_parameters_stays(data: bytes) -> None:
    head = START + b"\x68\xee"
    picture = START + b"\x65" + data
    assert unordered(head + picture).endswith(data[HEADERS:])
