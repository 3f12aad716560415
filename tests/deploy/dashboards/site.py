"""The dashboard of the person on duty: is the site watched, who was seen, who was told."""

from tests.deploy.dashboards.panels import NS, Dashboard, Panel, Row, quantiles, stat

SITE = Dashboard(
    "aegis-site",
    "Aegis: the site",
    "Is the site watched, who was seen, and who was told? For the person on duty.",
    (
        Row(
            "Are we watching?",
            (
                stat(
                    "State",
                    "What the services take the site to be. Two at once: one of them is behind.",
                    "string",
                    f"max by (state) (aegis_site_state{{{NS}}}) == 1",
                    legend="{{state}}",
                    words=(("1", "now"),),
                ),
                stat(
                    "In this state for",
                    "Since somebody armed or disarmed it, or the site file did.",
                    "s",
                    f"time() - max(aegis_site_state_since_seconds{{{NS}}} > 0)",
                ),
                stat(
                    "Cameras that deliver",
                    "Of those that a replica of ingest holds.",
                    "short",
                    f"sum(max by (camera) (aegis_camera_online{{{NS}}}))",
                ),
                stat(
                    "Cameras that do not",
                    "Nobody is recognised there. aegis status gives each one's reason.",
                    "short",
                    f"count(max by (camera) (aegis_camera_online{{{NS}}}) == 0) or vector(0)",
                    red_from=1,
                ),
                stat(
                    "People who can be matched",
                    "The smallest gallery of all replicas of match.",
                    "short",
                    f'min(aegis_gallery_entries{{{NS},service="match"}})',
                    red_below=1,
                ),
                stat(
                    "Alarms of operation",
                    "Rules that fire now; each has its runbook.",
                    "short",
                    f'count(ALERTS{{{NS},alertstate="firing"}}) or vector(0)',
                    red_from=1,
                ),
            ),
        ),
        Row(
            "Who was seen",
            (
                Panel(
                    "Alerts in an hour",
                    "Raised, raised again as more severe, and sighted again. Armed only.",
                    "short",
                    ((f"sum by (event) (increase(aegis_alerts_total{{{NS}}}[1h]))", "{{event}}"),),
                ),
                Panel(
                    "Would have been alerts in an hour",
                    "In shadow. Arm when it is a number that people can look into, each time.",
                    "short",
                    ((f"sum by (event) (increase(aegis_shadow_alerts_total{{{NS}}}[1h]))", "{{event}}"),),
                ),
                Panel(
                    "From first look to alert",
                    "A second is what is promised, for ninety-nine of a hundred.",
                    "s",
                    quantiles("aegis_alert_latency_seconds", where='since="first_look"', shares=(0.5, 0.95, 0.99)),
                ),
                Panel(
                    "Faces found, by camera",
                    "A camera without any at a busy hour may be turned, dirty or frozen.",
                    "short",
                    ((f"sum by (camera) (increase(aegis_faces_detected_total{{{NS}}}[10m]))", "{{camera}}"),),
                    width=16,
                ),
                Panel(
                    "Canary's margin",
                    "Score above the threshold of its last alert. It falls before people are missed.",
                    "none",
                    ((f"min by (camera) (aegis_canary_margin{{{NS}}})", "{{camera}}"),),
                ),
                Panel(
                    "Canary's latency",
                    "From its appearance in the picture to its alert.",
                    "s",
                    quantiles("aegis_canary_latency_seconds", shares=(0.5, 0.99)),
                ),
                Panel(
                    "Canary",
                    "How often the test face was recognised, missed, or could not be shown, in an hour.",
                    "short",
                    ((f"sum by (outcome) (increase(aegis_canary_runs_total{{{NS}}}[1h]))", "{{outcome}}"),),
                ),
            ),
        ),
        Row(
            "Who was told",
            (
                Panel(
                    "Deliveries in an hour",
                    "How they ended: sent or delivered is good; failed and expired are people who were not told.",
                    "short",
                    (
                        (
                            (
                                f"sum by (channel, state) (increase(aegis_deliveries_total{{{NS},"
                                'state=~"sent|delivered|failed|expired|retried"}[1h]))'
                            ),
                            "{{channel}} {{state}}",
                        ),
                    ),
                ),
                Panel(
                    "Longest wait",
                    "Of a telling that is due and was not handed over. Above a minute, reach people by other means.",
                    "s",
                    ((f"max by (channel) (aegis_delivery_waiting_seconds{{{NS}}})", "{{channel}}"),),
                ),
                Panel(
                    "From due to handed over",
                    "How long the providers take.",
                    "s",
                    quantiles("aegis_delivery_latency_seconds", by="channel", shares=(0.99,)),
                ),
            ),
        ),
    ),
)
