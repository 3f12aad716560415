"""By what the site file's section ``notify`` tells: mail server, SMS provider, webhooks, and where receipts come in."""

import datetime as dt
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aegis.runtime.site_addresses import gateway, listen, mail_address, secret, split, web_address
from aegis.runtime.site_paths import check_certificate, check_mounted
from aegis.runtime.yaml_section import Section, Values

KEYS = (
    "time_zone",
    "email",
    "sms",
    "receipts",
    "webhooks",
    "people",
    "camera_groups",
    "rules",
    "quiet_hours",
)
SMS_KEYS = {
    "twilio": ("account", "token", "url"),
    "kannel": ("url", "user", "password"),
    "smpp": ("url",),
}
TWILIO = "https://api.twilio.com"
MAILS = 10.0
"""A second."""
NOWHERE = SplitResult("", "", "", "", "")
SMPP_PORTS = {"smpp": 2775, "smpps": 3550}
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
"""E.164."""
_SENDER = re.compile(r"\+[1-9]\d{6,14}|[A-Za-z0-9 ]{1,11}")
_MACHINE = Path("/etc/localtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailConfig:
    """How to mail. ``pictures`` puts the faces into the mail, where they outlive their retention."""

    smtp: str = field(repr=False)
    to: tuple[str, ...] = ()
    """Addresses that are nobody's of ``people``."""
    sender: str
    pictures: bool
    ca: Path | None = None
    rate: float = MAILS
    """Mails a second; so for every provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """Where to post CloudEvents, and the secret that signs them."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioConfig:
    """An account at Twilio. ``sender`` is a number or a short name; ``names`` is whether an SMS may name the person."""

    account: str
    token: str = field(repr=False)
    sender: str
    rate: float = 1.0
    names: bool = False
    url: str = TWILIO


@dataclass(frozen=True, slots=True, kw_only=True)
class KannelConfig:
    """A Kannel gateway: ``url`` is that of its sendsms."""

    url: str
    user: str
    password: str = field(repr=False)
    sender: str
    rate: float = 1.0
    names: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SmppConfig:
    """An SMS centre that is spoken to itself."""

    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)
    sender: str
    rate: float = 1.0
    names: bool = False


SmsConfig = TwilioConfig | KannelConfig | SmppConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsConfig:
    """Where receipts are taken, and the address under which providers reach it."""

    host: str
    port: int
    url: str


