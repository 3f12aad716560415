"""News in plain words: the subject, the text and the HTML of its mail."""

import datetime as dt
import html
from dataclasses import dataclass

from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import NewsKind
from aegis.notify.channel import News
from aegis.notify.core import one_line

CLEARLY_ABOVE = 0.1
"""A score that is this far above the threshold is called a clear match."""

DRILL = "DRILL. This is an exercise, not a real alert."
DUTY = "A person must decide: compare before acting; this is not proof."
CONFIRMED = "People of the site have looked and confirmed it. It is not proof: check who it is before acting."

_LABEL = "text-align:left;vertical-align:top;padding:2px 16px 2px 0;font-weight:600;white-space:nowrap"
_CELL = "vertical-align:top;padding:2px 0"
_DUTY = "border-left:4px solid #d97706;padding:4px 12px;font-weight:600"
_DRILL = "background:#1d4ed8;color:#ffffff;padding:6px 12px;font-weight:700;display:inline-block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The pictures that a mail brings along: the content ids of the probe and of the photo on the list."""

    probe: str | None
    photo: str | None


@dataclass(frozen=True, slots=True)
class Words:
    """A mail's subject, text and HTML."""

    subject: str
    plain: str
    html: str


def compose(seen: Sighting, *, zone: dt.tzinfo, shown: Shown | None, outside: bool = False) -> Words:
    """Say an alert; times in ``zone``, ``shown`` None where the site sends no pictures.

    ``outside`` is for those who are not of the site: they are told that people have confirmed it, and cannot answer.
    """
    rows = _rows(seen, zone)
    duty = CONFIRMED if outside else DUTY
    notes = [_pictures(seen, shown, outside=outside)]
    notes += [] if outside else [f"To answer: aegis alerts ack|confirm|dismiss {one_line(seen.reference)} --as KEYFILE"]
    return Words(_subject(seen, zone), _plain(seen, rows, duty, notes), _html(seen, rows, duty, notes, shown))


def of(news: News, *, zone: dt.tzinfo, shown: Shown | None = None, outside: bool = False) -> Words:
    """Say news of any kind; as :func:`compose` for an alert."""
    if news.kind is NewsKind.ALERT:
        return compose(news.sighting, zone=zone, shown=shown, outside=outside)
    said = _test(news.sighting, zone) if news.kind is NewsKind.TEST else _correction(news, zone)
    drill = news.sighting.drill and news.kind is NewsKind.CORRECTION
    lines = [DRILL, "", *said.lines, "", DRILL] if drill else said.lines
    mark = f'<p style="{_DRILL}">{DRILL}</p>\n' if drill else ""
    text = "".join(f"<p>{html.escape(line)}</p>\n" for line in said.lines)
    return Words(
        f"{'[DRILL] ' if drill else ''}{said.subject}", "\n".join(lines) + "\n", _page(said.subject, mark + text)
    )


@dataclass(frozen=True, slots=True)
class _Said:
    subject: str
    lines: list[str]


def _correction(news: News, zone: dt.tzinfo) -> _Said:
    seen, update = news.sighting, news.update
    who, reference = one_line(seen.person), one_line(seen.reference)
    clock = dt.datetime.fromtimestamp(seen.captured_at, zone).strftime("%H:%M:%S")
    by = f" by {one_line(update.by)}" if update and update.by else ""
    reason = one_line(update.reason) if update and update.reason else "no reason was given"
    return _Said(
        f"CORRECTION {reference}: not {who} at {one_line(seen.camera_name)}",
        [
            f"The alert {reference} was dismissed{by}: {reason}.",
            f"It said that {who} was seen at {one_line(seen.camera_name)}, {one_line(seen.site_name)}, at {clock}.",
            "Take no action because of it. If you have begun to, stop, and tell whoever you told.",
        ],
    )


def _test(seen: Sighting, zone: dt.tzinfo) -> _Said:
    when = dt.datetime.fromtimestamp(seen.captured_at, zone)
    return _Said(
        f"[TEST] {one_line(seen.site_name)} can reach you",
        [
            f"This is a test of the alerts of {one_line(seen.site_name)}, sent at {when:%H:%M:%S %Z}.",
            "Nobody was seen, and nothing is to be done.",
        ],
    )


