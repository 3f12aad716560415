"""Section notify of the site file: providers and people are read, and every mistake is told with its line."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.unit.runtime.site_files import ENVIRON, PEOPLE, SITE, parse, problems

from aegis.contracts.messages import Severity
from aegis.contracts.telling import Contact, Outside, QuietHours, Rule, Step, Telling
from aegis.runtime.site_notify import (
    EmailConfig,
    KannelConfig,
    NotifyConfig,
    ReceiptsConfig,
    SmppConfig,
    TwilioConfig,
    WebhookConfig,
    machine_zone,
)

EXAMPLE = (
    SITE
    + """\
  time_zone: America/New_York
  email: {smtp: "smtps://mail.example.org", from: aegis@example.org, to: [Desk <desk@example.org>], rate: 5}
  sms: {provider: twilio, account: AC1, token: "${TWILIO_TOKEN}", from: "+15550001111", names: true}
  receipts: {listen: "127.0.0.1:8490", url: "https://aegis.example.org/receipts/"}
  webhooks: [{url: "https://hooks.example.org/x?key=hush", secret_env: HOOK_SECRET}]
  people:
    gate: {name: Gate guard, sms: "+15551230001", email: guard@example.org}
    head: {email: head@example.org}
    vms: {webhook: "https://vms.example.org/hook", secret_env: VMS_SECRET}
    chat: {other: "${SLACK_URL}"}
    police: {name: Police desk, outside: true, email: desk@police.example}
  camera_groups: {gates: [north-gate, south-gate]}
  rules:
    - name: night
      when:
        categories: [barred]
        cameras: [gates, lobby, north-gate]
        severity: high
        days: [mon, fri]
        hours: 18:00-07:00
      steps:
        - {tell: [gate], via: [sms], wait: 45}
        - {tell: [head, email-1]}
        - {tell: everyone}
      outside: {tell: [police], via: [email], confirmations: 1}
    - {name: otherwise, steps: [{tell: [gate, head]}]}
  quiet_hours: {hours: "22:00-06:00", below: critical}
