"""The messages between the services, in the order in which a person's face travels. All times are seconds.

``captured_at`` is the wall clock when a frame left the camera (for a file, when it was played); ``media_time`` is the
position in a file. ``lease`` is the revision at which the sender took its camera or partition: it only ever grows, so
a reader that has seen a higher one drops the lower.
"""

import enum
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPicture:
    """Where a frame lies in the memory that ingest and detect share on one machine."""

    file: str
    """Its name in their folder."""
    place: int
    """How many pictures of that size lie before it."""
    turn: int
    """Which one of those that lie there one after the other; the next one overwrites it."""
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCaptured:
    """ingest → detect: one frame, at most 1280 pixels wide: as JPEG, or, with ``jpeg`` empty, where it lies."""

    camera: str
    lease: int
    sequence: int
    captured_at: float
    media_time: float | None = None
    jpeg: bytes
    shared: SharedPicture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A usable view of a face: aligned, 112x112x3 uint8 BGR, with the quality in 0 to 1 that weighs it."""

    track: int
    look: int
    captured_at: float
    first_captured_at: float
    """When the first usable look of this track was captured: what latency is measured from."""
    seen_at: float
    """When the track was last in view: later than ``captured_at`` in a look that is sent again."""
    media_time: float | None = None
    quality: float
    chip: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesDetected:
    """detect → embed: the looks of one frame that are worth an embedding."""

    camera: str
    lease: int
    detector: str
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedLook:
    """A look as a unit vector, float32 little-endian. The picture itself travels no further."""

    track: int
    look: int
    captured_at: float
    first_captured_at: float
    seen_at: float
    media_time: float | None = None
    quality: float
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesEmbedded:
    """embed → match."""

    camera: str
    lease: int
    detector: str
    embedder: str
    """Template version: only templates of the same one can be compared."""
    looks: tuple[EmbeddedLook, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRequested:
    """match → detect: the picture behind a look that matched."""

    camera: str
    lease: int
    track: int
    look: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookFound:
    """detect → match: the probe chip as PNG, its frame as JPEG with every other face hidden; empty when forgotten."""

    chip_png: bytes = b""
    frame_jpeg: bytes = b""
    problem: str = ""


class SiteState(enum.Enum):
    """What is done with faces: nothing at all; compared and counted, but nobody is alerted; people are alerted."""

    DISARMED = "disarmed"
    SHADOW = "shadow"
    ARMED = "armed"

    @property
    def processing(self) -> bool:
        """Whether faces are processed."""
        return self is not SiteState.DISARMED


class Severity(enum.Enum):
    """How urgent a category is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A reason to be on the list: how severe, and the score from which evidence is a match."""

    severity: Severity = Severity.HIGH
    threshold: float = 0.5
    accepted: float | None = None
    """False alerts a week that the site accepts, from which the threshold is derived; None where it is fixed."""
    expected: float | None = None
    """False alerts a week at this threshold, the best estimate; None where nothing is known."""
    upper: float | None = None
    """False alerts a week that are not exceeded, with 95 % confidence."""
    basis: str = ""
    """What ``expected`` rests on: ``measured``, ``extrapolated`` or ``learnt``."""
    problem: str = ""
    """Why the threshold does not keep to what is accepted; empty where it does."""
    canary: bool = False
    """Whom ``aegis canary`` shows: its alerts prove that the system works, and tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRecord:
    """What every service must know of the site (bucket ``policy``, key ``site``)."""

    id: str
    name: str
    kind: str
    jurisdiction: str = ""
    state: SiteState = SiteState.DISARMED
    state_since: float = 0.0
    """When the state was set; 0 where that is not known."""
    run: str = ""
    """The running system for which the site file set ``state``; what people set later outlives a restart in it."""
    cohort: str = ""
    """The cohort that scores are normalised by and for which the thresholds hold; empty for plain cosines."""
    categories: dict[str, Category]

    @property
    def drill(self) -> bool:
        return self.kind == "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRecord:
    """A camera (bucket ``cameras``, key ``<partition>.<id>``, sealed, since its address may hold a password).

    The key of one at an edge ends with the edge's name as a third token.
    """

    id: str
    partition: int
    url: str = field(repr=False)
    name: str = ""
    fps: float = 5.0
    loop: bool = False
    transport: str = "tcp"
    token: str = field(default="", repr=False)
    origin: str = "cli"
    """``site`` when it comes from the site file, which then also removes it; ``cli`` otherwise."""
    edge: str = ""
    """The edge whose replicas alone take it; empty for those of the centre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One photo's face as a unit vector, float32 little-endian, and the photo's key."""

    vector: bytes
    photo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """A person of the watchlist (bucket ``watchlist``, key ``<id>``, sealed)."""

    id: str
    name: str
    category: str
    embedder: str
    added_at: float
    templates: tuple[Template, ...]


MAX_COHORT = 10_000
"""People of a cohort: each is compared with every other one, and with every face that is matched."""
COHORT_PART_BYTES = 800_000
"""Of the vectors in one part, which must fit into a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortPart:
    """Some of a cohort's templates (bucket ``cohort``, key ``<cohort>.<number>``, sealed): vectors and nothing else."""

    cohort: str
    number: int
    """From 0."""
    embedder: str
    vectors: bytes
    """Unit vectors, float32 little-endian, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRecord:
    """A cohort (bucket ``cohort``, key ``<id>``, sealed), written once all its parts are there."""

    id: str
    embedder: str
    built_at: float
    size: int
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCohort:
    """Ask that a cohort be used of which so many parts were sent."""

    cohort: str
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpostorRecord:
    """How well people who were not taken for an entry matched it (bucket ``impostors``, key ``<entry>``, sealed).

    Counts of scores and nothing else; what is of another embedder or cohort does not count any more.
    """

    embedder: str
    cohort: str
    since: float
    histogram: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the registry answers: either done, with a JSON text of what was asked for, or the problem."""

    problem: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCamera:
    camera: str
    url: str = field(repr=False)
    name: str = ""
    fps: float = 5.0
    loop: bool = False
    transport: str = "tcp"
    token: str = field(default="", repr=False)
    edge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddEntry:
    """Photos are JPEG or PNG files, together below the bus's payload limit."""

    name: str
    category: str
    photos: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAll:
    """Ask for a list; it has no fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPictures:
    """Ask for the pictures behind an alert, by its keys, and the photo of the person it names."""

    chip: str
    frame: str
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetState:
    state: SiteState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that cannot be handled and why, without its content, which might be a face."""

    service: str
    subject: str
    problem: str
    size: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceKept:
    """match → every service: an alert came of this trace, so what is known of it is exported."""

    trace: bytes
    """Its id, of 16 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who holds a resource (bucket ``leases``)."""

    owner: str
    place: str = ""
    """The folder through which frames can be handed to its holder (see ``aegis.runtime.shared_frames``), if any."""
