"""Sightings as the face recognition events of ONVIF Profile M, in the JSON form that ONVIF gives them over MQTT. Pure.

Sources: ONVIF Core Specification, "Event handling through MQTT" (topics, ``onvif-ej``), and ONVIF Analytics Service
Specification, "Recognition rule engines" (``tns1:RuleEngine/Recognition/Face``).
"""

import json

from aegis.contracts import alerts, cloudevents, codec, subjects
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent

CONTENT_TYPE = "application/json"
DRILL = "drill-"
"""Begins the rule of a drill: ONVIF knows none, and what was set up for the category's rule must not react to it."""


def sighting(event: CloudEvent) -> Sighting | None:
    """Give what an event says was seen, its ids fit for a topic; None for one that says no such thing, or a canary's.

    Raises:
        DecodeError: naming the field.

    """
    if event.type not in (alerts.RAISED, alerts.SIGHTED):
        return None
    seen = cloudevents.from_data(Sighting, event.data)
    if seen.canary:
        return None
    for name in ("site", "category", "camera"):
        try:
            subjects.token(getattr(seen, name), name)
        except ValueError as error:
            raise codec.DecodeError("Sighting", str(error), name) from None
    return seen


def rule(seen: Sighting) -> str:
    """Name the rule that recognised the face: the category, marked in a drill."""
    return f"{DRILL if seen.drill else ''}{seen.category}"


def face(event: CloudEvent, seen: Sighting, *, names: bool) -> bytes:
    """Write a sighting as a face recognition event, without any picture.

    ``Likelihood`` is the score within 0 and 1; it is a similarity and no probability. What ONVIF has no item for
    stands behind a prefix of our own.
    """
    data: dict[str, object] = {
        "Likelihood": round(min(1.0, max(0.0, seen.score)), 4),
        "EnrollmentID": seen.entry,
        "aegis:Event": event.id,
        "aegis:Alert": seen.alert,
        "aegis:Reference": seen.reference,
        "aegis:Severity": seen.severity.value,
        "aegis:Threshold": seen.threshold,
        "aegis:ExpiresAt": cloudevents.rfc3339(seen.expires_at),
        "aegis:Drill": seen.drill,
    }
    if names:
        data["aegis:Name"] = seen.person
    message = {"UtcTime": event.time, "Source": {"VideoSource": seen.camera, "Rule": rule(seen)}, "Data": data}
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
