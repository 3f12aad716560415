"""Every subject of the bus, as functions of its parts, and the names of its streams and buckets."""

import re

PREFIX = "aegis.v1"
PARTITIONS = 64
EDGE_PARTITIONS = 8
"""So many partitions has each edge, behind those of the centre: as many replicas can share its cameras."""
MOST_EDGES = 8

FACES = "FACES"
VECTORS = "VECTORS"
ALERTS = "ALERTS"
SHADOW = "SHADOW"
CAMERAS = "CAMERAS"
CAP = "CAP"
ONVIF = "ONVIF"
DELIVERIES = "DELIVERIES"
DEAD = "DEAD"

STATUS = f"{PREFIX}.status.requested"
TRACE_KEPT = f"{PREFIX}.trace.kept"

_TOKEN = re.compile(r"[a-z0-9_-]{1,64}")


def token(text: str, what: str) -> str:
    """Check that ``text`` can be one token of a subject: 1 to 64 of ``a-z 0-9 _ -``.

    Raises:
        ValueError: naming ``what`` it was to be.

    """
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise ValueError(f"{what} {text!r} is not 1 to 64 of the characters a-z, 0-9, _ and -")
    return text


def frame_captured(partition: int | str, camera: str) -> str:
    """Give the subject of a camera's frames; ``*`` stands for any partition or camera, as in all of these."""
    return f"{PREFIX}.frame.captured.{partition}.{camera}"


def face_detected(partition: int | str, camera: str) -> str:
    return f"{PREFIX}.face.detected.{partition}.{camera}"


def face_embedded(partition: int | str, camera: str) -> str:
    return f"{PREFIX}.face.embedded.{partition}.{camera}"


def look_requested(partition: int | str, camera: str) -> str:
    return f"{PREFIX}.look.requested.{partition}.{camera}"


def alert(site: str, category: str, entry: str) -> str:
    """Give the one subject on which everything about a person of the list is told."""
    return f"{PREFIX}.alert.{site}.{category}.{entry}"


def shadow(site: str, category: str, entry: str) -> str:
    """Give the subject on which is told what would have been an alert about a person, had the site been armed."""
    return f"{PREFIX}.shadow.{site}.{category}.{entry}"


def camera(site: str, name: str) -> str:
    return f"{PREFIX}.camera.{site}.{name}"


def cap(site: str, category: str, entry: str) -> str:
    """Give the subject on which the story of the same parts is told in the Common Alerting Protocol."""
    return f"{PREFIX}.cap.{site}.{category}.{entry}"


def onvif(site: str, camera_id: str, rule: str) -> str:
    """Give the subject that MQTT calls ``aegis/v1/onvif/SITE/onvif-ej/RuleEngine/Recognition/Face/&CAMERA/RULE``."""
    return f"{PREFIX}.onvif.{site}.onvif-ej.RuleEngine.Recognition.Face.&{camera_id}.{rule}"


def delivery(channel: str, alert_id: str, event: str, recipient: str) -> str:
    """Give the subject of all that becomes of telling a recipient of an event of an alert's story."""
    return f"{PREFIX}.delivery.{channel}.{alert_id}.{event}.{recipient}"


def registry(operation: str) -> str:
    return f"{PREFIX}.registry.{operation}"


def notify(operation: str) -> str:
    """Give the subject on which notify is asked."""
    return f"{PREFIX}.notify.{operation}"


def dead(service: str) -> str:
    return f"{PREFIX}.dead.{service}"


def partition_of(subject: str) -> int:
    """Read the partition out of a frame's, face's or vector's subject."""
    return int(subject.split(".")[4])
