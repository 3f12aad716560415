"""Figures of a run, as services answer them."""

from typing import Any

import pytest
from tests.unit.cli.test_events import AT, SIGHTING

from aegis.cli import report
from aegis.cli.events import clock, parse
from aegis.contracts import alerts, cloudevents


def answer(service: str, metrics: dict[str, float], **more: Any) -> dict[str, Any]:
    return {
        "service": service,
        "replica": "0",
        "ready": True,
        "uptime_s": 12.3,
        "busy": 0,
        "detail": {},
        "metrics": metrics,
        **more,
    }


def histogram(name: str, label: str, counts: dict[str, float]) -> dict[str, float]:
    return {f'{name}_bucket{{{label}le="{bound}"}}': count for bound, count in counts.items()}


FIRST = 'since="first_look",'
LATENCY = histogram("aegis_alert_latency_seconds", FIRST, {"0.1": 0.0, "0.2": 2.0, "0.5": 4.0, "+Inf": 4.0})


def test_counts_are_summed_over_services_and_labels() -> None:
    answers = [
        answer(
            "ingest", {'aegis_frames_captured_total{camera="a"}': 3.0, 'aegis_frames_captured_total{camera="b"}': 4}
        ),
        answer("ingest", {'aegis_frames_captured_total{camera="c"}': 5.0}, replica="1"),
        answer("match", {'aegis_alerts_total{event="raise"}': 2.0, 'aegis_alerts_total{event="sight"}': 9.0}),
        answer("detect", {"aegis_dead_letters_total": 1.0}),
        answer("embed", {"aegis_dead_letters_total": 2.0}),
    ]
    counts = report.counts(answers)
    assert (counts["frames captured"], counts["alerts"], counts["dead letters"], counts["faces"]) == (12, 2, 3, 0)
    assert report.counts([])["alerts"] == 0


def test_latencies_are_those_that_were_measured() -> None:
    assert report.latencies([answer("match", {})]) == {}
    found = report.latencies([answer("match", LATENCY), answer("match", LATENCY, replica="1")])
    assert list(found) == ["first usable look to alert"]
    figures = found["first usable look to alert"]
    assert figures["count"] == 8
    assert 150 <= figures["p50_ms"] <= 200
    assert 450 <= figures["p99_ms"] <= 500


def test_figures_in_lines() -> None:
    lines = report.figures([answer("match", {**LATENCY, 'aegis_alerts_total{event="raise"}': 4.0})])
    assert "4 alerts" in lines[0]
    assert lines[1].startswith("first usable look to alert: median 200 ms, 99 % below")
    assert lines[1].endswith("(4)")


def test_a_service_in_one_line() -> None:
    memory = {"process_resident_memory_bytes": 52.4 * 2**20}
    model = {"model": "yunet", "provider": "cpu", "fell_back": "openvino: no such thing"}
    (detect, match, ingest) = report.services(
        [
            answer("detect", memory, detail=model),
            answer("match", {}, detail={"entries": 3, "watchlist_version": 17, "cohort_size": 858}),
            answer("ingest", {}, ready=False),
        ]
    )
    assert detect.split() == [
        "detect",
        "0",
        "ready",
        "up",
        "12",
        "s",
        "52",
        "MB",
        "yunet",
        "on",
        "cpu",
        "(openvino:",
        "no",
        "such",
        "thing)",
    ]
    assert match.endswith("3 entries, watchlist version 17, scores normalised by 858 people")
    assert "not ready" in ingest


def test_a_camera_in_one_line() -> None:
    states = {"lobby": {"state": "offline", "reason": "it does not answer"}, "gate": {"state": "online"}}
    metrics = {'aegis_frames_captured_total{camera="gate"}': 40.0, 'aegis_frames_captured_total{camera="x"}': 9.0}
    gate, lobby = report.cameras([answer("ingest", metrics, detail={"cameras": states}), answer("match", {})])
    assert gate.split() == ["camera", "gate", "online,", "40", "frames"]
    assert lobby.split() == ["camera", "lobby", "offline:", "it", "does", "not", "answer,", "0", "frames"]


def test_a_run_s_summary_counts_what_was_raised_and_names_what_was_not_played() -> None:
    events = [
        parse(cloudevents.dump(alerts.event(kind, "id1", SIGHTING)))
        for kind in (alerts.RAISED, alerts.SIGHTED, alerts.SIGHTED)
    ]
    lines = report.summary([], events, {"door": "no such file"}).splitlines()
    assert lines[1] == "done: 1 alerts, 2 more sightings of open visits"
    assert lines[2] == f"  gate: Grace Hopper (barred) at {clock(AT)}, score 0.71"
    assert lines[3] == "  door was not played: no such file"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([answer("notify", {}, detail={"recipients": {}})], [report.NOBODY]),
        ([answer("notify", {}, detail={"recipients": {"email-1": {}}})], []),
        ([answer("notify", {})], []),  # it has not read its site file yet
        ([answer("match", {}, detail={"recipients": {}})], []),
        ([], []),
    ],
)
def test_it_is_told_when_nobody_is_told(answers: list[dict[str, Any]], said: list[str]) -> None:
    assert report.untold(answers) == said
