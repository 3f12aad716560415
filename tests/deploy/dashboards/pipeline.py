"""The dashboard of what each service does with frames and looks."""

from tests.deploy.dashboards.panels import NS, Dashboard, Panel, Row, quantiles, rate

PIPELINE = Dashboard(
    "aegis-pipeline",
    "Aegis: the pipeline",
    "What each service does with frames and looks, camera by camera, and what is lost on the way.",
    (
        Row(
            "Frames",
            (
                Panel("Captured", "Sent to detect.", "cps", rate("aegis_frames_captured_total", "camera")),
                Panel("Searched for faces", "By detect.", "cps", rate("aegis_frames_processed_total", "camera")),
                Panel(
                    "Passed over",
                    "Nothing moved, so they were not looked at. All of them on a busy camera: gating is wrong there.",
                    "cps",
                    rate("aegis_frames_gated_total", "camera"),
                ),
                Panel(
                    "Dropped, by reason",
                    "newer, old, slow, overwritten: too much to do. lease, superseded: a move. disarmed: meant so.",
                    "cps",
                    rate("aegis_frames_dropped_total", "reason"),
                    stacked=True,
                ),
                Panel(
                    "From capture to the end of detection",
                    "Above 300 ms detect has too much to do.",
                    "s",
                    quantiles("aegis_frame_age_seconds"),
                ),
                Panel(
                    "Tracks that live",
                    "Faces that are being followed.",
                    "short",
                    ((f'sum by (pod) (aegis_tracks{{{NS},service="detect"}})', "{{pod}}"),),
                ),
            ),
        ),
        Row(
            "Looks",
            (
                Panel(
                    "By outcome",
                    "Sent, or what was wrong with them. Many small or dark: move the camera or add light.",
                    "cps",
                    rate("aegis_looks_total", "outcome"),
                    stacked=True,
                ),
                Panel(
                    "Embedded, and expired",
                    "An expired look is one that nobody was compared with.",
                    "cps",
                    (
                        (f"sum(rate(aegis_looks_embedded_total{{{NS}}}[$__rate_interval]))", "embedded"),
                        (f"sum(rate(aegis_looks_expired_total{{{NS}}}[$__rate_interval]))", "expired"),
                    ),
                ),
                Panel(
                    "Age when embedded",
                    "From when the face was last in view. At five seconds looks expire.",
                    "s",
                    quantiles("aegis_look_age_seconds"),
                ),
                Panel("Compared", "With the gallery.", "cps", rate("aegis_matches_total", "outcome"), stacked=True),
                Panel(
                    "Waiting on the bus",
                    "For the readers of each stream. Looks that stay above some tens: run more replicas of embed.",
                    "short",
                    (
                        (f'max(aegis_queue_waiting{{{NS},stream="FACES"}})', "FACES"),
                        (f'sum(aegis_queue_waiting{{{NS},stream="VECTORS"}})', "VECTORS"),
                        (f'max by (stream) (aegis_queue_waiting{{{NS},stream=~"ALERTS|DELIVERIES"}})', "{{stream}}"),
                    ),
                ),
                Panel(
                    "One run of a model",
                    "Longer than it was: another provider, or a busy node.",
                    "s",
                    quantiles("aegis_inference_seconds", by="model"),
                ),
            ),
        ),
        Row(
            "Who holds what",
            (
                Panel(
                    "Held, by replica",
                    "Cameras of ingest, partitions of detect and match; even, within one.",
                    "short",
                    ((f"sum by (kind, pod) (aegis_leases_held{{{NS}}})", "{{kind}} {{pod}}"),),
                ),
                Panel(
                    "Held by nobody",
                    "Nothing is recognised on these.",
                    "short",
                    ((f"min by (kind, pool) (aegis_leases_free{{{NS}}})", "{{kind}} {{pool}}"),),
                ),
                Panel(
                    "Moves in ten minutes",
                    "Each costs some seconds of a camera. None but at updates and when a replica dies.",
                    "short",
                    ((f"sum by (kind) (increase(aegis_lease_moves_total{{{NS}}}[10m]))", "{{kind}}"),),
                ),
                Panel(
                    "Providers in use",
                    "What runs the models, by replica.",
                    "short",
                    (
                        (
                            f"count by (model, provider) (aegis_inference_provider{{{NS}}} == 1)",
                            "{{model}} on {{provider}}",
                        ),
                    ),
                ),
                Panel(
                    "Dead letters in an hour",
                    "Messages that could not be handled. There should be none.",
                    "short",
                    ((f"sum by (service) (increase(aegis_dead_letters_total{{{NS}}}[1h]))", "{{service}}"),),
                ),
                Panel(
                    "Models in use",
                    "One line for each model; two with the same name are different files.",
                    "short",
                    ((f"count by (model, sha256) (aegis_model_info{{{NS}}})", "{{model}} {{sha256}}"),),
                ),
            ),
        ),
    ),
)
