"""Of all that cameras see, the collector gets the traces of alerts, whole, from the frame to the delivery."""

import json
from pathlib import Path

import pytest
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, running
from tests.peers.trace_collector import Exported, TraceCollector
from tests.peers.webhook_receiver import WebhookReceiver

SECRET = "whsec_" + "c2VjcmV0" * 4
PARENTS = {
    "ingest.frame": "",
    "detect.frame": "ingest.frame",
    "detect.find": "detect.frame",
    "embed.looks": "detect.frame",
    "match.vectors": "embed.looks",
    "match.alert": "match.vectors",
    "match.picture": "match.alert",
    "detect.picture": "match.picture",
    "notify.plan": "match.alert",
    "notify.deliver": "notify.plan",
}


def site(hooks: WebhookReceiver, clips: dict[str, Path]) -> str:
    addresses = [f'{{url: "{hooks.url(path)}", secret_env: HOOK}}' for path in ("/one", "/two")]
    return SITE + f"notify: {{webhooks: [{', '.join(addresses)}]}}\n" + file_cameras(clips, loop=True)


def logged(system: System, service: str, trace: str) -> list[str]:
    """Give the messages of a service's log in which a trace is named."""
    lines = [json.loads(line) for file in system.state.logs.glob(f"{service}-*.log") for line in file.open()]
    return [str(line["message"]) for line in lines if line.get("trace_id") == trace]


def complete(spans: list[Exported]) -> bool:
    names = [one.span.name for one in spans]
    return set(names) == set(PARENTS) and names.count("notify.deliver") == 2


async def test_an_alerts_trace_arrives_whole_and_no_other(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, hooks = TraceCollector(), WebhookReceiver(SECRET)
    await collector.start()
    await hooks.start()
    clips = {"lobby": people.clip("again.mkv"), "gate": people.clip("bird.mkv")}
    for name, value in {"HOOK": SECRET, "AEGIS_TRACES_URL": collector.url, "AEGIS_TRACES_SHARE": "0"}.items():
        monkeypatch.setenv(name, value)
    async with running(tmp_path, site(hooks, clips)) as system:
        for service in ("embed", "notify"):
            system.add_replica(service)
        await system.enrol("person a", people.photo("help.mkv"))
        await until(lambda: len(hooks.taken) == 2, f"both webhooks are told: {system.output}", 30)
        await until(lambda: complete(collector.exported), "a whole trace")
        spans = collector.exported
        [trace] = {one.trace for one in spans}
        by_id = {one.span.span_id: one for one in spans}
        for one in spans:
            parent = by_id[one.span.parent_span_id] if one.span.parent_span_id else None
            assert (parent.span.name if parent else "") == PARENTS[one.span.name]
            assert one.service == one.span.name.partition(".")[0]
            assert one.span.start_time_unix_nano <= one.span.end_time_unix_nano
            if parent is not None:
                assert parent.span.start_time_unix_nano <= one.span.start_time_unix_nano
        assert {one.attributes["aegis.camera"] for one in spans if "aegis.camera" in one.attributes} == {"lobby"}
        assert all("person a" not in str(one.span) for one in spans)
        assert "alert" in logged(system, "match", trace)
        assert logged(system, "notify", trace).count("told") == 2
        await collector.stop()
        await system.enrol("person b", people.photo("milk.mkv"))
        await until(lambda: len(hooks.taken) == 4, f"both are told though the collector is away: {system.output}", 30)

        async def counted() -> bool:
            services = await system.services()
            return bool(services["match", "0"]["metrics"]["aegis_spans_dropped_total"] > 0)

        await until(counted, "what the collector did not take is counted")
    await hooks.stop()
