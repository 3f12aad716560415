"""An alert as one SMS: at most 160 characters of GSM 03.38, which every phone shows and no gateway splits.

One character from outside that alphabet would turn the whole message into parts of 70 characters, so such letters are
written in the nearest ones that are inside.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable

from aegis.contracts.deliveries import NewsKind
from aegis.contracts.reviews import Update
from aegis.notify import smpp_pdu
from aegis.notify.channel import News
from aegis.notify.core import one_line

LONGEST = 160
"""Septets of one SMS."""
BASIC = frozenset(smpp_pdu.GSM) - {"\n", "\r", smpp_pdu.ESCAPE}
"""GSM 03.38, 6.2.1, without its line breaks."""
EXTENSION = frozenset("^{}\\[~]|€")
"""6.2.1.1: these count two."""
CUT = ".."
UNKNOWN = "?"
DUTY = "Look: compare before acting."

_LETTERS: dict[str, str] = {
    **dict.fromkeys("“”„«»", '"'),
    **dict.fromkeys("‘’‚´`", "'"),  # noqa: RUF001 - what people type
    **dict.fromkeys("–—‐‑−", "-"),  # noqa: RUF001
    "…": "...", "·": ".", "•": ".", "×": "x",  # noqa: RUF001
    "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ŋ": "n", "œ": "oe", "þ": "th", "ŧ": "t",  # noqa: RUF001
    # Russian, Ukrainian, Belarusian, Bulgarian, Serbian and Macedonian in one table, as passports write them or nearly.
    **dict(zip("абвгґдѓђеёєжзѕиіїйјкќлљмнњопрстћуўфхцчџшщъыьэюя", (
        "a", "b", "v", "g", "g", "d", "g", "dj", "e", "e", "ye", "zh", "z", "dz", "i", "i", "yi", "y", "j", "k", "k",
        "l", "lj", "m", "n", "nj", "o", "p", "r", "s", "t", "c", "u", "w", "f", "kh", "ts", "ch", "dz", "sh", "shch",
        "", "y", "", "e", "yu", "ya",
    ), strict=True)),
    # Greek in capitals, as SMS have it: those that Latin has no likeness of are in the alphabet.
    **dict(zip("αβγδεζηθικλμνξοπρσςτυφχψω", "ABΓΔEZHΘIKΛMNΞOΠPΣΣTYΦXΨΩ", strict=True)),
}  # fmt: skip


def text(news: News, *, names: bool, zone: dt.tzinfo) -> str:
    """Say it in at most :data:`LONGEST` septets, the same for the same news; ``names`` allows the person's name.

    Where that is too long, the longest of the free texts is shortened first, and never the mark of a drill, the
    reference or the time.
    """
    seen = news.sighting
    mark = "DRILL. " if seen.drill else ""
    reference, clock = gsm(seen.reference), _clock(seen.captured_at, zone)
    if news.kind is NewsKind.CORRECTION:
        start, end = f"{mark}CORRECTION: {reference} was dismissed", ". No action needed."
        reason = _reason(news.update, "" if names else seen.person)
        return _fit(lambda why: f"{start}: {why}{end}", reason) if reason else start + end
    if news.kind is NewsKind.TEST:
        start, end = f"{mark}TEST of alerts by SMS", f", {clock}. Nobody was seen. Ref {reference}. No action needed."
        return _fit(lambda site: f"{start} from {site}{end}", seen.site_name)
    start = f"{mark}Possible match: "
    severity = f" ({seen.severity.value.upper()})"
    end = f", {clock}. Ref {reference}. {DUTY}"
    if names:
        return _fit(
            lambda person, category, camera: f"{start}{category}{severity}, {person}, at {camera}{end}",
            seen.person, seen.category, seen.camera_name,
        )  # fmt: skip
    return _fit(
        lambda category, camera: f"{start}{category}{severity} at {camera}{end}", seen.category, seen.camera_name
    )


def septets(line: str) -> int:
    """Count what a text of the alphabet takes up."""
    return len(line) + sum(character in EXTENSION for character in line)


def gsm(line: str) -> str:
    """Write a text on one line in the alphabet's own characters; what has no likeness becomes :data:`UNKNOWN`."""
    written = "".join(_write(character) for character in unicodedata.normalize("NFC", one_line(line)))
    return " ".join(written.split())


def mask_number(number: str) -> str:
    """Name a telephone number so that its owner recognises it: ``+1…01``."""
    return f"{number[:2]}…{number[-2:]}"


def _write(character: str) -> str:
    if character in BASIC or character in EXTENSION:
        return character
    if character in _LETTERS:
        return _LETTERS[character]
    if (small := _LETTERS.get(character.lower())) is not None:
        return small[:1].upper() + small[1:]
    parts = unicodedata.normalize("NFKD", character)
    if parts != character:
        return "".join(_write(part) for part in parts)
    return "" if unicodedata.category(character) in ("Mn", "Me", "Cf") else UNKNOWN


def _fit(compose: Callable[..., str], *free: str) -> str:
    written = [gsm(part)[: LONGEST + 1] for part in free]
    room = LONGEST - septets(compose(*("" for _ in written)))
    rooms = [septets(part) for part in written]
    while sum(rooms) > room:
        rooms[rooms.index(max(rooms))] -= 1
    fitted = compose(*(_cut(part, most) for part, most in zip(written, rooms, strict=True)))
    return " ".join(fitted.split())


def _cut(part: str, room: int) -> str:
    if septets(part) <= room:
        return part
    while septets(part) > room - len(CUT):
        part = part[:-1]
    return part.rstrip() + CUT


def _clock(when: float, zone: dt.tzinfo) -> str:
    """Give date and time: an SMS may come hours late, and must then be known for old."""
    at = dt.datetime.fromtimestamp(when, zone)
    return f"{at.day} {at:%b %H:%M:%S}"


def _reason(update: Update | None, hidden: str) -> str:
    """Give why it was dismissed, without the name that may not be told."""
    reason = one_line(update.reason) if update else ""
    for word in one_line(hidden).split():
        if len(word) > 1:
            reason = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "***", reason, flags=re.IGNORECASE)
    return reason.rstrip(". ")
