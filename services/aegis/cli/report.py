"""What a run or a running system did, as a table for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from aegis.cli.events import Event, clock
from aegis.contracts import alerts
from aegis.runtime import status

NOBODY = "nobody is told of alerts: the site file names nobody under notify"
LATENCIES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("first usable look to alert", "aegis_alert_latency_seconds", {"since": "first_look"}),
    ("matched look to alert", "aegis_alert_latency_seconds", {"since": "matched_look"}),
    ("alert to email", "aegis_delivery_latency_seconds", {"channel": "email"}),
    ("alert to webhook", "aegis_delivery_latency_seconds", {"channel": "webhook"}),
    ("capture to end of detection", "aegis_frame_age_seconds", {}),
)
COUNTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("frames captured", "aegis_frames_captured_total", {}),
    ("frames searched", "aegis_frames_processed_total", {}),
    ("frames dropped", "aegis_frames_dropped_total", {}),
    ("faces", "aegis_faces_detected_total", {}),
    ("looks embedded", "aegis_looks_embedded_total", {}),
    ("alerts", "aegis_alerts_total", {"event": "raise"}),
    ("alerts in shadow", "aegis_shadow_alerts_total", {"event": "raise"}),
    ("deliveries", "aegis_deliveries_total", {"state": "sent"}),
    ("dead letters", "aegis_dead_letters_total", {}),
)


def latencies(answers: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Give count, p50 and p99 in milliseconds of every latency that was measured."""
    found = {}
    for title, name, labels in LATENCIES:
        if measured := status.quantiles(answers, name, **labels):
            found[title] = {
                "count": measured["count"],
                "p50_ms": round(1000 * measured["p50"], 1),
                "p99_ms": round(1000 * measured["p99"], 1),
            }
    return found


def counts(answers: list[dict[str, Any]]) -> dict[str, int]:
    """Give what was counted, over all services."""
    return {title: int(status.total(answers, name, **labels)) for title, name, labels in COUNTS}


def figures(answers: list[dict[str, Any]]) -> list[str]:
    """Lay counts and latencies out in lines."""
    lines = [", ".join(f"{number} {title}" for title, number in counts(answers).items())]
    lines += [
        f"{title}: median {m['p50_ms']:.0f} ms, 99 % below {m['p99_ms']:.0f} ms ({m['count']:.0f})"
        for title, m in latencies(answers).items()
    ]
    return lines


def services(answers: list[dict[str, Any]]) -> list[str]:
    """Lay out one line for each service."""
    lines = []
    for answer in answers:
        detail = answer["detail"]
        runs = f"{detail['model']} on {detail['provider']}" if "provider" in detail else ""
        if detail.get("fell_back"):
            runs += f" ({detail['fell_back']})"
        if "entries" in detail:
            scores = f"normalised by {detail['cohort_size']} people" if detail.get("cohort_size") else "plain cosines"
            entries = "1 entry" if detail["entries"] == 1 else f"{detail['entries']} entries"
            runs = f"{entries}, watchlist version {detail['watchlist_version']}, scores {scores}"
        memory = answer["metrics"].get("process_resident_memory_bytes", 0) / 2**20
        state = "ready" if answer["ready"] else "not ready"
        who = f"{answer['service']:<9} {answer['replica']:<3}"
        lines.append(f"{who} {state:<9} up {answer['uptime_s']:>7.0f} s {memory:>5.0f} MB  {runs}")
    return lines


def summary(answers: list[dict[str, Any]], events: Sequence[Event], missed: Mapping[str, str]) -> str:
    """Say what a run did."""
    raised = [event.sighting for event in events if event.type == alerts.RAISED and event.sighting]
    sighted = sum(event.type == alerts.SIGHTED for event in events)
    lines = ["", f"done: {len(raised)} alerts" + (f", {sighted} more sightings of open visits" if sighted else "")]
    lines += [f"  {s.camera}: {s.person} ({s.category}) at {clock(s.captured_at)}, score {s.score:.2f}" for s in raised]
    lines += [f"  {camera} was not played: {reason}" for camera, reason in missed.items()]
    return "\n".join([*lines, *(f"  {line}" for line in figures(answers))])


def contacts(answers: list[dict[str, Any]]) -> list[str]:
    """Lay out one line for each contact that notify owes something or could not tell."""
    lines = []
    for answer in answers:
        for contact in answer["detail"].get("recipients", {}).values():
            if contact["pending"] or contact["last_error"]:
                error = f": {contact['last_error']}" if contact["last_error"] else ""
                lines.append(f"{contact['person']} by {contact['to']}: {contact['pending']} not told yet{error}")
    return lines


def untold(answers: list[dict[str, Any]]) -> list[str]:
    """Say so if notify is there and has nobody to tell."""
    notify = [answer["detail"] for answer in answers if answer["service"] == "notify"]
    return [NOBODY] if notify and not any(detail.get("recipients", True) for detail in notify) else []


def cameras(answers: list[dict[str, Any]]) -> list[str]:
    """Lay out one line for each camera that a replica of ingest holds."""
    lines = []
    for answer in answers:
        for name, state in sorted(answer["detail"].get("cameras", {}).items()):
            captured = status.total([answer], "aegis_frames_captured_total", camera=name)
            reason = f": {state['reason']}" if state.get("reason") else ""
            lines.append(f"camera {name:<16} {state['state']}{reason}, {captured:.0f} frames")
        if whip := answer["detail"].get("whip"):
            delivers = whip.startswith("http")
            lines.append(f"{'browsers and phones deliver to' if delivers else 'no browser can be a camera:'} {whip}")
    return lines
