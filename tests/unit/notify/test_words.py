"""An alert in words that a guard understands."""

import datetime as dt
from html.parser import HTMLParser
from typing import Any

from aegis.contracts.alerts import Sighting
from aegis.contracts.messages import Severity
from aegis.notify import words
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

DRILL. This is an exercise, not a real alert.
"""
    )


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
