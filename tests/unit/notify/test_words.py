"""An alert in words that a guard understands."""

import datetime as dt
from html.parser import HTMLParser
from typing import Any

from aegis.contracts import alerts
from aegis.contracts.alerts import Sighting
from aegis.contracts.deliveries import NewsKind
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Update
from aegis.notify import words
from aegis.notify.channel import News
from aegis.notify.words import Shown

ZONE = dt.timezone(dt.timedelta(hours=1), "CET")
SEEN = dt.datetime(2026, 11, 12, 14, 3, 22, tzinfo=ZONE).timestamp()


def sighting(**changes: Any) -> Sighting:
    values: dict[str, Any] = {
        "alert": "k7q2mx-0102030405", "reference": "K7Q-2MX", "site": "north", "site_name": "North School",
        "category": "barred", "severity": Severity.HIGH, "entry": "e1", "person": "Grace Hopper", "camera": "lobby",
        "camera_name": "Main lobby", "captured_at": SEEN, "first_captured_at": SEEN - 1, "score": 0.712,
        "threshold": 0.5, "looks": 4, "track": "lobby.1.1", "detector": "d", "embedder": "e",
        "watchlist_version": 3, "raised_at": SEEN, "expires_at": SEEN + 600, "drill": True, "chip": "c", "frame": "f",
    }  # fmt: skip
    return Sighting(**(values | changes))


class Page(HTMLParser):
    """What a screen reader would say, and every tag and attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


def test_a_drill_reads_as_one() -> None:
    said = words.compose(sighting(), zone=ZONE, shown=None)
    assert said.subject == "[DRILL] Grace Hopper (barred) seen at Main lobby, 14:03:22"
    assert (
        said.plain
        == """\
DRILL. This is an exercise, not a real alert.

Who:         Grace Hopper (the name on the list)
Why:         on the list as barred, severity high
Where:       Main lobby, North School
When:        Thursday, 12 November 2026, 14:03:22 CET
How sure:    clear match (score 0.71; this site alerts from 0.50; over 4 looks)
Reference:   K7Q-2MX
Valid until: 14:13:22 CET; after that it is history

What to do: A person must decide: compare before acting; this is not proof.
Pictures are not sent by mail. To see the pictures: aegis alerts picture K7Q-2MX --out FOLDER
To answer: aegis alerts ack|confirm|dismiss K7Q-2MX --as KEYFILE

DRILL. This is an exercise, not a real alert.
"""
    )


def test_who_is_outside_is_told_what_people_have_done_and_no_commands() -> None:
    said = words.compose(sighting(drill=False), zone=ZONE, shown=None, outside=True)
    assert "People of the site have looked and confirmed it" in said.plain
    assert "Ask North School for them" in said.plain
    assert "aegis" not in said.plain + said.html


def test_an_exercise_without_pictures_says_so() -> None:
    said = words.compose(sighting(chip=""), zone=ZONE, shown=Shown(probe=None, photo=None))
    assert "There are no pictures of this exercise." in said.plain


def test_what_is_real_does_not_say_drill() -> None:
    said = words.compose(sighting(drill=False), zone=ZONE, shown=None)
    assert said.subject == "Grace Hopper (barred) seen at Main lobby, 14:03:22"
    assert "drill" not in (said.plain + said.html).lower()


def test_how_sure_is_words_and_figures() -> None:
    assert words.how_sure(0.55, 0.5, 1) == "match (score 0.55; this site alerts from 0.50; over 1 look)"
    assert words.how_sure(0.6, 0.5, 3).startswith("clear match")


def test_pictures_that_are_there_stand_side_by_side_with_words_for_who_cannot_see_them() -> None:
    said = words.compose(sighting(), zone=ZONE, shown=Shown(probe="p@x", photo="q@x"))
    images = [attributes for tag, attributes in Page(said.html).tags if tag == "img"]
    assert [image["src"] for image in images] == ["cid:p@x", "cid:q@x"]
    assert [image["alt"] for image in images] == [
        "Picture from the camera Main lobby",
        "Photo of Grace Hopper on the list",
    ]
    assert "Compare the two pictures" in said.plain


def test_a_picture_that_is_missing_is_said_to_be() -> None:
    for shown, missing in (
        (Shown(probe=None, photo="q"), "The camera's picture is not available."),
        (Shown(probe="p", photo=None), "The list's photo is not available."),
        (Shown(probe=None, photo=None), "The pictures are not available."),
    ):
        said = words.compose(sighting(), zone=ZONE, shown=shown)
        assert missing in said.plain
        assert missing in Page(said.html).said
        assert "aegis alerts picture K7Q-2MX --out FOLDER" in said.plain


def test_the_page_says_what_the_text_says() -> None:
    said = words.compose(sighting(), zone=ZONE, shown=None)
    page = Page(said.html)
    for line in said.plain.splitlines():
        value = line.split(":", 1)[-1].strip()
        assert value in page.said, line
    assert not {tag for tag, _ in page.tags} & {"script", "style", "link"}
    assert not [attributes for _, attributes in page.tags if "href" in attributes]


def test_nothing_in_a_name_becomes_markup_or_a_line_of_its_own() -> None:
    nasty = 'X<img src=x onerror=1>"\r\nBcc: all@example.org\n\nWhat to do: open the door\u202e\ud800'
    said = words.compose(
        sighting(person=nasty, camera_name=nasty, category=nasty), zone=ZONE, shown=Shown(probe="p", photo="q")
    )
    assert "\n" not in said.subject
    assert "\r" not in said.subject
    assert [line for line in said.plain.splitlines() if line.startswith(("Bcc", "What to do"))] == [
        "What to do: A person must decide: compare before acting; this is not proof."
    ]
    page = Page(said.html)
    assert [tag for tag, _ in page.tags].count("img") == 2
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    (said.subject + said.plain + said.html).encode()


def news(kind: NewsKind, **changes: Any) -> News:
    seen = sighting(**changes)
    update = Update(
        alert=seen.alert, reference=seen.reference, site=seen.site, category=seen.category, entry=seen.entry,
        state=AlertState.DISMISSED, updated_at=SEEN + 60, by="Ann", reason="another person <b>\n",
    )  # fmt: skip
    event = alerts.event(alerts.RAISED, "e1", seen)
    corrected = update if kind is NewsKind.CORRECTION else None
    return News(
        identity="e1-r1", kind=kind, sighting=seen, event=event, body=b"{}", expires_at=SEEN + 600, update=corrected
    )


def test_a_correction_takes_the_alert_back() -> None:
    said = words.of(news(NewsKind.CORRECTION, drill=False), zone=ZONE)
    assert said.subject == "CORRECTION K7Q-2MX: not Grace Hopper at Main lobby"
    assert said.plain.startswith("The alert K7Q-2MX was dismissed by Ann: another person <b>.\n")
    assert "Take no action" in said.plain
    assert "another person <b>" in Page(said.html).said
    drill = words.of(news(NewsKind.CORRECTION), zone=ZONE)
    assert drill.subject.startswith("[DRILL] CORRECTION")
    assert drill.plain.startswith(words.DRILL)
    assert drill.plain.endswith(words.DRILL + "\n")


def test_a_test_names_nobody_and_asks_for_nothing() -> None:
    said = words.of(news(NewsKind.TEST), zone=ZONE)
    assert said.subject == "[TEST] North School can reach you"
    assert "Grace" not in said.plain + said.html
    assert "nothing is to be done" in said.plain
