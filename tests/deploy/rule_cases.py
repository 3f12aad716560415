"""What each alert rule is shown, and whether it must fire: series in promtool's notation, a value a minute."""

from dataclasses import dataclass, field

HOUR, DAY, WEEK = 60, 1440, 10080
"""In minutes."""


@dataclass(frozen=True, slots=True)
class Case:
    """Series, and how many times each of the alerts fires after so many minutes."""

    alert: str
    fires: int
    series: dict[str, str]
    at: int = 30
    step: int = 1
    """Minutes between two values, and two evaluations."""
    why: str = field(default="", compare=False)


def flat(value: float, minutes: int = HOUR) -> str:
    return f"{value}+0x{minutes}"


def grows(by: float, minutes: int = HOUR) -> str:
    return f"0+{by}x{minutes}"


NS = 'namespace="school"'
ARMED = {f'aegis_site_state{{{NS},service="detect",pod="d1",state="armed"}}': flat(1, 3 * HOUR)}


def online(*values: str) -> dict[str, str]:
    return {f'aegis_camera_online{{{NS},pod="i{n}",camera="gate"}}': value for n, value in enumerate(values)}


WEEKS = 2 * WEEK // 10
"""Values of two weeks, ten minutes apart."""


def weeks(camera: str, *, now: str, before: str = "30", processing: str = "1") -> dict[str, str]:
    """Give a camera that saw people for two weeks and a day, and what it saw in the four hours since.

    Each value is the growth in ten minutes; ``_`` is a series that is not there.
    """
    faces = f"0+{before}x{WEEKS + 144}"
    faces += " _x24" if now == "_" else f" {int(before) * (WEEKS + 144)}+{now}x24"
    return {
        f'aegis_faces_detected_total{{{NS},camera="{camera}"}}': faces,
        f'aegis_camera_online{{{NS},camera="{camera}"}}': f"1+0x{WEEKS + 200}",
        f'aegis_site_state{{{NS},state="armed"}}': f"1+0x{WEEKS + 144} {processing}+0x24",
    }


LATER = 2 * WEEK + DAY + 4 * HOUR
"""Minutes: at the end of what ``weeks`` gives."""


def pods(name: str, labels: str, *values: str) -> dict[str, str]:
    """Give a metric of several pods, each with the same labels besides."""
    return {f'{name}{{{NS},pod="p{n}"{"," if labels else ""}{labels}}}': value for n, value in enumerate(values)}


LATENCY = "aegis_alert_latency_seconds"


def latencies(fast: float, slow: float) -> dict[str, str]:
    """Give alerts of which so many a minute are faster than a second, and so many slower."""
    since = 'since="first_look"'
    return {
        f'{LATENCY}_bucket{{{NS},{since},le="1.0"}}': grows(fast, 2 * HOUR),
        f'{LATENCY}_bucket{{{NS},{since},le="2.0"}}': grows(fast + slow, 2 * HOUR),
        f'{LATENCY}_bucket{{{NS},{since},le="+Inf"}}': grows(fast + slow, 2 * HOUR),
        f"{LATENCY}_count{{{NS},{since}}}": grows(fast + slow, 2 * HOUR),
    }


def volume(used: float) -> dict[str, str]:
    claim = f'{NS},persistentvolumeclaim="data-nats-0"'
    return {
        f"kubelet_volume_stats_available_bytes{{{claim}}}": flat(100 - used, 2 * HOUR),
        f"kubelet_volume_stats_capacity_bytes{{{claim}}}": flat(100, 2 * HOUR),
    }


def store(used: float) -> dict[str, str]:
    return {
        f'jetstream_server_total_message_bytes{{{NS},server_id="nats-0"}}': flat(used, 2 * HOUR),
        f'jetstream_server_max_storage{{{NS},server_id="nats-0"}}': flat(100, 2 * HOUR),
    }


def memory(used: float, *, ours: bool = True) -> dict[str, str]:
    container = f'{NS},pod="p",container="aegis"'
    series = {
        f"container_memory_working_set_bytes{{{container}}}": flat(used),
        f'kube_pod_container_resource_limits{{{container},resource="memory"}}': flat(100),
    }
    return series | ({f'aegis_build_info{{{NS},version="1"}}': flat(1)} if ours else {})


def certificate(days: float) -> dict[str, str]:
    return {f'aegis_certificate_expires_seconds{{{NS},pod="p",file="bus"}}': flat(days * 86400, 3 * HOUR)}


def canary(outcome: str, *values: str) -> dict[str, str]:
    runs = {f'aegis_canary_runs_total{{{NS},pod="c{n}",outcome="{outcome}"}}': v for n, v in enumerate(values)}
    return runs | {f'aegis_canary_last_seen_seconds{{{NS},pod="c0"}}': "60+0x20 _x200"} | ARMED


