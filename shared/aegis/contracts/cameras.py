"""What is told about a camera: that it delivers, that it does not and why, that its file has ended."""

from dataclasses import dataclass

from aegis.contracts import cloudevents
from aegis.contracts.cloudevents import CloudEvent

ONLINE = "aegis.camera.online.v1"
OFFLINE = "aegis.camera.offline.v1"
ENDED = "aegis.camera.ended.v1"
"""A file that plays once was played to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReport:
    """Data of a camera's events. ``reason`` is a sentence for people; it never holds a password."""

    site: str
    camera: str
    camera_name: str
    reported_at: float
    reason: str = ""
    revision: int = 0
    """Of the camera's record, with ``run`` of the running system: a file that ended in this run is not played again."""
    run: str = ""


def event(kind: str, identity: str, report: CameraReport) -> CloudEvent:
    """Wrap a report as the CloudEvent ``kind`` with the id ``identity``."""
    return CloudEvent(
        id=identity,
        source=f"/aegis/sites/{report.site}",
        type=kind,
        time=cloudevents.rfc3339(report.reported_at),
        subject=report.camera,
        data=cloudevents.to_data(report),
    )
