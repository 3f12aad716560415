"""What ingest decides, without a camera."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.ingest import core
from aegis.ingest.core import Pace


def taken(rate: float, times: list[float]) -> list[float]:
    pace = Pace(rate)
    return [when for when in times if pace.take(when)]


@pytest.mark.parametrize("source", [5.0, 10.0, 15.0, 25.0, 29.97, 30.0, 60.0])
def test_five_a_second_from_any_rate_evenly(source: float) -> None:
    times = [round(n / source, 3) for n in range(int(20 * source))]
    picked = taken(5, times)
    assert 98 <= len(picked) <= 101
    gaps = [later - earlier for earlier, later in itertools.pairwise(picked)]
    assert max(gaps) < 0.201 + 1 / source
    assert min(gaps) > 0.199 - 1 / source


@pytest.mark.parametrize("source", [5.0, 12.5, 25.0, 30.0])
@pytest.mark.parametrize("ahead", [0.0, 0.07, 1_700_000_000.19])
@pytest.mark.parametrize("shaken", [0.0, 0.03])
def test_by_and_by_looks_are_on_the_beat_of_the_wall_clock(source: float, ahead: float, shaken: float) -> None:
    chance = random.Random(3)
    pace = Pace(5)
    times = [n / source for n in range(int(40 * source))]
    picked = [when for when in times if pace.take(when, when + ahead + chance.uniform(0, shaken))]
    gaps = [later - earlier for earlier, later in itertools.pairwise(picked)]
    assert len(picked) == pytest.approx(200, abs=2)
    assert max(gaps) < 0.21 + 1 / source
    assert min(gaps) > 0.19 - 1 / source
    # Behind a beat, by no more than it takes to the next picture.
    behind = [(when + ahead + shaken / 2 + 0.011) % 0.2 for when in picked[50:]]
    assert max(behind) < 1 / source + shaken / 2 + 0.03 or source == 5.0


def test_a_slow_camera_loses_nothing() -> None:
    times = [n / 3 for n in range(30)]
    assert taken(5, times) == times


def test_a_clock_that_starts_again_goes_on_at_once() -> None:
    pace = Pace(5)
    assert pace.take(1000.0)
    assert pace.take(0.0)
    assert not pace.take(0.1)
    assert pace.take(0.2)


def test_after_a_gap_there_is_no_burst() -> None:
    assert taken(5, [0.0, 10.0, 10.05, 10.1, 10.2]) == [0.0, 10.0, 10.2]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=300).map(sorted), st.floats(0.1, 30))
def test_never_more_than_asked(times: list[float], rate: float) -> None:
    picked = taken(rate, times)
    assert len(picked) <= (times[-1] - times[0]) * rate + 1.2


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_stays_in_its_bounds(failures: int, jitter: float) -> None:
    assert 0.5 <= core.backoff(failures, jitter) <= 15


def test_backoff_grows_and_is_spread() -> None:
    assert core.backoff(1, 1) == 1.0
    assert core.backoff(3, 1) == 4.0
    assert core.backoff(20, 1) == 15.0
    assert core.backoff(20, 0) == 7.5


@pytest.mark.parametrize(
    ("size", "sent"),
    [((640, 480), (640, 480)), ((1280, 720), (1280, 720)), ((1920, 1080), (1280, 720)), ((3840, 1608), (1280, 536))],
)
def test_at_most_1280_wide_and_of_the_same_shape(size: tuple[int, int], sent: tuple[int, int]) -> None:
    assert core.target_size(*size) == sent


def test_a_picture_is_made_smaller_only_as_far_as_needed() -> None:
    tried: list[tuple[int, int]] = []

    def encode(divisor: int, quality: int) -> bytes:
        tried.append((divisor, quality))
        return bytes(1000 * quality // divisor**2)

    assert core.fit(encode, 85_000) == bytes(85_000)
    assert tried == [(1, 85)]
    tried.clear()
    assert core.fit(encode, 22_000) == bytes(21_250)
    assert tried == [(1, 85), (1, 70), (1, 55), (1, 40), (2, 85)]
    assert core.fit(encode, 600) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtsp://user:se:cr@t@cam.example:554/live?password=x", "rtsp://cam.example:554"),
        ("rtsp://cam.example/user=admin_password=x", "rtsp://cam.example"),
        ("rtsps://user@[2001:db8::1]:322/a", "rtsps://[2001:db8::1]:322"),
        ("file:/srv/clip.mp4", "file:/srv/clip.mp4"),
        ("usb:0", "usb:0"),
    ],
)
def test_what_may_be_said_of_an_address(url: str, said: str) -> None:
    assert core.redact(url) == said


def test_where_a_file_and_a_device_are() -> None:
    assert core.file_path("file:/srv/a.mp4") == core.file_path("file:///srv/a.mp4") == "/srv/a.mp4"
    assert core.device_path("usb:2") == "/dev/video2"
    assert core.device_path("usb:/dev/v4l/by-id/cam") == "/dev/v4l/by-id/cam"


def test_a_file_that_was_cut_off_says_so() -> None:
    assert core.ended_early(59.8, 60.0) == ""
    assert core.ended_early(59.8, None) == ""
    assert core.ended_early(12.34, 60.0) == "ended early: 12.3 of 60.0 s could be played"
