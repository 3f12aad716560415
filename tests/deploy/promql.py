"""Which metrics and labels a PromQL expression names, for the checks that they exist."""

import re
from collections.abc import Iterator

from aegis.runtime import metrics

SCRAPED = frozenset({"namespace", "service", "pod", "job"})
"""Labels that the scraping adds; see deploy/k8s/components/monitoring/scrape.yaml."""

_SERVER = frozenset({"server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"})
_STREAM = _SERVER | {"account", "account_id", "stream_name", "stream_leader", "is_stream_leader"}
_CONSUMER = _STREAM | {"consumer_name", "consumer_leader", "is_consumer_leader"}
_CONTAINER = frozenset({"container"})
FOREIGN = {
    # Prometheus itself.
    "up": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
    # Each process, by prometheus_client once a service runs.
    "process_cpu_seconds_total": frozenset(),
    "process_resident_memory_bytes": frozenset(),
    # kube-state-metrics, cAdvisor, the kubelet.
    "kube_statefulset_replicas": frozenset({"statefulset"}),
    "kube_statefulset_status_replicas_ready": frozenset({"statefulset"}),
    "kube_pod_container_resource_limits": _CONTAINER | {"resource"},
    "container_memory_working_set_bytes": _CONTAINER,
    "container_cpu_cfs_throttled_seconds_total": _CONTAINER,
    "kubelet_volume_stats_available_bytes": frozenset({"persistentvolumeclaim"}),
    "kubelet_volume_stats_capacity_bytes": frozenset({"persistentvolumeclaim"}),
    # prometheus-nats-exporter 0.17: collector.go, healthz.go, jsz.go.
    "gnatsd_healthz_status": frozenset({"server_id"}),
    "gnatsd_varz_connections": frozenset({"server_id"}),
    "gnatsd_varz_slow_consumers": frozenset({"server_id"}),
    "gnatsd_varz_in_bytes": frozenset({"server_id"}),
    "gnatsd_varz_out_bytes": frozenset({"server_id"}),
    "gnatsd_varz_in_msgs": frozenset({"server_id"}),
    "gnatsd_varz_mem": frozenset({"server_id"}),
    "jetstream_server_total_message_bytes": _SERVER,
    "jetstream_server_max_storage": _SERVER,
    "jetstream_stream_total_bytes": _STREAM,
    "jetstream_consumer_num_pending": _CONSUMER,
}
"""Metrics of others that may be used, and their labels. No test here sees them: their names are from their sources."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_WORD = re.compile(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()")
_KEYWORDS = frozenset({"and", "or", "unless", "bool"})


def known() -> dict[str, frozenset[str]]:
    """Give the labels of every series that may be named: ours, and foreign ones."""
    found = dict(FOREIGN)
    for metric in vars(metrics).values():
        if not hasattr(metric, "_labelnames"):
            continue
        labels, name = frozenset(metric._labelnames), metric._name
        if metric._type == "counter":
            found[f"{name}_total"] = labels
        elif metric._type == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels, f"{name}_sum": labels}
        else:
            found[name] = labels
    return found


def named(expression: str) -> tuple[set[str], set[str], list[tuple[str, set[str]]]]:
    """Give the metrics of an expression, the labels that it groups by, and for each selector its metric and labels."""
    bare = _RANGE.sub("", _TEXT.sub('""', expression))
    grouped = {label.strip() for match in _GROUPING.finditer(bare) for label in match[1].split(",") if label.strip()}
    bare = _GROUPING.sub("", bare)
    selectors = [(match[1], set(_labels(match[2]))) for match in _SELECTOR.finditer(bare)]
    rest = re.sub(r"\{[^}]*\}", "", bare)
    rest = re.sub(r"\b\d+(\.\d+)?(e\d+)?\b", "", rest)
    return set(_WORD.findall(rest)) - _KEYWORDS, grouped, selectors


def _labels(text: str) -> Iterator[str]:
    return (match[1] for match in re.finditer(r"(\w+)\s*(?:=~|!~|!=|=)", text))


def objections(expression: str, recorded: frozenset[str] = frozenset()) -> list[str]:
    """Say what an expression names that does not exist; ``recorded`` are series that rules record."""
    series = known()
    names, grouped, selectors = named(expression)
    said = [f"there is no metric {name}" for name in sorted(names) if name not in series and name not in recorded]
    of_all = SCRAPED.union(*(series.get(name, frozenset()) for name in names))
    if not names & recorded:
        said += [f"nothing here has the label {label}" for label in sorted(grouped - of_all)]
    for name, labels in selectors:
        wrong = labels - SCRAPED - series.get(name, frozenset())
        said += [f"{name} has no label {label}" for label in sorted(wrong)]
    return said