def how_sure(score: float, threshold: float, looks: int) -> str:
    """Put the evidence in words and figures."""
    words = "clear match" if round(score - threshold, 4) >= CLEARLY_ABOVE else "match"
    over = "1 look" if looks == 1 else f"{looks} looks"
    return f"{words} (score {score:.2f}; this site alerts from {threshold:.2f}; over {over})"


def _subject(seen: Sighting, zone: dt.tzinfo) -> str:
    mark = "[DRILL] " if seen.drill else ""
    clock = dt.datetime.fromtimestamp(seen.captured_at, zone).strftime("%H:%M:%S")
    return one_line(f"{mark}{seen.person} ({seen.category}) seen at {seen.camera_name}, {clock}")


def _rows(seen: Sighting, zone: dt.tzinfo) -> list[tuple[str, str]]:
    when = dt.datetime.fromtimestamp(seen.captured_at, zone)
    until = dt.datetime.fromtimestamp(seen.expires_at, zone)
    return [
        ("Who", f"{one_line(seen.person)} (the name on the list)"),
        ("Why", f"on the list as {one_line(seen.category)}, severity {seen.severity.value}"),
        ("Where", f"{one_line(seen.camera_name)}, {one_line(seen.site_name)}"),
        ("When", f"{when:%A}, {when.day} {when:%B %Y}, {when:%H:%M:%S %Z}"),
        ("How sure", how_sure(seen.score, seen.threshold, seen.looks)),
        ("Reference", one_line(seen.reference)),
        ("Valid until", f"{until:%H:%M:%S %Z}; after that it is history"),
    ]


def _pictures(seen: Sighting, shown: Shown | None, *, outside: bool) -> str:
    look = f"To see the pictures: aegis alerts picture {one_line(seen.reference)} --out FOLDER"
    if outside:
        look = f"Ask {one_line(seen.site_name)} for them, by the reference."
    if not seen.chip:
        return "There are no pictures of this exercise."
    if shown is None:
        return f"Pictures are not sent by mail. {look}"
    if shown.probe and shown.photo:
        return "Compare the two pictures: the one from the camera and the one on the list."
    if not shown.probe and not shown.photo:
        return f"The pictures are not available. {look}"
    missing = "camera's picture" if shown.photo else "list's photo"
    return f"The {missing} is not available. {look}"


def _plain(seen: Sighting, rows: list[tuple[str, str]], duty: str, notes: list[str]) -> str:
    width = max(len(label) for label, _ in rows) + 2
    table = [f"{label + ':':<{width}}{value}" for label, value in rows]
    lines = [*table, "", f"What to do: {duty}", *notes]
    if seen.drill:
        lines = [DRILL, "", *lines, "", DRILL]
    return "\n".join(lines) + "\n"


def _html(seen: Sighting, rows: list[tuple[str, str]], duty: str, notes: list[str], shown: Shown | None) -> str:
    """Give the same with inline styles. No text colours but on an own ground, so that dark mode can choose them."""
    drill = f'<p style="{_DRILL}">{DRILL}</p>\n' if seen.drill else ""
    table = "\n".join(
        f'<tr><th scope="row" style="{_LABEL}">{label}</th><td style="{_CELL}">{html.escape(value)}</td></tr>'
        for label, value in rows
    )
    title = f"{one_line(seen.person)} seen at {one_line(seen.camera_name)}"
    said = "\n".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return _page(
        title,
        f"""{drill}<h1 style="font-size:20px">{html.escape(title)}</h1>
<table style="border-collapse:collapse">
{table}
</table>
<p style="{_DUTY}">{duty}</p>
{_images(seen, shown)}{said}
{drill}""",
    )


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title></head>
<body style="font-family:system-ui,sans-serif;font-size:16px;line-height:1.4">
{body}</body>
</html>
"""


def _images(seen: Sighting, shown: Shown | None) -> str:
    if shown is None or not (shown.probe or shown.photo):
        return ""
    cells = [
        (shown.probe, "From the camera", f"Picture from the camera {one_line(seen.camera_name)}"),
        (shown.photo, "On the list", f"Photo of {one_line(seen.person)} on the list"),
    ]
    inside = "".join(
        f'<td style="padding:0 16px 0 0;vertical-align:top">'
        f'<img src="cid:{html.escape(cid)}" alt="{html.escape(alt)}" style="display:block;border:1px solid #808080">'
        f"{caption}</td>"
        for cid, caption, alt in cells
        if cid
    )
    return f'<table role="presentation" style="border-collapse:collapse"><tr>{inside}</tr></table>\n'
