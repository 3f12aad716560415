"""Alerts in the Common Alerting Protocol 1.2 (OASIS, ITU-T X.1303), which alerting systems of authorities read. Pure.

A message follows from the history of its subject alone, so telling an event again gives the same bytes.
"""

import datetime as dt
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aegis.contracts import alerts, cloudevents, codec, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Update

CONTENT_TYPE = "application/cap+xml"
NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
REMEMBERED = 64
"""Alerts of one subject that can still be updated; only a review of an older one finds no message to refer to."""
RESTRICTION = "Only for those whom the site asked to act on it: it concerns a person. Do not publish it."

_URGENCY = {
    Severity.CRITICAL: "Immediate",
    Severity.HIGH: "Immediate",
    Severity.MEDIUM: "Expected",
    Severity.LOW: "Expected",
}
_SEVERITY = {
    Severity.CRITICAL: "Extreme",
    Severity.HIGH: "Severe",
    Severity.MEDIUM: "Moderate",
    Severity.LOW: "Minor",
}
_CERTAINTY = {
    AlertState.CONFIRMED_ONCE: "Likely",
    AlertState.CONFIRMED_TWICE: "Observed",
    AlertState.DISMISSED: "Unlikely",
}
_STANDING = {
    AlertState.RAISED: "Nobody has reviewed it yet; it may be somebody else.",
    AlertState.ESCALATED: "Nobody has reviewed it in time, and more people were told; it may be somebody else.",
    AlertState.ACKNOWLEDGED: "Somebody is reviewing it; it may be somebody else.",
    AlertState.CONFIRMED_ONCE: "One person has compared the pictures and takes it for a match.",
    AlertState.CONFIRMED_TWICE: "Two people have compared the pictures and take it for a match.",
    AlertState.DISMISSED: "It was dismissed: do not act on it.",
    AlertState.EXPIRED: "It expired before it was decided on; it was not found to be wrong.",
}
_ENDS = (AlertState.DISMISSED, AlertState.EXPIRED)
_RESPONSE = {AlertState.DISMISSED: "AllClear", AlertState.EXPIRED: "None"}
_NOTHING_TO_DO = {
    AlertState.DISMISSED: "Nothing is to be done, and what was done because of it is to be undone.",
    AlertState.EXPIRED: "Nothing is to be done any more because of it.",
}
_TOLD = (reviews.ESCALATED, reviews.ACKNOWLEDGED, reviews.CONFIRMED, reviews.DISMISSED, reviews.EXPIRED)
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_IDENTIFIER = re.compile(r"[\s,<&\x00-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What was told of one alert: its newest sighting, how it stands, and the messages that the next one refers to."""

    sighting: Sighting
    state: AlertState = AlertState.RAISED
    reviewed: AlertState = AlertState.RAISED
    """What people said of it; an expiry does not take that back."""
    sent: tuple[str, ...] = ()
    """``sender,identifier,sent`` of each message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the events of a subject so far say of its newest alerts, by their ids, oldest first."""

    sequence: int = 0
    chains: Mapping[str, Chain] = field(default_factory=dict)


def tell(history: History, sequence: int, event: CloudEvent, *, names: bool) -> tuple[History, bytes | None]:
    """Read the next event of a subject; give the history with it, and the message that tells it, if one does.

    A further sighting tells nothing, nor do a canary's alert and what comes after a dismissal. ``names`` puts the
    person's name, and what people wrote, into the message.

    Raises:
        DecodeError: the event is malformed, or updates an alert that the history does not know.

    """
    if not event.id or _NOT_IN_IDENTIFIER.search(event.id):
        raise codec.DecodeError("CloudEvent", f"{event.id!r} cannot be the identifier of a CAP message", "id")
    history = replace(history, sequence=sequence)
    if event.type in (alerts.RAISED, alerts.SIGHTED):
        seen = cloudevents.from_data(Sighting, event.data)
        chain = replace(history.chains.get(seen.alert) or Chain(sighting=seen), sighting=seen)
        if event.type == alerts.SIGHTED or seen.canary:
            return _remember(history, chain), None
        if chain.state is AlertState.EXPIRED:
            chain = replace(chain, state=chain.reviewed, sent=())
        if chain.state is AlertState.DISMISSED:
            return _remember(history, chain), None
        return _compose(history, chain, event, "", names=names)
    if event.type not in _TOLD:
        return history, None
    update = cloudevents.from_data(Update, event.data)
    known = history.chains.get(update.alert)
    if known is None:
        raise codec.DecodeError("Update", f"nothing is known of the alert {update.alert!r}", "alert")
    # What expired can still be found to be wrong; what was found to be wrong stays so.
    late = known.state is AlertState.EXPIRED and update.state is not AlertState.DISMISSED
    if known.state is AlertState.DISMISSED or late or not known.sent:
        return history, None
    by_clock = update.state in (AlertState.ESCALATED, AlertState.EXPIRED)
    chain = replace(known, state=update.state, reviewed=known.reviewed if by_clock else update.state)
    return _compose(history, chain, event, update.reason, names=names)


def _remember(history: History, chain: Chain) -> History:
    chains = {**history.chains, chain.sighting.alert: chain}
    while len(chains) > REMEMBERED:
        del chains[next(iter(chains))]
    return replace(history, chains=chains)


def _compose(
    history: History, chain: Chain, event: CloudEvent, reason: str, *, names: bool
) -> tuple[History, bytes | None]:
    message = _message(chain, event, reason, names=names)
    told = ",".join(message.findtext(name, "") for name in ("sender", "identifier", "sent"))
    history = _remember(history, replace(chain, sent=(*chain.sent, told)))
    return history, ET.tostring(message, encoding="utf-8", xml_declaration=True)


def _message(chain: Chain, event: CloudEvent, reason: str, *, names: bool) -> ET.Element:
    seen = chain.sighting
    alert = ET.Element("alert", xmlns=NAMESPACE)
    kind = "Cancel" if chain.state in _ENDS else "Update" if chain.sent else "Alert"
    told = {
        "identifier": event.id,
        "sender": f"aegis/{seen.site}",
        "sent": date_time(_seconds(event)),
        "status": "Exercise" if seen.drill else "Actual",
        "msgType": kind,
        "scope": "Restricted",
        "restriction": RESTRICTION,
        "note": _note(chain, kind, reason, names=names),
        "references": " ".join(chain.sent),
        "incidents": seen.alert,
    }
    for name, text in told.items():
        if text:
            _add(alert, name, text)
    _info(ET.SubElement(alert, "info"), chain, kind, names=names)
    return alert


def _note(chain: Chain, kind: str, reason: str, *, names: bool) -> str:
    notes = ["This is a drill."] if chain.sighting.drill else []
    if kind == "Cancel":
        notes.append(_STANDING[chain.state])
        # What somebody wrote may well name the person.
        notes += [f"Reason: {reason}"] if reason and names else []
    return " ".join(notes)


def _info(info: ET.Element, chain: Chain, kind: str, *, names: bool) -> None:
    seen = chain.sighting
    who = f"{seen.person} ({seen.category})" if names else seen.category
    drill = "DRILL: " if seen.drill else ""
    told = (
        ("language", "en"),
        ("category", "Security"),
        ("event", "Match with the watchlist"),
        ("responseType", _RESPONSE.get(chain.state, "Assess")),
        ("urgency", "Past" if kind == "Cancel" else _URGENCY[seen.severity]),
        ("severity", _SEVERITY[seen.severity]),
        ("certainty", _CERTAINTY.get(chain.reviewed, "Possible")),
        ("onset", date_time(seen.first_captured_at)),
        ("expires", date_time(seen.expires_at)),
        ("senderName", f"Aegis, {seen.site_name}"),
        ("headline", f"{drill}{'Cancelled: ' if kind == 'Cancel' else ''}{who}, {seen.camera_name}, {seen.site_name}"),
        ("description", _description(chain, who)),
        ("instruction", _NOTHING_TO_DO.get(chain.state) or _ask(seen)),
    )
    for name, text in told:
        _add(info, name, text)
    for name, value in (
        ("reference", seen.reference),
        ("state", chain.state.value),
        ("category", seen.category),
        ("camera", seen.camera),
        ("score", f"{seen.score:.3f}"),
        ("threshold", f"{seen.threshold:.3f}"),
    ):
        _pair(info, "parameter", name, value)
    area = ET.SubElement(info, "area")
    _add(area, "areaDesc", f"{seen.site_name}: {seen.camera_name}")
    _pair(area, "geocode", "site", seen.site)
    _pair(area, "geocode", "camera", seen.camera)


def _ask(seen: Sighting) -> str:
    return f"Ask the site for the pictures of {seen.reference} before you act."


def _description(chain: Chain, who: str) -> str:
    seen = chain.sighting
    when = date_time(seen.captured_at)
    return f"A face at {seen.camera_name} resembled the watchlist: {who}. Last seen {when}. {_STANDING[chain.state]}"


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = _NOT_IN_XML.sub("", text)


def _pair(parent: ET.Element, name: str, key: str, value: str) -> None:
    pair = ET.SubElement(parent, name)
    _add(pair, "valueName", f"aegis:{key}")
    _add(pair, "value", value)


def _seconds(event: CloudEvent) -> float:
    try:
        return cloudevents.seconds(event.time)
    except ValueError as error:
        raise codec.DecodeError("CloudEvent", str(error), "time") from None


def date_time(seconds: float) -> str:
    """Write a time as CAP does: whole seconds, and never ``Z`` but ``-00:00`` for UTC."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")
