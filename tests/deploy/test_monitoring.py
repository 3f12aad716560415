"""Dashboards and rules name what exists, are what their sources say, and look as they should."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy import generated_monitoring
from tests.deploy.dashboards.panels import WIDTH
from tests.deploy.promql import objections
from tests.deploy.test_rules import RULES, promtool, rules

COMPONENT = generated_monitoring.COMPONENT
PAGES = {
    dashboard.uid: json.loads(generated_monitoring.grafana(dashboard)) for dashboard in generated_monitoring.DASHBOARDS
}
RECORDED = frozenset(rule["record"] for rule in rules() if "record" in rule)
UNITS = {"short", "s", "cps", "Bps", "bytes", "percentunit", "string", "none"}


def panels(uid: str) -> list[dict[str, Any]]:
    return [panel for panel in PAGES[uid]["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    return [
        (f"{uid}: {panel['title']}", target["expr"])
        for uid in PAGES
        for panel in panels(uid)
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("path", generated_monitoring.FILES, ids=lambda path: path.name)
def test_a_generated_file_is_current(path: Path) -> None:
    assert path.read_text() == generated_monitoring.FILES[path](), "run: python -m tests.deploy.generated_monitoring"


def test_every_dashboard_is_loaded_and_none_else() -> None:
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    loaded = [file for generator in component["configMapGenerator"] for file in generator["files"]]
    assert sorted(loaded) == sorted(f"dashboards/{path.name}" for path in (COMPONENT / "dashboards").iterdir())
    assert sorted(loaded) == sorted(f"dashboards/{uid}.json" for uid in PAGES)


def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    """Each as a rule, with Grafana's variables filled in."""
    filled = [
        {"record": f"query:{n}", "expr": query.replace("$__rate_interval", "5m").replace("$namespace", "school")}
        for n, (_, query) in enumerate(queries())
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": filled}]}))
    promtool("check", "rules", str(path))
    assert len(filled) > 50


@pytest.mark.parametrize(("place", "query"), queries())
def test_a_query_names_what_exists(place: str, query: str) -> None:
    assert objections(query) == [], place
    assert 'namespace="$namespace"' in query, "the other sites of this Prometheus are not meant"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_what_exists(rule: dict[str, Any]) -> None:
    assert objections(rule["expr"], RECORDED) == []


def test_what_does_not_exist_is_noticed() -> None:
    assert objections("sum(rate(aegis_frames_seen_total[5m]))") == ["there is no metric aegis_frames_seen_total"]
    assert objections('aegis_looks_total{camera="a"}') == ["aegis_looks_total has no label camera"]
    assert objections("sum by (camera) (aegis_looks_total)") == ["nothing here has the label camera"]


@pytest.mark.parametrize("uid", PAGES)
def test_a_legend_shows_labels_that_the_query_gives(uid: str) -> None:
    for panel in panels(uid):
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), (panel["title"], label)


@pytest.mark.parametrize("uid", PAGES)
def test_panels_fill_the_page_side_by_side(uid: str) -> None:
    places = [panel["gridPos"] for panel in PAGES[uid]["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= WIDTH
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("uid", PAGES)
def test_a_panel_has_its_own_name_a_unit_and_says_what_it_is_for(uid: str) -> None:
    page = PAGES[uid]
    for key in ("id", "title"):
        values = [panel[key] for panel in page["panels"]]
        assert len(values) == len(set(values)), key
    for panel in panels(uid):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
    assert page["description"].endswith(".")


def test_pages_have_their_own_names() -> None:
    assert len({page["uid"] for page in PAGES.values()}) == len(PAGES)
    assert len({page["title"] for page in PAGES.values()}) == len(PAGES)


def test_prometheus_reads_the_example_without_the_operator(tmp_path: Path) -> None:
    example = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())
    for job in example["scrape_configs"]:
        # Debian builds it without the discovery of Kubernetes.
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["aegis"]}}]
    (tmp_path / "rules.yaml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(example))
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))


def test_both_ways_to_scrape_give_the_labels_that_the_rules_need() -> None:
    example = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())
    monitors = list(yaml.safe_load_all((COMPONENT / "scrape.yaml").read_text()))
    for job, monitor in zip(example["scrape_configs"], monitors, strict=True):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        set_by_operator = {rule["targetLabel"] for rule in endpoint["relabelings"]}
        assert set_by_operator == {"job", "service"}, "it sets namespace and pod by itself"
        assert {"targetLabel": "job", "replacement": job["job_name"]} in endpoint["relabelings"]
        assert {rule.get("target_label") for rule in job["relabel_configs"]} >= {"namespace", "service", "pod"}
        assert job["relabel_configs"][0]["regex"] == f"aegis;{endpoint['port']}"
