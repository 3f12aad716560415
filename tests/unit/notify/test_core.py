"""The rules of telling."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts import alerts, cloudevents, reviews
from aegis.contracts.alerts import Sighting
from aegis.contracts.codec import DecodeError
from aegis.contracts.messages import Severity
from aegis.contracts.reviews import AlertState, Update
from aegis.contracts.telling import Contact
from aegis.notify import core
from aegis.notify.core import NeverError, TryAgainError

NOW = 1_700_000_000.0


def sighting(**changes: Any) -> Sighting:
    values: dict[str, Any] = {
        "alert": "k7q2mx-0102030405", "reference": "K7Q-2MX", "site": "north", "site_name": "North School",
        "category": "barred", "severity": Severity.HIGH, "entry": "e1", "person": "Grace Hopper", "camera": "lobby",
        "camera_name": "Main lobby", "captured_at": NOW, "first_captured_at": NOW - 1, "score": 0.71,
        "threshold": 0.5, "looks": 4, "track": "lobby.1.1", "detector": "d", "embedder": "e",
        "watchlist_version": 3, "raised_at": NOW, "expires_at": NOW + 600, "drill": True, "chip": "c", "frame": "f",
    }  # fmt: skip
    return Sighting(**(values | changes))


def event(kind: str = alerts.RAISED, identity: str = "a1b2c3", **changes: Any) -> dict[str, Any]:
    body = cloudevents.dump(alerts.event(kind, identity, sighting()))
    document: dict[str, Any] = json.loads(body)
    document["data"] |= changes
    return document


def test_an_alert_is_read_with_its_body_untouched() -> None:
    body = json.dumps(event()).encode()
    alert = core.read(body)
    assert alert is not None
    assert alert.data == sighting()
    assert alert.body is body


def test_what_became_of_an_alert_is_read() -> None:
    update = Update(
        alert="a1", reference="K7Q-2MX", site="north", category="barred", entry="e1",
        state=AlertState.DISMISSED, updated_at=NOW, by="Ann", reason="not him",
    )  # fmt: skip
    document = event() | {"type": reviews.DISMISSED, "data": cloudevents.to_data(update)}
    told = core.read(json.dumps(document).encode())
    assert told is not None
    assert told.data == update


def test_nothing_else_is_of_concern() -> None:
    assert core.read(json.dumps(event(alerts.SIGHTED)).encode()) is None
    assert core.read(json.dumps(event("aegis.alert.reviewed.v1")).encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000,
        json.dumps(event(expires_at="soon")).encode(),
        json.dumps(event(expires_at=math.inf)).encode(),
        json.dumps(event(captured_at=-1)).encode(),
        json.dumps(event(raised_at=1e300)).encode(),
        json.dumps(event(score=10**400)).encode(),
        json.dumps(event(severity="dreadful")).encode(),
        json.dumps(event() | {"id": "a.b c*"}).encode(),
    ],
)  # fmt: skip
def test_every_malformed_event_is_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        core.read(body)


def test_delays_double_up_to_the_longest() -> None:
    def delay(attempt: int, jitter: float = 0.0) -> float | None:
        return core.next_attempt(now=NOW, expires_at=NOW + 1e6, attempt=attempt, jitter=jitter, after=None)

    assert [delay(n) for n in (1, 2, 3, 4, 7, 1000)] == [1, 2, 4, 8, 60, 60]
    assert delay(4, jitter=1.0) == 4
    assert delay(1, jitter=1.0) == 1


@given(
    left=st.floats(-10, 700), attempt=st.integers(1, 10_000), jitter=st.floats(0, 1),
    after=st.none() | st.floats(0, 1000),
)  # fmt: skip
def test_an_attempt_is_never_made_after_expiry(left: float, attempt: int, jitter: float, after: float | None) -> None:
    delay = core.next_attempt(now=0.0, expires_at=left, attempt=attempt, jitter=jitter, after=after)
    assert delay is None or core.FIRST_DELAY <= delay < left
    if delay is not None and after is not None and after > core.FIRST_DELAY:
        assert delay == after


def test_the_last_attempt_is_just_before_expiry() -> None:
    assert core.next_attempt(now=0, expires_at=30, attempt=9, jitter=0, after=None) == 29
    assert core.next_attempt(now=0, expires_at=1.5, attempt=9, jitter=0, after=None) is None


def test_a_recipient_that_asks_for_more_than_is_left_is_given_up() -> None:
    assert core.next_attempt(now=0, expires_at=30, attempt=1, jitter=0, after=12) == 12
    assert core.next_attempt(now=0, expires_at=30, attempt=1, jitter=0, after=31) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), (" 120 ", 120.0), ("", None), (None, None), ("soon", None), ("-3", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0), ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_in_both_its_forms(value: str | None, seconds: float | None) -> None:
    assert core.parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_a_status_that_may_pass(status: int) -> None:
    with pytest.raises(TryAgainError) as caught:
        core.judge_status(status, "9", NOW)
    assert caught.value.after == 9


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
def test_a_status_that_will_not(status: int) -> None:
    with pytest.raises(NeverError):
        core.judge_status(status, None, NOW)


def test_success_is_any_2xx() -> None:
    for status in (200, 202, 204):
        core.judge_status(status, None, NOW)


def test_the_signature_of_the_specification() -> None:
    key = core.signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = core.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_plain_or_marked_base64() -> None:
    assert core.signing_key("hush") == b"hush"
    for bad in ("", "whsec_", "whsec_%%%"):
        with pytest.raises(ValueError, match="secret"):
            core.signing_key(bad)


def test_a_recipient_is_named_without_its_address() -> None:
    by_mail, by_hook = (
        Contact(person="guard", name="Guard", channel=channel, address="guard@example.org").token
        for channel in ("email", "webhook")
    )
    assert by_mail != by_hook
    assert core.repeat_id("e1", by_mail) != core.repeat_id("e2", by_mail)
    assert core.mask_address("guard@example.org") == "g…@example.org"
    assert core.mask_url("https://u:p@hooks.example.org:8443/T0/secret?k=1") == "https://hooks.example.org:8443"


def test_what_a_server_says_is_recorded_without_the_address() -> None:
    said = core.detail("550 <guard@example.org>\r\n unknown " + "x" * 500, "guard@example.org", "")
    assert said.startswith("550 <***> unknown xxx")
    assert len(said) == core.DETAIL_CHARACTERS


@given(st.text(st.characters()))
def test_one_line_is_one_line_and_can_be_sent(text: str) -> None:
    line = core.one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line
