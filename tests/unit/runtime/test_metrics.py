"""Quantiles from histograms, and what the services' answers add up to."""

import math

import pytest

from aegis.runtime import metrics, status

INF = math.inf


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({0.1: 10.0, 0.2: 20.0, INF: 20.0}, 0.5, 0.1),
        ({0.1: 10.0, 0.2: 20.0, INF: 20.0}, 0.75, 0.15),
        ({0.1: 10.0, 0.2: 20.0, INF: 20.0}, 1.0, 0.2),
        ({0.1: 0.0, 0.2: 4.0, INF: 4.0}, 0.25, 0.125),
        ({0.1: 4.0, INF: 4.0}, 0.5, 0.05),
        ({0.1: 1.0, 0.2: 1.0, INF: 10.0}, 0.5, 0.2),
        ({0.1: 0.0, 0.2: 0.0, INF: 3.0}, 0.99, 0.2),
    ],
)
def test_a_quantile_is_interpolated_as_prometheus_does(
    buckets: dict[float, float], share: float, expected: float
) -> None:
    assert metrics.quantile(buckets, share) == pytest.approx(expected)


@pytest.mark.parametrize("buckets", [{}, {0.1: 0.0, INF: 0.0}])
def test_an_empty_histogram_has_none(buckets: dict[float, float]) -> None:
    assert math.isnan(metrics.quantile(buckets, 0.5))


def test_a_quantile_grows_with_its_share() -> None:
    buckets = {0.1: 3.0, 0.2: 3.0, 0.5: 9.0, 1.0: 10.0, INF: 12.0}
    values = [metrics.quantile(buckets, share / 100) for share in range(101)]
    assert values == sorted(values)


def test_quantiles_are_those_of_all_services_together() -> None:
    one = {"metrics": {'t_bucket{le="0.1",since="look"}': 10.0, 't_bucket{le="+Inf",since="look"}': 10.0}}
    two = {
        "metrics": {
            'since_bucket{le="0.1",since="look"}': 99.0,
            't_bucket{le="0.1",since="look"}': 0.0,
            't_bucket{le="0.2",since="look"}': 10.0,
            't_bucket{le="+Inf",since="look"}': 10.0,
            't_bucket{le="+Inf",since="first"}': 70.0,
            't_count{since="look"}': 10.0,
        }
    }
    two["metrics"]['t_bucket{le="0.2",since="look"}'] = 10.0
    one["metrics"]['t_bucket{le="0.2",since="look"}'] = 10.0
    found = status.quantiles([one, two], "t", since="look")
    assert found is not None
    assert found["count"] == 20
    assert found["p50"] == pytest.approx(0.1)
    assert found["p99"] == pytest.approx(0.198)
    assert status.quantiles([one, two], "t", since="never") is None
    assert status.quantiles([], "t") is None


def test_a_total_is_over_all_services_and_the_labels_asked_for() -> None:
    answers = [
        {"metrics": {'faces{camera="a"}': 1.0, 'faces{camera="b"}': 2.0, "faces_total": 50.0}},
        {"metrics": {'faces{camera="a",kind="x"}': 4.0}},
    ]
    assert status.total(answers, "faces") == 7
    assert status.total(answers, "faces", camera="a") == 5
    assert status.total(answers, "faces", camera="a", kind="x") == 4
    assert status.total(answers, "none") == 0


def test_a_snapshot_names_every_sample_as_it_is_exposed() -> None:
    metrics.FRAMES_DROPPED.labels("snapshot-test", "stale").inc(2)
    metrics.FRAME_AGE.observe(0.12)
    snapshot = metrics.snapshot()
    assert snapshot['aegis_frames_dropped_total{camera="snapshot-test",reason="stale"}'] == 2
    found = status.quantiles([{"metrics": snapshot}], "aegis_frame_age_seconds")
    assert found is not None
    assert 0.1 <= found["p50"] <= 0.15
    assert not [name for name in snapshot if name.partition("{")[0].endswith("_created")]