def fell_back(*values: str) -> dict[str, str]:
    return pods("aegis_inference_fell_back", 'model="sface"', *values)


def state(**states: str) -> dict[str, str]:
    """Give the state in which each pod takes the site to be; ``none`` for one that knows none."""
    return {
        f'aegis_site_state{{{NS},service="match",pod="{pod}",state="{name}"}}': flat(int(name == known))
        for pod, known in states.items()
        for name in ("disarmed", "shadow", "armed")
    }


def models(*files: tuple[str, str]) -> dict[str, str]:
    return {
        f'aegis_model_info{{{NS},service="{service}",pod="p{n}",model="m",sha256="{sha}"}}': flat(1)
        for n, (service, sha) in enumerate(files)
    }


def galleries(*sizes: float) -> dict[str, str]:
    # The others have the metric, too, and no gallery.
    others = {f'aegis_gallery_entries{{{NS},service="embed",pod="e"}}': flat(0)}
    return pods("aegis_gallery_entries", 'service="match"', *(flat(size) for size in sizes)) | others | ARMED


def rates(**growth: float) -> dict[str, str]:
    return {f"aegis_{name}_total{{{NS}}}": grows(by) for name, by in growth.items()}


def frames(processed: float, **dropped: float) -> dict[str, str]:
    return {f'aegis_frames_processed_total{{{NS},camera="c"}}': grows(processed)} | {
        f'aegis_frames_dropped_total{{{NS},camera="c",reason="{reason}"}}': grows(by) for reason, by in dropped.items()
    }


def deliveries(outcome: str, values: str) -> dict[str, str]:
    return {f'aegis_deliveries_total{{{NS},pod="n",channel="sms",state="{outcome}"}}': values}


def replicas(wanted: int, ready: int) -> dict[str, str]:
    return {
        f'kube_statefulset_replicas{{{NS},statefulset="nats"}}': flat(wanted),
        f'kube_statefulset_status_replicas_ready{{{NS},statefulset="nats"}}': flat(ready),
    }


MARGIN = f'aegis_canary_margin{{{NS},pod="c",camera="canary"}}'
CANARY_SHOWN = {
    f'aegis_camera_online{{{NS},pod="i",camera="canary"}}': flat(1),
    f'aegis_canary_last_seen_seconds{{{NS},pod="c",camera="canary"}}': flat(60),
}
SKEW = f'aegis_clock_offset_seconds{{{NS},service="detect",pod="p"}}'
CHURN = f'aegis_lease_moves_total{{{NS},pod="p",kind="detect"}}'
WANTED = f'aegis_leases_wanted{{{NS},pod="p",kind="detect"}}'
DEAD = f'aegis_dead_letters_total{{{NS},service="embed",pod="p"}}'

