"""The story of an alert: what is told on its one subject, and what to tell next.

Everything about one person of the list at one site is published on one subject, each event only if the writer has
seen the event before it. So two writers cannot both open a visit: the second is refused, reads on and decides again.
A visit ends when the person was unseen everywhere for :data:`VISIT_GAP` seconds.
"""

from dataclasses import dataclass, replace
from typing import Literal

from aegis.contracts import cloudevents
from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.messages import Severity

RAISED = "aegis.alert.raised.v1"
SIGHTED = "aegis.alert.sighted.v1"
WOULD_RAISE = "aegis.shadow.raised.v1"
"""The same events of a site in shadow, which alert nobody. Their kinds differ, so that none is taken for an alert."""
WOULD_SIGHT = "aegis.shadow.sighted.v1"

_TOLD = (RAISED, SIGHTED, WOULD_RAISE, WOULD_SIGHT)

VISIT_GAP = 60.0
SIGHTING_INTERVAL = 10.0
LIFETIME = 600.0
"""An alert can be acted on for this long after it was raised; later it is history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A person of the list, seen: the data of both events of the story.

    An alert that is raised again because it became more severe keeps its name and reference.
    """

    alert: str
    """The visit; the same in all its events."""
    reference: str
    """Its short form for people, as ``K7Q-2MX``."""
    site: str
    """The site's id."""
    site_name: str
    """Its name for people."""
    category: str
    """Why the person is on the list."""
    severity: Severity
    entry: str
    """The person's id on the list."""
    person: str
    """The person's name on the list."""
    camera: str
    """The camera's id."""
    camera_name: str
    """Its name for people."""
    captured_at: float
    """When the track was last in view as of this event."""
    media_time: float | None = None
    """Position in the file, in seconds, of a file camera."""
    first_captured_at: float
    """When the first usable look of this track was captured."""
    score: float
    """The cosine, less what both faces resemble everybody where there is a cohort, and already reduced by 0.05 where
    one look alone decided."""
    threshold: float
    """The category's threshold at that moment."""
    looks: int
    """How many looks were weighed together."""
    track: str
    """Camera, lease and track; of use in support only."""
    detector: str
    """Id of the model that found the face."""
    embedder: str
    """Version of the templates that were compared."""
    watchlist_version: int
    """Grows with every change of the list."""
    cohort: str = ""
    """The cohort that normalised the score; empty for a plain cosine."""
    raised_at: float
    """When the alert was raised."""
    expires_at: float
    """Until when it can be acted on. After that it is history: show it, do not act."""
    drill: bool
    """An exercise. Never act on it as if it were real."""
    canary: bool = False
    """The system watched itself: nobody was told, no picture is kept, and ``drill`` holds too."""
    chip: str
    """Key of the sealed look in the bucket ``evidence``; empty in shadow."""
    frame: str
    """Key of the sealed frame; empty in shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the events so far say: the latest visit and how far the subject was read."""

    sequence: int = 0
    alert: str = ""
    reference: str = ""
    severity: Severity | None = None
    raised_at: float = 0.0
    expires_at: float = 0.0
    told_at: float = 0.0
    """Event time of the newest event; a sighting is told at most every :data:`SIGHTING_INTERVAL`."""
    last_seen_at: float = 0.0

    def open_at(self, when: float) -> bool:
        """Tell whether the visit goes on at an event time, in seconds since the epoch."""
        return bool(self.alert) and when - self.last_seen_at < VISIT_GAP


def fold(story: Story, sequence: int, event: CloudEvent) -> Story:
    """Read one more event of the subject; kinds that are not known here only advance the sequence."""
    if event.type not in _TOLD:
        return replace(story, sequence=sequence)
    seen = cloudevents.from_data(Sighting, event.data)
    return Story(
        sequence=sequence,
        alert=seen.alert,
        reference=seen.reference,
        severity=seen.severity,
        raised_at=seen.raised_at,
        expires_at=seen.expires_at,
        told_at=max(story.told_at, seen.captured_at),
        last_seen_at=max(story.last_seen_at, seen.captured_at),
    )


def note_seen(story: Story, when: float) -> Story:
    """Remember that the person was in view at ``when`` though nothing was told, so that the visit goes on."""
    return replace(story, last_seen_at=max(story.last_seen_at, when)) if story.open_at(when) else story


def decide(story: Story, when: float, severity: Severity) -> Literal["raise", "raise again", "sight", "silent"]:
    """Decide what a sighting at event time ``when`` adds: a new alert, a more severe one, a sighting, or nothing."""
    if not story.open_at(when):
        return "raise"
    if story.severity is None or severity.rank > story.severity.rank:
        return "raise again"
    return "sight" if when - story.told_at >= SIGHTING_INTERVAL else "silent"


def event(kind: str, identity: str, sighting: Sighting) -> CloudEvent:
    """Wrap a sighting as the CloudEvent ``kind`` with the id ``identity``."""
    return CloudEvent(
        id=identity,
        source=f"/aegis/sites/{sighting.site}",
        type=kind,
        time=cloudevents.rfc3339(sighting.captured_at),
        subject=f"{sighting.category}/{sighting.entry}",
        data=cloudevents.to_data(sighting),
    )
