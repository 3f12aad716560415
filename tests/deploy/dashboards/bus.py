"""The dashboard of the NATS servers and of who reaches them."""

from tests.deploy.dashboards.panels import NS, Dashboard, Panel, Row, stat

BUS = Dashboard(
    "aegis-bus",
    "Aegis: the bus",
    "The NATS servers and their disk, and how the services reach them.",
    (
        Row(
            "Servers",
            (
                stat(
                    "Healthy",
                    "Servers that say so. Two of three are enough, one is not.",
                    "short",
                    f"count(gnatsd_healthz_status{{{NS}}} == 0) or vector(0)",
                    red_below=1,
                ),
                stat(
                    "Disk used",
                    "Of the fullest volume. When it is full no alert is stored.",
                    "percentunit",
                    "1 - min(kubelet_volume_stats_available_bytes{" + NS + ',persistentvolumeclaim=~"data-nats-[0-9]+"}'
                    " / kubelet_volume_stats_capacity_bytes{" + NS + ',persistentvolumeclaim=~"data-nats-[0-9]+"})',
                    red_from=0.7,
                ),
                stat(
                    "JetStream used",
                    "Of what JetStream may use of the disk.",
                    "percentunit",
                    f"max(jetstream_server_total_message_bytes{{{NS}}} / (jetstream_server_max_storage{{{NS}}} > 0))",
                    red_from=0.75,
                ),
                stat(
                    "Clients",
                    "Connections to all servers.",
                    "short",
                    f"sum(gnatsd_varz_connections{{{NS}}})",
                ),
                stat(
                    "Slow consumers",
                    "Clients that a server cut off since it started.",
                    "short",
                    f"sum(gnatsd_varz_slow_consumers{{{NS}}})",
                    red_from=1,
                ),
                stat(
                    "First certificate ends in",
                    "Of the bus, its authority and WHIP.",
                    "s",
                    f"min(aegis_certificate_expires_seconds{{{NS}}}) - time()",
                    red_below=1209600,
                ),
            ),
        ),
        Row(
            "Traffic",
            (
                Panel(
                    "Bytes in",
                    "Nearly all of it is frames.",
                    "Bps",
                    ((f"sum by (server_id) (rate(gnatsd_varz_in_bytes{{{NS}}}[$__rate_interval]))", "{{server_id}}"),),
                ),
                Panel(
                    "Bytes out",
                    "Frames to detect, looks to embed, copies to the other servers.",
                    "Bps",
                    ((f"sum by (server_id) (rate(gnatsd_varz_out_bytes{{{NS}}}[$__rate_interval]))", "{{server_id}}"),),
                ),
                Panel(
                    "Messages in",
                    "Frames, looks, vectors, renewals of leases.",
                    "cps",
                    ((f"sum by (server_id) (rate(gnatsd_varz_in_msgs{{{NS}}}[$__rate_interval]))", "{{server_id}}"),),
                ),
                Panel(
                    "Bytes kept, by stream",
                    "What fills the disk. Pictures of alerts are most of it.",
                    "bytes",
                    (
                        (
                            (
                                "max by (account, stream_name) "
                                f'(jetstream_stream_total_bytes{{{NS},is_stream_leader="true"}})'
                            ),
                            "{{account}} {{stream_name}}",
                        ),
                    ),
                ),
                Panel(
                    "Waiting for durable consumers",
                    "As the bus counts it: also while nobody reads.",
                    "short",
                    (
                        (
                            (
                                f"max by (stream_name, consumer_name) (jetstream_consumer_num_pending{{{NS},"
                                'is_consumer_leader="true",consumer_name=~"embed|match-.*|notify-.*"}) > 0'
                            ),
                            "{{stream_name}} {{consumer_name}}",
                        ),
                    ),
                ),
                Panel(
                    "Memory of the servers",
                    "Looks and vectors are kept in it.",
                    "bytes",
                    ((f"sum by (server_id) (gnatsd_varz_mem{{{NS}}})", "{{server_id}}"),),
                ),
            ),
        ),
        Row(
            "How the services reach it",
            (
                Panel(
                    "Not connected",
                    "Processes that have lost the bus.",
                    "short",
                    ((f"count by (service) (aegis_bus_connected{{{NS}}} == 0) or vector(0)", "{{service}}"),),
                ),
                Panel(
                    "Reconnections in ten minutes",
                    "Each drops some frames. At updates of the bus, and never else.",
                    "short",
                    ((f"sum by (pod) (increase(aegis_bus_reconnects_total{{{NS}}}[10m]))", "{{pod}}"),),
                ),
                Panel(
                    "Clocks, less the bus's",
                    "From two seconds on frames count as old.",
                    "s",
                    ((f"max by (pod) (aegis_clock_offset_seconds{{{NS}}})", "{{pod}}"),),
                ),
            ),
        ),
    ),
)