@cache
def machine_zone() -> dt.tzinfo:
    """Give the zone of this machine's clock: that of ``TZ``, of /etc/localtime, or UTC."""
    try:
        if name := os.environ.get("TZ", "").removeprefix(":"):
            return ZoneInfo(name)
        with _MACHINE.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return dt.UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Everything by which people are told, and the zone in which hours and days are meant."""

    email: EmailConfig | None = None
    sms: SmsConfig | None = None
    receipts: ReceiptsConfig | None = None
    webhooks: tuple[WebhookConfig, ...] = ()
    zone: dt.tzinfo = field(default_factory=machine_zone)


def section(tree: Section, values: Values) -> Section | None:
    """Give the section ``notify`` if there is one."""
    return tree.map("notify", values.problems) if "notify" in tree else None


def read(tree: Section, values: Values, *, pictures: bool) -> NotifyConfig:
    """Read the providers of the section ``notify``; ``pictures`` is whether mails show faces by default."""
    notify = section(tree, values)
    if notify is None:
        return NotifyConfig()
    notify.only(*KEYS, problems=values.problems)
    return NotifyConfig(
        email=_email(notify.map("email", values.problems), values, pictures=pictures) if "email" in notify else None,
        sms=_sms(notify.map("sms", values.problems), values) if "sms" in notify else None,
        receipts=_receipts(notify.map("receipts", values.problems), values) if "receipts" in notify else None,
        webhooks=tuple(_webhook(hook, values) for hook in notify.maps("webhooks", values.problems)),
        zone=_zone(notify, values),
    )


def check_files(tree: Section, values: Values, *, pods: bool) -> None:
    """Take note of what is wrong with the file of ``email.ca``; services that do not mail need not have it."""
    notify = section(tree, values)
    if notify is None or "email" not in notify:
        return
    email = notify.map("email", values.problems)
    if not (ca := values.text(email, "ca", "")):
        return
    if pods:
        check_mounted(values, email.line_of("ca"), "ca", ca, "notify")
    else:
        check_certificate(values, email.line_of("ca"), ca)


def _zone(notify: Section, values: Values) -> dt.tzinfo:
    name = values.text(notify, "time_zone", "")
    try:
        return ZoneInfo(name) if name else machine_zone()
    except (OSError, ValueError, ZoneInfoNotFoundError):
        values.problem(notify.line_of("time_zone"), f"time_zone: {name!r} is no time zone such as America/New_York")
        return machine_zone()


def _email(body: Section, values: Values, *, pictures: bool) -> EmailConfig:
    body.only("smtp", "to", "from", "pictures", "ca", "rate", problems=values.problems)
    smtp = values.text(body, "smtp")
    parts = split(smtp)
    if smtp and (parts is None or parts.scheme not in ("smtp", "smtps", "smtp+insecure")):
        values.problem(body.line_of("smtp"), "smtp: expected smtps://, smtp:// (STARTTLS) or smtp+insecure://")
    line = body.line_of("to")
    to = [values.expand(text, line) for text in body.texts("to", values.problems)] if "to" in body else []
    ca = values.text(body, "ca", "")
    return EmailConfig(
        smtp=smtp,
        to=tuple(mail_address(values, address, "to", line) for address in to),
        sender=values.text(body, "from", "aegis@localhost"),
        pictures=values.flag(body, "pictures", default=pictures),
        ca=Path(ca) if ca else None,
        rate=_rate(body, values, MAILS),
    )


def _webhook(hook: Section, values: Values) -> WebhookConfig:
    hook.only("url", "secret_env", problems=values.problems)
    return WebhookConfig(url=web_address(values, hook, "url"), secret=secret(values, hook))


def _sms(body: Section, values: Values) -> SmsConfig | None:
    provider = values.choice(body, "provider", tuple(SMS_KEYS), "")
    all_keys = dict.fromkeys(key for keys in SMS_KEYS.values() for key in keys)
    body.only("provider", "from", "rate", "names", *SMS_KEYS.get(provider, all_keys), problems=values.problems)
    sender, rate, named = values.text(body, "from"), _rate(body, values, 1.0), values.flag(body, "names")
    if sender and not _SENDER.fullmatch(sender):
        values.problem(body.line_of("from"), f"from: {sender!r} is no number such as +15550001111 and no short name")
    match provider:
        case "twilio":
            url = gateway(values, body, ("https", "http"), TWILIO)
            account, token = values.text(body, "account"), values.text(body, "token")
            for name, value in (("account", account), ("token", token)):
                if name in body and not value:
                    values.problem(body.line_of(name), f"{name} is empty")
            return TwilioConfig(account=account, token=token, sender=sender, rate=rate, names=named, url=url)
        case "kannel":
            url = gateway(values, body, ("https", "http"))
            user, password = values.text(body, "user"), values.text(body, "password")
            return KannelConfig(url=url, user=user, password=password, sender=sender, rate=rate, names=named)
        case "smpp":
            parts = split(gateway(values, body, ("smpps", "smpp"))) or NOWHERE
            return SmppConfig(
                host=parts.hostname or "",
                port=parts.port or SMPP_PORTS.get(parts.scheme, 0),
                tls=parts.scheme == "smpps",
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                sender=sender,
                rate=rate,
                names=named,
            )
    return None


def _receipts(body: Section, values: Values) -> ReceiptsConfig | None:
    body.only("listen", "url", problems=values.problems)
    place, url = listen(values, body), web_address(values, body, "url")
    return ReceiptsConfig(host=place[0], port=place[1], url=url.rstrip("/")) if place else None


def _rate(body: Section, values: Values, default: float) -> float:
    return values.number(body, "rate", default, 0.01, 1000)
