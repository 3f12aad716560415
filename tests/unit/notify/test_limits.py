"""A provider is not hurried, and is left alone while it is down."""

from hypothesis import given
from hypothesis import strategies as st

from aegis.notify.limits import FAILURES, FIRST_REST, LONGEST_REST, Breaker, Rate


@given(st.floats(0.1, 50), st.lists(st.floats(0, 0.5), min_size=30, max_size=120))
def test_a_rate_is_kept_over_every_stretch_of_time(rate: float, pauses: list[float]) -> None:
    bucket, now, turns = Rate(rate), 1000.0, []
    for pause in pauses:
        now += pause
        turns.append(now + bucket.take(now))
    for first, start in enumerate(turns):
        for last in range(first, len(turns)):
            assert last - first + 1 <= max(1.0, rate) + 1 + (turns[last] - start) * rate + 1e-6


def test_who_comes_rarely_never_waits() -> None:
    bucket = Rate(2.0)
    assert [bucket.take(float(now)) for now in range(20)] == [0.0] * 20


def test_a_provider_that_fails_is_left_alone_for_longer_and_longer_and_tried_by_one_at_a_time() -> None:
    told: list[bool] = []
    breaker, now, rests = Breaker(told.append), 0.0, []
    for _ in range(FAILURES):
        assert breaker.wait(now) == 0.0
        breaker.failed(now)
    for _ in range(6):
        rests.append(breaker.wait(now))
        now += rests[-1]
        assert breaker.wait(now) == 0.0
        assert breaker.wait(now) > 0.0  # the others wait for the outcome of that one
        breaker.failed(now)
    assert rests[0] == FIRST_REST
    assert rests == sorted(rests)
    assert max(rests) == LONGEST_REST
    now += breaker.wait(now)
    assert breaker.wait(now) == 0.0
    breaker.worked()
    assert [breaker.wait(now) for _ in range(3)] == [0.0] * 3
    assert told == [True, False]


def test_calls_that_were_on_their_way_do_not_make_the_rest_longer() -> None:
    breaker = Breaker()
    for _ in range(4 * FAILURES):
        breaker.failed(0.0)
    assert breaker.wait(0.0) == FIRST_REST


def test_one_failure_among_successes_stops_nobody() -> None:
    breaker = Breaker()
    for now in range(20):
        assert breaker.wait(float(now)) == 0.0
        breaker.failed(float(now)) if now % 2 else breaker.worked()
    assert not breaker.down


def test_a_provider_that_asks_to_be_left_alone_is() -> None:
    breaker = Breaker()
    breaker.failed(10.0, after=30.0)
    assert breaker.wait(15.0) == 25.0
    assert breaker.wait(40.0) == 0.0
