"""The dashboard of what it costs and what is left."""

from tests.deploy.dashboards.panels import NS, Dashboard, Panel, Row, rate

TOO_MANY = (
    # A reason that never was has no series.
    f'sum(rate(aegis_frames_dropped_total{{{NS},reason=~"newer|old|slow"}}[$__rate_interval])) or vector(0)'
)

CAPACITY = Dashboard(
    "aegis-capacity",
    "Aegis: capacity",
    "What it costs, and what is left: for the person who decides how many replicas there are.",
    (
        Row(
            "Replicas",
            (
                Panel(
                    "Ready, by service",
                    "Replicas that do their work.",
                    "short",
                    ((f"sum by (service) (aegis_ready{{{NS}}})", "{{service}}"),),
                ),
                Panel(
                    "Versions",
                    "More than one for half an hour: a rollout is stuck.",
                    "short",
                    ((f"count by (version) (aegis_build_info{{{NS}}})", "{{version}}"),),
                ),
                Panel(
                    "To be held, by kind",
                    "Cameras, and partitions that have cameras.",
                    "short",
                    ((f"max by (kind, pool) (aegis_leases_wanted{{{NS}}})", "{{kind}} {{pool}}"),),
                ),
            ),
        ),
        Row(
            "CPU",
            (
                Panel(
                    "Used, by service",
                    "In cores.",
                    "short",
                    rate("process_cpu_seconds_total", "service", 'job="aegis"'),
                    stacked=True,
                ),
                Panel(
                    "For each frame that is searched",
                    "Of ingest and detect together.",
                    "s",
                    (
                        (
                            (
                                f'sum(rate(process_cpu_seconds_total{{{NS},service=~"ingest|detect"}}[$__rate_interval]))'
                                f" / sum(rate(aegis_frames_processed_total{{{NS}}}[$__rate_interval]))"
                            ),
                            "CPU",
                        ),
                    ),
                ),
                Panel(
                    "Models at work",
                    "Share of the time: a replica runs one at a time, so near 1 it is full.",
                    "percentunit",
                    (
                        (
                            f"sum by (pod, model) (rate(aegis_inference_seconds_sum{{{NS}}}[$__rate_interval]))",
                            "{{pod}} {{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Held back by CPU limits",
                    "Time in which a container wanted to run and was not let. Raise or remove the limit.",
                    "s",
                    (
                        (
                            f"sum by (pod) (rate(container_cpu_cfs_throttled_seconds_total{{{NS}}}[$__rate_interval]))",
                            "{{pod}}",
                        ),
                    ),
                ),
                Panel(
                    "Frames not searched for lack of time",
                    "The share of newer, old and slow. Above a half, run more replicas of detect.",
                    "percentunit",
                    (
                        (
                            (
                                f"({TOO_MANY}) / (({TOO_MANY})"
                                f" + sum(rate(aegis_frames_processed_total{{{NS}}}[$__rate_interval])))"
                            ),
                            "dropped",
                        ),
                    ),
                ),
                Panel(
                    "Frames searched, by replica",
                    "What a replica of detect does; even, if cameras are.",
                    "cps",
                    rate("aegis_frames_processed_total", "pod"),
                ),
            ),
        ),
        Row(
            "Memory",
            (
                Panel(
                    "Used, by replica",
                    "Resident memory.",
                    "bytes",
                    ((f'max by (pod) (process_resident_memory_bytes{{{NS},job="aegis"}})', "{{pod}}"),),
                    width=12,
                ),
                Panel(
                    "Of its limit",
                    "At 1 a container is killed.",
                    "percentunit",
                    (
                        (
                            (
                                f'max by (pod, container) (container_memory_working_set_bytes{{{NS},container!=""}})'
                                " / on (pod, container) max by (pod, container) "
                                f'(kube_pod_container_resource_limits{{{NS},resource="memory"}})'
                            ),
                            "{{pod}} {{container}}",
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
    ),
)
