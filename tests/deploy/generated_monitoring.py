"""Writes what Grafana and the Prometheus operator read, from the rules and dashboards.

Run it as ``python -m tests.deploy.generated_monitoring``; the tests compare.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml
from tests.deploy.dashboards.bus import BUS
from tests.deploy.dashboards.capacity import CAPACITY
from tests.deploy.dashboards.panels import Dashboard, document
from tests.deploy.dashboards.pipeline import PIPELINE
from tests.deploy.dashboards.site import SITE

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
COMPONENT = ROOT / "deploy" / "k8s" / "components" / "monitoring"
MADE = "# Written by tests/deploy/generated_monitoring.py from deploy/monitoring/rules.yaml; do not edit by hand.\n"
DASHBOARDS = (SITE, PIPELINE, BUS, CAPACITY)


def operator_rules() -> str:
    """Give the rules as the Prometheus operator wants them, since kustomize cannot put a file into a resource."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "aegis", "labels": {"app.kubernetes.io/name": "aegis"}},
        "spec": yaml.safe_load(RULES.read_text()),
    }
    return MADE + yaml.safe_dump(resource, sort_keys=False, width=120)


def grafana(dashboard: Dashboard) -> str:
    return json.dumps(document(dashboard), indent=1) + "\n"


FILES: dict[Path, Callable[[], str]] = {COMPONENT / "rules.yaml": operator_rules} | {
    COMPONENT / "dashboards" / f"{dashboard.uid}.json": partial(grafana, dashboard) for dashboard in DASHBOARDS
}


if __name__ == "__main__":
    for path, make in FILES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
