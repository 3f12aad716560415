"""An alert as one SMS: short, in the alphabet of every phone, and never without its mark and reference."""

import datetime as dt
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.notify.test_words import SEEN, ZONE, sighting

from aegis.contracts.cloudevents import CloudEvent
from aegis.contracts.deliveries import NewsKind
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Update
from aegis.notify import sms_words
from aegis.notify.channel import News

LATIN = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=1, max_size=120)
ANY = st.text(min_size=1, max_size=300)


def news(kind: NewsKind = NewsKind.ALERT, reason: str = "", **changes: Any) -> News:
    event = CloudEvent(id="e1", source="/s", type="t", time="2026-11-12T13:03:22Z", subject="barred/e1", data={})
    seen = sighting(**changes)
    update = Update(
        alert=seen.alert, reference=seen.reference, site=seen.site, category=seen.category, entry=seen.entry,
        state=AlertState.DISMISSED, updated_at=SEEN + 60, by="Ada", reason=reason, drill=seen.drill,
    )  # fmt: skip
    correction = kind is NewsKind.CORRECTION
    return News(
        identity="e1-abc",
        kind=kind,
        sighting=seen,
        event=event,
        body=b"{}",
        expires_at=seen.expires_at,
        update=update if correction else None,
    )


def say(told: News, *, names: bool = False) -> str:
    return sms_words.text(told, names=names, zone=ZONE)


def test_an_alert_with_and_without_the_name() -> None:
    assert say(news(drill=False)) == (
        "Possible match: barred (HIGH) at Main lobby, 12 Nov 14:03:22. Ref K7Q-2MX. Look: compare before acting."
    )
    assert say(news(), names=True) == (
        "DRILL. Possible match: barred (HIGH), Grace Hopper, at Main lobby, 12 Nov 14:03:22. Ref K7Q-2MX. "
        "Look: compare before acting."
    )


def test_a_correction_and_a_test() -> None:
    assert say(news(NewsKind.CORRECTION, "not him", drill=False)) == (
        "CORRECTION: K7Q-2MX was dismissed: not him. No action needed."
    )
    assert say(news(NewsKind.CORRECTION, "her sister.")) == (
        "DRILL. CORRECTION: K7Q-2MX was dismissed: her sister. No action needed."
    )
    assert say(news(NewsKind.CORRECTION)) == "DRILL. CORRECTION: K7Q-2MX was dismissed. No action needed."
    assert say(news(NewsKind.TEST, drill=False)) == (
        "TEST of alerts by SMS from North School, 12 Nov 14:03:22. Nobody was seen. Ref K7Q-2MX. No action needed."
    )


def test_a_reason_does_not_give_the_name_away() -> None:
    told = news(NewsKind.CORRECTION, "not grace, but Hopper's sister")
    assert "not ***, but ***'s sister" in say(told)
    assert "not grace, but Hopper's sister" in say(told, names=True)


def test_the_longest_free_text_is_shortened_first() -> None:
    said = say(news(camera_name="The long corridor behind the gymnasium, by the second door"), names=True)
    assert "barred (HIGH), Grace Hopper, at The long corridor behind the gymnasium, by.., 12 Nov 14:03:22. Ref" in said
    said = say(news(severity=Severity.CRITICAL, camera_name="x" * 500, person="y" * 500), names=True)
    assert sms_words.septets(said) == sms_words.LONGEST
    assert f"barred (CRITICAL), {'y' * 24}.., at {'x' * 25}.., 12 Nov 14:03:22. Ref" in said


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Zoë Łukasz Çelik", "Zoe Lukasz Çelik"), ("Größe é Å ß £ €", "Größe é Å ß £ €"),
        ("“Gate” \u2013 \u2019A\u2019…", "\"Gate\" - 'A'..."),
        ("Ирина Щукина", "Irina Shchukina"), ("Σωκράτης", "ΣΩKPATHΣ"), ("ﬁle №5 ²", "file No5 2"), ("山田", "??"),
        ("e\u0301", "é"), ("a\u202eb\u200bc\nd\u00a0e\x1b", "abc d e"), ("👩\u200d🚒", "??"),
    ],
)  # fmt: skip
def test_letters_from_outside_are_written_in_the_nearest_ones(given: str, written: str) -> None:
    assert sms_words.gsm(given) == written


def test_characters_of_the_extension_count_two() -> None:
    assert sms_words.septets("a[b]€") == 8


def test_the_alphabet_is_whole() -> None:
    assert len(sms_words.BASIC) == 128 - 3, "all but line feed, carriage return and escape"
    assert len(sms_words.EXTENSION) == 10 - 1, "all but form feed"


def test_a_number_is_masked() -> None:
    assert sms_words.mask_number("+15551234501") == "+1…01"


@settings(deadline=None)
@given(
    kind=st.sampled_from((NewsKind.ALERT, NewsKind.CORRECTION, NewsKind.TEST)),
    severity=st.sampled_from(Severity),
    reference=st.from_regex(r"\A[2-9A-Z]{3}-[2-9A-Z]{3}\Z"),
    texts=st.tuples(*([st.one_of(ANY, LATIN, st.sampled_from(("€" * 200, "{}", "ﷺ" * 30)))] * 5)),
    drill=st.booleans(),
    names=st.booleans(),
    when=st.floats(0, 4e9),
)
def test_it_is_one_sms_with_its_mark_and_reference_whatever_the_texts(
    *, kind: NewsKind, severity: Severity, reference: str, texts: tuple[str, ...], drill: bool, names: bool, when: float
) -> None:
    person, category, camera, site, reason = texts
    told = news(
        kind, reason, severity=severity, reference=reference, drill=drill, captured_at=when,
        person=person, category=category, camera_name=camera, site_name=site,
    )  # fmt: skip
    said = say(told, names=names)
    assert sms_words.septets(said) <= sms_words.LONGEST
    assert set(said) <= sms_words.BASIC | sms_words.EXTENSION
    assert all(unicodedata.category(character)[0] != "C" for character in said)
    assert reference in said
    assert said.startswith("DRILL. ") == drill
    assert said.removeprefix("DRILL. ").startswith(
        {NewsKind.ALERT: "Possible match: ", NewsKind.CORRECTION: "CORRECTION: ", NewsKind.TEST: "TEST "}[kind]
    )
    if kind is not NewsKind.CORRECTION:
        clock = dt.datetime.fromtimestamp(when, ZONE)
        assert f"{clock.day} {clock:%b %H:%M:%S}" in said
    assert said == say(told, names=names), "the same news is said the same again"
    if not names and kind is NewsKind.ALERT:
        assert said == say(news(kind, severity=severity, reference=reference, drill=drill, captured_at=when, person="",
                                category=category, camera_name=camera)), "the person changes nothing"  # fmt: skip
    assert re.search(r"\s\s", said) is None
