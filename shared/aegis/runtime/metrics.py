"""Every metric of the system in one list, and the form in which a service hands them to ``aegis status``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
LATENCIES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(name, what, labels, registry=REGISTRY)


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(name, what, labels, registry=REGISTRY)


def _histogram(name: str, what: str, *labels: str, buckets: tuple[float, ...] = LATENCIES) -> Histogram:
    return Histogram(name, what, labels, registry=REGISTRY, buckets=buckets)


FRAMES_CAPTURED = _counter("aegis_frames_captured", "Frames sent to detection", "camera")
FRAMES_DROPPED = _counter("aegis_frames_dropped", "Frames that were not processed", "camera", "reason")
FRAMES_GATED = _counter(
    "aegis_frames_gated", "Pictures passed over since nothing moved (packets: not even decoded)", "camera", "reason"
)
PACKETS_TELL = _gauge(
    "aegis_camera_packets_tell", "1 where the sizes of a camera's packets tell whether anything moves", "camera"
)
FRAMES_PROCESSED = _counter("aegis_frames_processed", "Frames in which faces were sought", "camera")
FRAME_AGE = _histogram("aegis_frame_age_seconds", "From capture to the end of detection")
CAMERA_ONLINE = _gauge("aegis_camera_online", "1 while a camera delivers", "camera")
FACES = _counter("aegis_faces_detected", "Faces found in frames", "camera")
LOOKS = _counter("aegis_looks", "Usable looks sent to embedding, and others by their flaw", "outcome")
TRACKS = _gauge("aegis_tracks", "Tracks that live now")
EMBEDDED = _counter("aegis_looks_embedded", "Looks turned into vectors")
EXPIRED = _counter("aegis_looks_expired", "Looks that were too old to embed")
LOOK_AGE = _histogram("aegis_look_age_seconds", "From when a face was last in view to its vector")
INFERENCE = _histogram("aegis_inference_seconds", "One run of a model", "model")
MODEL_INFO = _gauge("aegis_model_info", "1 for the file of the model in use", "model", "sha256")
PROVIDER = _gauge("aegis_inference_provider", "1 for the execution provider in use", "model", "provider")
FELL_BACK = _gauge("aegis_inference_fell_back", "1 when a faster provider could not be used", "model")
GALLERY = _gauge("aegis_gallery_entries", "People in the gallery that can be matched, without the canary")
MATCHES = _counter("aegis_matches", "Looks that were compared with the gallery", "outcome")
ALERTS = _counter("aegis_alerts", "Events told about people of the list", "event")
SHADOW_ALERTS = _counter("aegis_shadow_alerts", "Events that would have been told, had the site been armed", "event")
ALERT_LATENCY = _histogram("aegis_alert_latency_seconds", "From a capture to the alert on the bus", "since")
DELIVERIES = _counter("aegis_deliveries", "Attempts to tell people and systems", "channel", "state")
DELIVERY_LATENCY = _histogram(
    "aegis_delivery_latency_seconds",
    "From when it was due to its hand-over",
    "channel",
    buckets=(*LATENCIES, 30.0, 60.0, 300.0),
)
DELIVERY_WAITING = _gauge(
    "aegis_delivery_waiting_seconds", "For how long the oldest telling has been due that was not handed over", "channel"
)
RECEIPTS = _counter("aegis_receipts", "Receipts of SMS providers, by what became of them", "provider", "outcome")
LEASES = _gauge("aegis_leases_held", "Cameras or partitions that this replica holds", "kind")
LEASES_WANTED = _gauge("aegis_leases_wanted", "Cameras or partitions that the replicas are to share", "kind", "pool")
LEASES_FREE = _gauge("aegis_leases_free", "Those that nobody holds, as far as this replica has heard", "kind", "pool")
LEASE_MOVES = _counter(
    "aegis_lease_moves", "Leases that this replica took, gave back for an even spread, or lost", "kind"
)
QUEUE_WAITING = _gauge(
    "aegis_queue_waiting", "Messages that wait on the bus for the durable consumers of this service", "stream"
)
DEAD = _counter("aegis_dead_letters", "Messages that could not be handled")
CANARY_RUNS = _counter("aegis_canary_runs", "Showings of the canary, by what came of them", "camera", "outcome")
CANARY_LATENCY = _histogram("aegis_canary_latency_seconds", "From the canary's appearance to its alert", "camera")
CANARY_SEEN = _gauge("aegis_canary_last_seen_seconds", "When the canary was last alerted of, in Unix time", "camera")
CANARY_MARGIN = _gauge(
    "aegis_canary_margin", "Score of the canary's last alert less its threshold: it falls before recall does", "camera"
)
SPANS_EXPORTED = _counter("aegis_spans_exported", "Spans that the collector of traces took")
SPANS_DROPPED = _counter("aegis_spans_dropped", "Spans that it did not take, or that were too many to wait for it")
SITE_STATE = _gauge("aegis_site_state", "1 for the state in which this process takes the site to be", "state")
SITE_STATE_SINCE = _gauge("aegis_site_state_since_seconds", "When it was set, as unix time; 0 where that is not known")
CLOCK_OFFSET = _gauge("aegis_clock_offset_seconds", "This machine's clock less the bus's, the least of a minute")
CERTIFICATE_EXPIRES = _gauge(
    "aegis_certificate_expires_seconds", "When a certificate in use ends, as unix time", "file"
)
BUS_CONNECTED = _gauge("aegis_bus_connected", "1 while this process is connected to the bus")
BUS_RECONNECTS = _counter("aegis_bus_reconnects", "Connections to the bus after the first")
READY = _gauge("aegis_ready", "1 while `/readyz` answers 200")
BUILD_INFO = _gauge("aegis_build_info", "1 for the version that runs", "version")


def snapshot() -> dict[str, float]:
    """Give every sample as ``name{label="value"}`` and its value."""
    samples: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def quantile(buckets: dict[float, float], share: float) -> float:
    """Interpolate a quantile from cumulative histogram buckets (upper bound to count), as Prometheus does.

    NaN when the histogram is empty; the highest finite bound when the quantile lies above it.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        return float("nan")
    below, lower = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= share * total and bound != float("inf"):
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((share * total - below) / inside if inside else 1.0)
        if bound != float("inf"):
            below, lower = buckets[bound], bound
    return lower
