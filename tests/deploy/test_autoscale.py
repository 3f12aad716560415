"""What more replicas are made by: signals that exist, that show overload and only that, and that KEDA can read."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from nats.js.api import AckPolicy, ConsumerConfig
from tests.bus import until
from tests.conftest import ROOT
from tests.deploy import promql
from tests.deploy.arrows import Place, Policies
from tests.deploy.bus_cluster import BusCluster
from tests.deploy.rendering import Manifest, of_kind, overlay, the, with_components
from tests.deploy.test_network import ours
from tests.deploy.test_rules import promtool

from aegis.contracts import subjects
from aegis.contracts.subjects import PARTITIONS
from aegis.embed.service import Embed
from aegis.runtime import topology
from aegis.runtime.bus import Bus

SCALED = {"ingest", "detect", "embed", "match"}
"""registry has one leader, and of notify one replica does the work of all."""


def keda(service: str) -> Manifest:
    spec: Manifest = the(with_components("autoscale-keda"), "ScaledObject", service)["spec"]
    return spec


def triggers(service: str, kind: str) -> list[Manifest]:
    return [trigger for trigger in keda(service)["triggers"] if trigger["type"] == kind]


QUERIES = {
    service: trigger["metadata"]["query"] for service in sorted(SCALED) for trigger in triggers(service, "prometheus")
}


def bounds(component: str) -> dict[str, tuple[int, int]]:
    """Give the fewest and most of each service that a component scales."""
    found = of_kind(with_components(component), "ScaledObject", "HorizontalPodAutoscaler")
    keys = ("minReplicaCount", "maxReplicaCount") if component == "autoscale-keda" else ("minReplicas", "maxReplicas")
    return {m["spec"]["scaleTargetRef"]["name"]: (m["spec"][keys[0]], m["spec"][keys[1]]) for m in found}


@pytest.mark.parametrize("component", ["autoscale-keda", "autoscale-hpa"])
def test_there_are_never_fewer_than_without_it_and_nobody_else_says_how_many(component: str) -> None:
    assert set(bounds(component)) == SCALED
    for service, (least, most) in bounds(component).items():
        assert the(overlay("production"), "Deployment", service)["spec"]["replicas"] <= least < most <= PARTITIONS
        assert "replicas" not in the(with_components(component), "Deployment", service)["spec"]


def test_scaling_down_moves_few_cameras_at_a_time_either_way() -> None:
    behaviours = [keda(service)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] for service in SCALED]
    hpas = of_kind(with_components("autoscale-hpa"), "HorizontalPodAutoscaler")
    behaviours += [hpa["spec"]["behavior"] for hpa in hpas]
    assert len(behaviours) == 2 * len(SCALED)
    for behaviour in behaviours:
        assert behaviour == behaviours[0]
        assert behaviour["scaleDown"]["stabilizationWindowSeconds"] >= 600
        assert [policy["value"] for policy in behaviour["scaleDown"]["policies"]] == [1]


def test_a_source_that_does_not_answer_takes_no_replica_away() -> None:
    for service in SCALED:
        spec = keda(service)
        # Of CPU the metrics server tells, for which there is no fallback; of the others there must be one.
        others = [trigger for trigger in spec["triggers"] if trigger["type"] != "cpu"]
        assert ("fallback" in spec) == bool(others)
        if others:
            assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
            assert spec["fallback"]["replicas"] == spec["minReplicaCount"]
            # KEDA refuses a fallback for anything else.
            assert {trigger.get("metricType", "AverageValue") for trigger in others} == {"AverageValue"}


@pytest.mark.parametrize("service", QUERIES)
def test_a_query_names_what_exists(service: str) -> None:
    assert not promql.objections(QUERIES[service])
    reasons = {"ingest": ("slow",), "detect": ("newer", "old")}.get(service, ())
    documented = (ROOT / "docs" / "metrics.md").read_text()
    said = next(line for line in documented.splitlines() if line.startswith("- `aegis_frames_dropped_total`"))
    for reason in reasons:
        assert f'reason="{"|".join(reasons)}"' in QUERIES[service].replace("=~", "=")
        assert f"`{reason}`" in said.partition(f"{service} says")[2].partition(";")[0]


OVERLOADED = {
    "ingest": 'aegis_frames_dropped_total{namespace="aegis",service="ingest",reason="slow",camera="a"}',
    "detect": 'aegis_frames_dropped_total{namespace="aegis",service="detect",reason="newer",camera="a"}',
    "embed": 'aegis_looks_expired_total{namespace="aegis",service="embed"}',
}
DONE = {
    "ingest": 'aegis_frames_captured_total{namespace="aegis",service="ingest",camera="a"}',
    "detect": 'aegis_frames_captured_total{namespace="aegis",service="ingest",camera="a"}',
    "embed": 'aegis_looks_embedded_total{namespace="aegis",service="embed"}',
}


def judged(service: str, name: str, lost: int, other: str, wanted: float) -> Manifest:
    """Let two replicas do 100 a minute, lose some of them, and see how many are asked for."""
    ready = [f'aegis_ready{{namespace="aegis",service="{service}",pod="{pod}"}}' for pod in "ab"]
    series = [{"series": one, "values": "1x10"} for one in ready]
    series += [{"series": DONE[service], "values": "0+25x40"}, {"series": other, "values": f"0+{lost}x40"}]
    samples = [{"labels": "{}", "value": wanted}]
    query = {"expr": QUERIES[service], "eval_time": "2m", "exp_samples": samples}
    return {"name": f"{service} {name}", "interval": "15s", "input_series": series, "promql_expr_test": [query]}


def test_half_as_many_again_are_asked_for_while_work_is_lost_and_none_for_it_otherwise(tmp_path: Path) -> None:
    tests = []
    for service, series in OVERLOADED.items():
        tests += [
            judged(service, "loses work", 5, series, 3.0),
            judged(service, "loses next to nothing", 0, series, 0.0),
        ]
    # A site that is not armed drops every frame, and more replicas would do the same.
    disarmed = OVERLOADED["detect"].replace("newer", "disarmed")
    quiet = judged("detect", "is not armed", 25, disarmed, 0.0)
    quiet["input_series"].append({"series": OVERLOADED["detect"], "values": "0x40"})
    tests.append(quiet)
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": tests}))
    promtool("test", "rules", str(file))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[BusCluster]:
    servers = BusCluster(with_components("autoscale-keda"), tmp_path)
    for number in range(servers.size):
        servers.start(number)
    yield servers
    servers.close()


async def test_keda_finds_what_waits_at_the_server_that_leads_the_consumer(cluster: BusCluster) -> None:
    """As its scaler does it: it asks one server who there is, and each by its name before the endpoint's host."""
    trigger = triggers("embed", "nats-jetstream")[0]["metadata"]
    source = inspect.getsource(Embed.work)
    assert f'durable_name="{trigger["consumer"]}"' in source
    assert trigger["stream"] == subjects.FACES
    assert trigger["account"] == topology.SITE
    await cluster.passes("startupProbe")
    async with Bus.connect(cluster.config("admin"), "test-admin") as admin:
        await topology.declare(admin, replicas=cluster.size)
        stream = admin.client.jetstream()
        durable = ConsumerConfig(durable_name=trigger["consumer"], ack_policy=AckPolicy.EXPLICIT)
        await stream.add_consumer(trigger["stream"], durable)

        async def led() -> bool:
            info = await stream.consumer_info(trigger["stream"], trigger["consumer"])
            return info.cluster is not None and bool(info.cluster.leader)

        await until(led, "the consumer has a leader")
        for number in range(5):
            await stream.publish(subjects.face_detected("0", f"camera-{number}"), b"a look")

    _, told = await cluster.asked(0, "/varz")
    # It would go by addresses where clients are told of some. It goes by the routes' names, which are the pods'.
    assert not told.get("connect_urls")
    routes = the(with_components("autoscale-keda"), "ConfigMap", "nats")["data"]["cluster.conf"]
    nodes = re.findall(r"tls://([\w-]+)\.nats-headless\.aegis\.", routes)
    waiting = []
    for number, node in enumerate(nodes):
        _, answer = await cluster.asked(number, f"/jsz?acc={trigger['account']}&consumers=true&config=true")
        details: Any = answer["account_details"]
        streams = [s for account in details if account["name"] == trigger["account"] for s in account["stream_detail"]]
        consumers = [c for s in streams if s["name"] == trigger["stream"] for c in s.get("consumer_detail", ())]
        waiting += [
            consumer["num_pending"] + consumer["num_ack_pending"]
            for consumer in consumers
            if (consumer["name"], consumer["cluster"]["leader"]) == (trigger["consumer"], node)
        ]
    assert waiting == [5]


def test_keda_may_ask_every_server_by_its_own_name() -> None:
    manifests = with_components("autoscale-keda")
    endpoint = triggers("embed", "nats-jetstream")[0]["metadata"]["natsServerMonitoringEndpoint"]
    service, namespace = str(urlsplit(f"//{endpoint}").hostname).split(".")[:2]
    assert namespace == "aegis"
    headless = the(manifests, "Service", service)["spec"]
    assert headless["clusterIP"] == "None"
    assert {port["port"] for port in headless["ports"]} >= {urlsplit(f"//{endpoint}").port}
    assert the(manifests, "StatefulSet", "nats")["spec"]["serviceName"] == service
    policies = Policies(manifests)
    assert policies.allow(Place({}, "keda"), ours("nats"), 8222, name="monitor")
    assert not policies.allow(Place({}, "keda"), ours("nats"), 4222, name="client")
    assert not policies.allow(Place({}, "default"), ours("nats"), 8222, name="monitor")
