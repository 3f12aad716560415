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
    """Data of a camera's events.

    A file that ended at this ``revision`` of its record and in this ``run`` is not played again.
    """

    site: str
    """The site's id."""
    camera: str
    """The camera's id."""
    camera_name: str
    """Its name for people."""
    reported_at: float
    """When this was noticed."""
    reason: str = ""
    """A sentence for people; never a password."""
    revision: int = 0
    """Of the camera's record."""
    run: str = ""
    """Name of the running system."""


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


def from_key(key: str) -> tuple[str, str, str]:
    """Give the partition, camera and edge that a key of the bucket ``cameras`` names; what it lacks is empty."""
    partition, _, rest = key.partition(".")
    camera, _, edge = rest.partition(".")
    return partition, camera, edge