CASES = (
    Case("CameraOffline", 1, online(flat(0))),
    Case("CameraOffline", 0, online("1+0x28 0 1 1"), why="a minute is not enough"),
    Case("CameraOffline", 0, online(flat(0), flat(1)), why="another replica has it"),
    Case("AllCamerasOffline", 1, pods("aegis_camera_online", 'camera="a"', flat(0), flat(0))),
    Case("AllCamerasOffline", 0, pods("aegis_camera_online", 'camera="a"', flat(0)) | online(flat(1))),
    Case("AllCamerasOffline", 1, pods("aegis_camera_online", 'camera="a"', flat(0)) | CANARY_SHOWN),
    Case("AllCamerasOffline", 0, pods("aegis_camera_online", 'camera="a"', flat(1)) | CANARY_SHOWN),
    Case("AllCamerasOffline", 0, CANARY_SHOWN, why="there are no others"),
    Case("CameraUnheld", 1, pods("aegis_leases_free", 'kind="detect"', flat(2), flat(3))),
    Case(
        "CameraUnheld",
        1,
        pods("aegis_leases_free", 'kind="ingest",pool="gym"', flat(1))
        | pods("aegis_leases_free", 'kind="ingest"', flat(0)),
    ),
    Case("CameraUnheld", 0, pods("aegis_leases_free", 'kind="detect"', flat(2), flat(0)), why="one has heard less"),
    Case("CameraUnheld", 0, pods("aegis_leases_free", 'kind="registry"', flat(1))),
    Case("CameraSeesNobody", 1, weeks("gate", now="0") | weeks("hall", now="30") | weeks("yard", now="30"), LATER, 10),
    Case("CameraSeesNobody", 1, weeks("gate", now="_") | weeks("hall", now="30") | weeks("yard", now="5"), LATER, 10),
    Case("CameraSeesNobody", 1, weeks("gate", now="0"), LATER, 10, "the only one"),
    Case("CameraSeesNobody", 0, weeks("gate", now="5"), LATER, 10, "somebody"),
    Case("CameraSeesNobody", 0, weeks("gate", now="0", before="1"), LATER, 10, "never many"),
    Case("CameraSeesNobody", 0, weeks("gate", now="0", processing="0"), LATER, 10, "disarmed"),
    Case("CameraSeesNobody", 0, weeks("gate", now="0") | weeks("hall", now="0"), LATER, 10, "a holiday"),
    Case("SiteSeesNobody", 1, weeks("gate", now="0") | weeks("hall", now="0"), LATER, 10),
    Case("SiteSeesNobody", 0, weeks("gate", now="0") | weeks("a", now="9") | weeks("b", now="9"), LATER, 10),
    Case("SiteNotArmed", 1, {f'aegis_site_state{{{NS},state="armed"}}': "1+0x1100 0+0x30"}, WEEK + 1200, 10),
    Case("SiteNotArmed", 0, {f'aegis_site_state{{{NS},state="armed"}}': "1+0x2000"}, WEEK + 1200, 10),
    Case("SiteNotArmed", 0, {f'aegis_site_state{{{NS},state="armed"}}': "0+0x2000"}, WEEK + 1200, 10, "never is"),
    Case("SiteStateUnknown", 1, state(a="none", b="armed")),
    Case("SiteStateUnknown", 0, state(a="armed", b="disarmed")),
    Case("SiteStateDiffers", 1, state(a="armed", b="disarmed")),
    Case("SiteStateDiffers", 0, state(a="armed", b="armed")),
    Case("CanaryMissed", 1, canary("missed", "0+0x20 1+1x10")),
    Case("CanaryMissed", 0, canary("missed", "0+0x20 1+0x10"), why="one alone"),
    Case("CanaryMissed", 0, canary("seen", grows(1))),
    Case("CanaryMarginFalls", 1, {MARGIN: "0.3+0x1100 0.1+0x200"}, WEEK + 2 * DAY, 10),
    Case("CanaryMarginFalls", 0, {MARGIN: "0.3+0x1100 0.25+0x200"}, WEEK + 2 * DAY, 10),
    Case("CanaryNotRunning", 1, canary("seen", "0+1x20 _x200"), 3 * HOUR),
    Case("CanaryNotRunning", 1, canary("seen", "0+1x20 20+0x200"), 3 * HOUR),
    Case("CanaryNotRunning", 0, canary("seen", grows(0.2, 4 * HOUR)), 3 * HOUR),
    Case("CanaryNotRunning", 0, canary("missed", grows(0.2, 4 * HOUR)), 3 * HOUR, why="it runs"),
    Case("CanaryNotRunning", 0, dict(ARMED), 3 * HOUR, why="there is none"),
    Case("ProviderFellBack", 1, fell_back("0+0x60 1+0x60", flat(0, 2 * HOUR)), 2 * HOUR),
    Case("ProviderFellBack", 1, fell_back("0+0x60", "_x60 1+0x60"), 2 * HOUR, why="the next pod has no card"),
    Case("ProviderFellBack", 0, fell_back(flat(1, 2 * HOUR)), 2 * HOUR, why="it always was so"),
    Case("ModelsDiffer", 1, models(("embed", "a"), ("embed", "b"))),
    Case("ModelsDiffer", 1, models(("embed", "a"), ("registry", "b"))),
    Case("ModelsDiffer", 0, models(("embed", "a"), ("registry", "a"), ("detect", "d"))),
    Case("GalleryEmpty", 1, galleries(0, 0)),
    Case("GalleryEmpty", 0, galleries(0, 5)),
    Case("GalleriesDiffer", 1, galleries(4, 5)),
    Case("GalleriesDiffer", 0, galleries(5, 5)),
    Case("LooksExpire", 1, rates(looks_expired=10, looks_embedded=90) | ARMED),
    Case("LooksExpire", 0, rates(looks_expired=2, looks_embedded=98) | ARMED),
    Case("LooksExpire", 0, rates(looks_expired=10, looks_embedded=0) | state(a="disarmed"), why="disarmed"),
    Case("FramesDropped", 1, frames(100, newer=90, slow=20)),
    Case("FramesDropped", 0, frames(100, newer=90)),
    Case("FramesDropped", 0, frames(100, newer=9, disarmed=900), why="disarmed"),
    Case("AlertLatencyHigh", 1, latencies(1, 0.1), 90),
    Case("AlertLatencyHigh", 0, latencies(1, 0.005), 90),
    Case("AlertLatencyHigh", 0, latencies(0, 0.05), 90, why="three in an hour"),
    Case("DeliveriesFail", 1, deliveries("failed", "0+0x25 1+0x20")),
    Case("DeliveriesFail", 1, deliveries("expired", "0+0x25 1+0x20")),
    Case("DeliveriesFail", 0, deliveries("retried", "0+0x25 1+0x20")),
    Case("DeliveriesWait", 1, {f'aegis_delivery_waiting_seconds{{{NS},pod="n",channel="sms"}}': "0+0x28 1+60x5"}),
    Case("DeliveriesWait", 0, {f'aegis_delivery_waiting_seconds{{{NS},pod="n",channel="sms"}}': flat(30)}),
    Case("RegistryWithoutLeader", 1, pods("aegis_leases_free", 'kind="registry"', flat(1), flat(1))),
    Case("RegistryWithoutLeader", 0, pods("aegis_leases_free", 'kind="registry"', flat(0), flat(1))),
    Case("ServiceDown", 1, pods("aegis_ready", 'service="embed"', flat(0), "1+0x20 _x40")),
    Case("ServiceDown", 1, pods("aegis_ready", 'service="embed"', "1+0x10 _x40"), why="its pods are gone"),
    Case("ServiceDown", 0, pods("aegis_ready", 'service="embed"', flat(0), flat(1))),
    Case("ReplicaNotReady", 1, pods("aegis_ready", 'service="embed"', flat(0), flat(1))),
    Case("ReplicaNotReady", 1, pods("up", 'job="aegis",service="embed"', flat(0), flat(1))),
    Case("ReplicaNotReady", 0, pods("aegis_ready", 'service="embed"', "0+0x3 1+0x60")),
    Case("ReplicaNotReady", 0, pods("up", 'job="another"', flat(0))),
    Case("LeaseChurn", 1, {CHURN: grows(2, 2 * HOUR), WANTED: flat(4, 2 * HOUR)}, 2 * HOUR),
    Case("LeaseChurn", 0, {CHURN: "0+2x10 20+0x200", WANTED: flat(4, 2 * HOUR)}, 40, why="a rolling update"),
    Case("DeadLetters", 1, {DEAD: "0+0x25 1+0x20"}),
    Case("DeadLetters", 0, {DEAD: flat(7)}),
    Case("ClockSkew", 1, {SKEW: flat(-3)}),
    Case("ClockSkew", 1, {SKEW: flat(0.8)}),
    Case("ClockSkew", 0, {SKEW: flat(0.1)}),
    Case("MemoryNearLimit", 1, memory(95)),
    Case("MemoryNearLimit", 0, memory(80)),
    Case("MemoryNearLimit", 0, memory(95, ours=False)),
    Case(
        "VersionSkew",
        1,
        pods("aegis_build_info", 'version="1"', flat(1))
        | memory(1)
        | {f'aegis_build_info{{{NS},pod="q",version="2"}}': flat(1)},
        50,
    ),
    Case("VersionSkew", 0, pods("aegis_build_info", 'version="1"', flat(1), flat(1)), 50),
    Case("BusDisconnected", 1, pods("aegis_bus_connected", 'service="embed"', flat(0), flat(1))),
    Case("BusDisconnected", 0, pods("aegis_bus_connected", 'service="embed"', flat(1), flat(1))),
    Case("BusReconnects", 1, pods("aegis_bus_reconnects_total", 'service="embed"', grows(1))),
    Case("BusReconnects", 0, pods("aegis_bus_reconnects_total", 'service="embed"', "0+0x25 3+0x60")),
    Case("BusReplicaMissing", 1, replicas(3, 2)),
    Case("BusReplicaMissing", 0, replicas(3, 3)),
    Case("BusUnhealthy", 1, pods("gnatsd_healthz_status", "", flat(1), flat(0))),
    Case("BusUnhealthy", 0, pods("gnatsd_healthz_status", "", "1+0x5 0+0x60", flat(0))),
    Case("BusDiskFills", 1, volume(75), HOUR),
    Case("BusDiskFills", 1, store(80), HOUR),
    Case("BusDiskFills", 0, volume(50) | store(50), HOUR),
    Case("BusDiskFull", 1, volume(90)),
    Case("BusDiskFull", 1, store(95)),
    Case("BusDiskFull", 0, volume(75) | store(80)),
    Case("CertificateEnds", 1, certificate(10), 2 * HOUR),
    Case("CertificateEnds", 0, certificate(30), 2 * HOUR),
    Case("CertificateEndsSoon", 1, certificate(1), 2 * HOUR),
    Case("CertificateEndsSoon", 0, certificate(10), 2 * HOUR),
)