"""
)


def test_the_providers_are_read(tmp_path: Path) -> None:
    site = parse(tmp_path, EXAMPLE)
    site.check()
    assert site.notify() == NotifyConfig(
        email=EmailConfig(
            smtp="smtps://mail.example.org",
            to=("Desk <desk@example.org>",),
            sender="aegis@example.org",
            pictures=False,
            rate=5,
        ),
        sms=TwilioConfig(account="AC1", token="hidden-token", sender="+15550001111", names=True),
        receipts=ReceiptsConfig(host="127.0.0.1", port=8490, url="https://aegis.example.org/receipts"),
        webhooks=(WebhookConfig(url="https://hooks.example.org/x?key=hush", secret="hidden-hook"),),
        zone=ZoneInfo("America/New_York"),
    )


def test_people_and_rules_are_read(tmp_path: Path) -> None:
    assert parse(tmp_path, EXAMPLE).telling() == Telling(
        contacts=(
            Contact(person="email-1", name="d…@example.org", channel="email", address="Desk <desk@example.org>"),
            Contact(
                person="webhook-1",
                name="hooks.example.org",
                channel="webhook",
                address="https://hooks.example.org/x?key=hush",
                secret="hidden-hook",
            ),
            Contact(person="gate", name="Gate guard", channel="email", address="guard@example.org"),
            Contact(person="gate", name="Gate guard", channel="sms", address="+15551230001"),
            Contact(person="head", name="head", channel="email", address="head@example.org"),
            Contact(
                person="vms",
                name="vms",
                channel="webhook",
                address="https://vms.example.org/hook",
                secret="hidden-vms",
            ),
            Contact(person="chat", name="chat", channel="other", address="slack://hidden-slack"),
            Contact(person="police", name="Police desk", channel="email", address="desk@police.example", outside=True),
        ),
        rules=(
            Rule(
                name="night",
                categories=("barred",),
                cameras=("north-gate", "south-gate", "lobby"),
                severity=Severity.HIGH,
                days=(0, 4),
                hours=(1080, 420),
                steps=(
                    Step(tell=("gate",), via=("sms",), wait=45),
                    Step(tell=("head", "email-1"), wait=60),
                    Step(tell=(), wait=60),
                ),
                outside=Outside(tell=("police",), via=("email",), confirmations=1),
            ),
            Rule(name="otherwise", steps=(Step(tell=("gate", "head")),)),
        ),
        quiet=QuietHours(hours=(1320, 360), below=Severity.CRITICAL),
        sms_names=True,
    )


def test_without_the_section_nobody_is_told(tmp_path: Path) -> None:
    assert parse(tmp_path, "site: {id: north, kind: venue}\n").telling() == Telling()


def test_who_tells_need_not_know_the_passwords_of_cameras(tmp_path: Path) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != "CAMERA_PASSWORD"}
    assert parse(tmp_path, EXAMPLE, environ).telling().rules


def test_nothing_that_is_read_shows_its_secrets(tmp_path: Path) -> None:
    site = parse(tmp_path, EXAMPLE)
    shown = f"{site.notify()} {site.telling()}"
    for secret in ("hidden", "hush", "+1555123", "guard@", "head@"):
        assert secret not in shown


def test_hours_are_those_of_the_machine_where_no_zone_is_given(tmp_path: Path) -> None:
    zone = parse(tmp_path, SITE + PEOPLE).notify().zone
    assert zone is machine_zone()
    for month in (1, 7):
        naive = dt.datetime(2026, month, 1, 12)  # noqa: DTZ001 - what the machine takes it for is asked
        assert naive.replace(tzinfo=zone).utcoffset() == naive.astimezone().utcoffset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{provider: twilio, account: AC1, token: "${TWILIO_TOKEN}", from: AEGIS, rate: 3, url: "http://[::1]:80"}',
            TwilioConfig(account="AC1", token="hidden-token", sender="AEGIS", rate=3, url="http://[::1]:80"),
        ),
        (
            '{provider: kannel, url: "http://127.0.0.1:13013/cgi-bin/sendsms", user: me, password: "${PW}", from: A}',
            KannelConfig(url="http://127.0.0.1:13013/cgi-bin/sendsms", user="me", password="hidden%40word", sender="A"),
        ),
        (
            '{provider: kannel, url: "http+insecure://sms.example.org/s", user: me, password: "${PW}", from: A}',
            KannelConfig(url="http://sms.example.org/s", user="me", password="hidden%40word", sender="A"),
        ),
        (
            '{provider: smpp, url: "smpps://me:${PW}@sms.example.org", from: "12345", names: true}',
            SmppConfig(
                host="sms.example.org",
                port=3550,
                tls=True,
                user="me",
                password="hidden@word",
                sender="12345",
                names=True,
            ),
        ),
        (
            '{provider: smpp, url: "smpp+insecure://me:${PW}@10.0.0.1:99", from: A}',
            SmppConfig(host="10.0.0.1", port=99, tls=False, user="me", password="hidden@word", sender="A"),
        ),
        (
            '{provider: smpp, url: "smpp://me:${PW}@localhost", from: A}',
            SmppConfig(host="localhost", port=2775, tls=False, user="me", password="hidden@word", sender="A"),
        ),
    ],
)
def test_sms_providers_are_read(tmp_path: Path, text: str, expected: object) -> None:
    assert parse(tmp_path, f"{SITE}  sms: {text}\n").notify().sms == expected


KANNEL = "  sms: {provider: kannel, user: u, password: p, from: A, url: "
SMPP = "  sms: {provider: smpp, from: A, url: "


@pytest.mark.parametrize(
    ("text", "offender"),
    [
        ("  time_zone: Mars/Base", "time_zone: 'Mars/Base' is no time zone such as America/New_York"),
        ("  time_zone: ../../etc/passwd", "is no time zone"),
        ("  sms: {from: A}", "provider is missing"),
        ("  sms: {provider: pigeon, from: A}", "provider: 'pigeon' is not one of twilio, kannel, smpp"),
        ("  sms: {provider: twilio, account: A, token: t}", "from is missing"),
        ("  sms: {provider: twilio, account: A, token: t, from: '++1'}", "from: '++1' is no number such as"),
        ("  sms: {provider: twilio, account: A, token: t, from: A, user: u}", "'user' is not known here; known are"),
        ("  sms: {provider: twilio, account: A, token: t, from: A, rate: 0}", "rate: a number from 0.01 to 1000"),
        ("  sms: {provider: twilio, account: A, token: t, from: A, names: 1}", "names: true or false"),
        (KANNEL + "'http://sms.example.org/'}", "url: http:// would send the password in clear text; use https://"),
        (KANNEL + "'ftp://sms.example.org/'}", "url: expected https:// or http:// and a host"),
        (KANNEL + "'http:///x'}", "url: expected https:// or http:// and a host"),
        (SMPP + "'smpp://u:hidden@10.0.0.1'}", "url: smpp:// would send the password in clear text; use smpps://"),
        (SMPP + "'smpp://u:hidden@h:port'}", "url: expected smpps:// or smpp:// and a host"),
        ("  receipts: {listen: '127.0.0.1', url: 'https://a.b'}", "listen: expected HOST:PORT"),
        ("  receipts: {listen: '127.0.0.1:1', url: 'a.b'}", "url: expected https:// or http:// and a host"),
        ("  people: {gate: {}}", "person 'gate' has no contact; give one of email, sms, webhook, other"),
        ("  people: {Gate: {other: 'x://y'}}", "person 'Gate' is not 1 to 64"),
        ("  people: {gate: {other: 'x://y', phone: 1}}", "'phone' is not known here"),
        ("  people: {gate: {other: 'hidden'}}", "other: an address as Apprise has them is expected"),
        ("  people: {gate: {email: a@b.c}}", "email: there is no provider; add email to notify"),
        ("  people: {gate: {sms: '+15551230001'}}", "sms: there is no provider; add sms to notify"),
        ("  people: {gate: {webhook: 'https://a.b'}}", "secret_env is missing"),
        ("  people: {gate: {webhook: 'a.b', secret_env: HOOK_SECRET}}", "webhook: expected https:// or http://"),
        ("  people: {gate: {other: 'x://y', secret_env: HOOK_SECRET}}", "secret_env: there is no webhook"),
        ("  people: [gate]", "people is a map"),
        ("  camera_groups: {gates: [east-gate]}", "gates: 'east-gate' is not one of north-gate, south-gate, lobby"),
        ("  camera_groups: {lobby: [north-gate]}", "camera group 'lobby' has the name of a camera"),
        ("  camera_groups: {gates: []}", "gates is a list with at least one text"),
        ("  quiet_hours: {below: high}", "hours is missing"),
        ("  quiet_hours: {hours: '22-6'}", "hours: '22-6' is not HH:MM-HH:MM with two different times"),
        ("  quiet_hours: {hours: '06:00-06:00'}", "hours: '06:00-06:00' is not HH:MM-HH:MM"),
        ("  quiet_hours: {hours: '06:00-24:01'}", "hours: '06:00-24:01' is not HH:MM-HH:MM"),
        ("  quiet_hours: {hours: '06:00-08:00', below: dire}", "below: 'dire' is not one of low, medium"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, offender: str) -> None:
    (problem,) = problems(tmp_path, SITE + text)
    assert problem.startswith(":8: "), problem
    assert offender in problem
    assert "hidden" not in problem


@pytest.mark.parametrize("number", ["15551230001", "+05551230001", "+1555-123-0001", "+1 555", "5551230001", "+155512"])
def test_numbers_are_in_international_form_only(tmp_path: Path, number: str) -> None:
    text = f"  sms: {{provider: twilio, account: A, token: t, from: A}}\n  people:\n    gate: {{sms: '{number}'}}\n"
    assert problems(tmp_path, SITE + text) == [f":10: sms: {number!r} is no number such as '+15551230001', in quotes"]


def test_a_person_has_another_name_than_an_address(tmp_path: Path) -> None:
    text = "  email: {smtp: 'smtp://x', to: [a@b.c]}\n  people:\n    email-1: {email: d@b.c}\n"
    assert problems(tmp_path, SITE + text) == [":10: 'email-1' stands twice"]


def test_a_person_stands_once(tmp_path: Path) -> None:
    text = "  email: {smtp: 'smtp://x'}\n  people:\n    ann: {email: a@b.c}\n    ann: {email: d@b.c}\n"
    assert ":11: 'ann' stands twice" in problems(tmp_path, SITE + text)


def test_an_account_has_a_name(tmp_path: Path) -> None:
    text = "  sms: {provider: twilio, account: '', token: t, from: A}\n  people:\n    a: {sms: '+15551230001'}\n"
    assert problems(tmp_path, SITE + text) == [":8: account is empty"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = EXAMPLE.replace("head@example.org", "nowhere").replace("wait: 45", "wait: 1").replace("fri]", "friday]")
    assert [int(problem.split(":")[1]) for problem in problems(tmp_path, text)] == [15, 26, 29]
