"""Whom the site file's section ``notify`` tells, and when: people, rules, quiet hours."""

import re
from collections.abc import Collection, Mapping
from email.utils import parseaddr

from aegis.contracts.messages import Category, Severity
from aegis.contracts.telling import Contact, QuietHours, Telling
from aegis.runtime.site_addresses import mail_address, secret, split, web_address
from aegis.runtime.site_notify import NUMBER, NotifyConfig, section
from aegis.runtime.site_rules import CHANNELS, SEVERITIES, RuleReader, hours, names
from aegis.runtime.yaml_section import Section, Values

PROVIDED = ("email", "sms")
"""Channels that need a provider."""
_APPRISE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")


def read(
    tree: Section, values: Values, config: NotifyConfig, categories: Mapping[str, Category], cameras: Collection[str]
) -> Telling:
    """Read people and rules; the addresses among the providers, as ``email.to``, are contacts of their own."""
    notify = section(tree, values)
    if notify is None:
        return Telling()
    contacts = (*_without_people(config), *_people(notify, values, config))
    cameras = {camera: (camera,) for camera in cameras} | _groups(notify, values, cameras)
    rules = RuleReader(values, Telling(contacts=contacts), categories, cameras)
    return Telling(
        contacts=contacts,
        rules=rules.read(notify.maps("rules", values.problems)),
        quiet=_quiet(notify.map("quiet_hours", values.problems), values) if "quiet_hours" in notify else None,
        sms_names=config.sms is not None and config.sms.names,
    )


def _without_people(config: NotifyConfig) -> list[Contact]:
    """Make contacts of the addresses that are nobody's; their names do not give the addresses away."""
    mails = [
        Contact(person=f"email-{n}", name=_masked(to), channel="email", address=to)
        for n, to in enumerate(config.email.to if config.email else (), 1)
    ]
    hooks = [
        Contact(person=f"webhook-{n}", name=_host(hook.url), channel="webhook", address=hook.url, secret=hook.secret)
        for n, hook in enumerate(config.webhooks, 1)
    ]
    return mails + hooks


def _masked(address: str) -> str:
    local, _, domain = parseaddr(address)[1].rpartition("@")
    return f"{local[:1]}…@{domain}"


def _host(url: str) -> str:
    parts = split(url)
    return (parts.hostname or "") if parts else ""


def _people(notify: Section, values: Values, config: NotifyConfig) -> list[Contact]:
    if "people" not in notify:
        return []
    taken = {contact.person for contact in _without_people(config)}
    found: list[Contact] = []
    section = notify.map("people", values.problems)
    section.only(*section, problems=values.problems)
    for name in section:
        line = section.line_of(name)
        person = values.as_token(name, "person", line)
        body = section.map(name, values.problems)
        contacts = _contacts(body, values, person, [c for c in PROVIDED if c not in notify])
        if person in taken:
            values.problem(line, f"{person!r} stands twice")
        if not contacts:
            values.problem(line, f"person {person!r} has no contact; give one of {', '.join(CHANNELS)}")
        found += contacts
    return found


def _contacts(body: Section, values: Values, person: str, missing: Collection[str]) -> list[Contact]:
    """Read the contacts of a person; ``missing`` are the channels without a provider."""
    body.only("name", *CHANNELS, "secret_env", "outside", problems=values.problems)
    if "secret_env" in body and "webhook" not in body:
        values.problem(body.line_of("secret_env"), "secret_env: there is no webhook that it would sign for")
    name, outside = values.text(body, "name", person), values.flag(body, "outside")
    found = []
    for channel in (channel for channel in CHANNELS if channel in body):
        if channel in missing:
            values.problem(body.line_of(channel), f"{channel}: there is no provider; add {channel} to notify")
        address = _address(body, values, channel)
        key = secret(values, body) if channel == "webhook" else ""
        found.append(Contact(person=person, name=name, channel=channel, address=address, secret=key, outside=outside))
    return found


def _address(body: Section, values: Values, channel: str) -> str:
    if channel == "webhook":
        return web_address(values, body, channel)
    text, line = values.text(body, channel), body.line_of(channel)
    if channel == "email":
        return mail_address(values, text, channel, line)
    if channel == "sms" and not NUMBER.fullmatch(text):
        values.problem(line, f"sms: {text!r} is no number such as '+15551230001', in quotes")
    if channel == "other" and not _APPRISE.fullmatch(text):  # which may be a secret
        values.problem(line, "other: an address as Apprise has them is expected, as in slack://")
    return text


def _groups(notify: Section, values: Values, cameras: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Read the cameras of each group."""
    if "camera_groups" not in notify:
        return {}
    body = notify.map("camera_groups", values.problems)
    body.only(*body, problems=values.problems)
    found = {}
    for name in body:
        group = values.as_token(name, "camera group", body.line_of(name))
        if group in cameras:
            values.problem(body.line_of(name), f"camera group {group!r} has the name of a camera")
        found[group] = names(values, body, name, cameras)
    return found


def _quiet(body: Section, values: Values) -> QuietHours:
    body.only("hours", "below", problems=values.problems)
    below = values.choice(body, "below", SEVERITIES, Severity.HIGH.value)
    return QuietHours(hours=hours(values, body), below=Severity(below))
