"""What the services say of themselves: there, ready, of one version, right clocks, models, cameras, people to tell."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from aegis.cli.doctor.bus import ending, offset
from aegis.cli.doctor.findings import Finding, ok, problem, skipped, warning
from aegis.cli.state import SERVICES
from aegis.contracts.messages import SiteRecord, SiteState
from aegis.runtime import models, status

Answers = list[dict[str, Any]]
EXPIRED_WARNING = 0.02
"""Share of looks that are too old when they come to embed."""
LEAST_FPS = 1.0
"""A slower camera need not have sent a picture while it was watched."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def name(answer: dict[str, Any]) -> str:
    return f"{answer['service']} {answer['replica']}"


def samples(answer: dict[str, Any], metric: str) -> Iterator[tuple[dict[str, str], float]]:
    """Give labels and value of each sample of a metric."""
    for sample, value in answer["metrics"].items():
        if sample.partition("{")[0] == metric:
            yield dict(_LABEL.findall(sample)), float(value)


def present(answers: Answers) -> Iterator[Finding]:
    """Every service is there and ready, and one registry leads."""
    there = {answer["service"] for answer in answers}
    for service in SERVICES:
        if service not in there:
            yield problem(service, "does not answer", f"read its log; on a cluster: kubectl logs deploy/{service}")
    for answer in answers:
        if not answer["ready"]:
            yield problem(name(answer), f"is not ready after {answer['uptime_s']:.0f} s", "read its log")
    leading = [name(answer) for answer in answers if answer["detail"].get("leading")]
    if "registry" in there and len(leading) != 1:
        yield problem("registry", f"{len(leading)} lead, and one must", "look again in ten seconds, then read its log")
    if there >= set(SERVICES) and all(answer["ready"] for answer in answers) and len(leading) == 1:
        yield ok("services", f"{len(answers)} processes of {len(SERVICES)} services are ready")


def versions(answers: Answers, own: str) -> Finding:
    """All are of the version of this command."""
    found = defaultdict(list)
    for answer in answers:
        for labels, _ in samples(answer, "aegis_build_info"):
            found[labels["version"]].append(name(answer))
    if set(found) == {own}:
        return ok("versions", f"all are {own}, as this command is")
    if len(found) == 1:
        text = f"all are {next(iter(found))}, and this command is {own}"
        return warning("versions", text, "use the command of their version, which knows all that they say")
    if not found:
        return skipped("versions", "no service tells its version")
    text = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(found.items()))
    return warning("versions", text, "let the upgrade come to its end, or start the older ones anew")


def clocks(answers: Answers) -> Iterator[Finding]:
    """Each service's clock is the bus's; those that are right share a line."""
    right = []
    for answer in answers:
        for _, seconds in samples(answer, "aegis_clock_offset_seconds"):
            finding = offset(f"clock of {name(answer)}", seconds)
            if finding.remedy:
                yield finding
            else:
                right.append(abs(seconds))
    if right:
        yield ok("clocks", f"{len(right)} services are at most {max(right):.3f} s off the bus's")


def certificates(answers: Answers) -> Iterator[Finding]:
    """Say when the services' certificates end; that of the bus was looked at itself."""
    ends: dict[str, float] = {}
    for answer in answers:
        for labels, at in samples(answer, "aegis_certificate_expires_seconds"):
            ends[labels["file"]] = min(at, ends.get(labels["file"], at))
    ends.pop("bus", None)
    for file, at in sorted(ends.items()):
        yield ending(f"certificate {file}", at, "then start the services anew")


def model_files(answers: Answers) -> Iterator[Finding]:
    """Each model is the same file everywhere, and that of its card."""
    found = defaultdict(lambda: defaultdict(list))  # type: ignore[var-annotated]
    for answer in answers:
        for labels, _ in samples(answer, "aegis_model_info"):
            found[labels["model"]][labels["sha256"]].append(name(answer))
    cards = models.load_cards()
    for model, files in sorted(found.items()):
        users = ", ".join(user for names in files.values() for user in names)
        card = cards.get(model)
        if len(files) > 1:
            text = "; ".join(f"{sha[:12]}…: {', '.join(names)}" for sha, names in files.items())
            yield problem(f"model {model}", f"not everywhere the same file: {text}", "run: aegis models pull")
        elif card is not None and card.sha256 not in files:
            yield problem(f"model {model}", f"{users} use another file than its card names", "run: aegis models pull")
        else:
            yield ok(f"model {model}", f"{next(iter(files))[:12]}… at {users}")


def providers(answers: Answers) -> Iterator[Finding]:
    """Say what runs the models: a fall-back is slow, and nothing else tells of it. A machine without a card is well."""
    for answer in answers:
        detail = answer["detail"]
        if "provider" in detail:
            text = f"{detail['model']} runs on {detail['provider']}"
            # A service of an earlier version does not say whether something is broken.
            if detail.get("fell_back") and detail.get("broken", True):
                remedy = "mend what it says, or set AEGIS_PROVIDER to cpu if that is meant"
                yield warning(name(answer), f"{text}, not on a faster one: {detail['fell_back']}", remedy)
            else:
                yield ok(name(answer), text)


def late(answers: Answers) -> Finding:
    """Say how many looks came to embed too late: people whom nobody compared then."""
    embedded = status.total(answers, "aegis_looks_embedded_total")
    expired = status.total(answers, "aegis_looks_expired_total")
    text = f"{expired:.0f} of {embedded + expired:.0f} looks came too late to be compared"
    if expired <= EXPIRED_WARNING * (embedded + expired):
        return ok("speed", text)
    return problem("speed", text, "add replicas of embed, or lower the cameras' fps")


def cameras(listed: list[dict[str, Any]], before: Answers, now: Answers, site: SiteRecord | None) -> Iterator[Finding]:
    """Every camera is held by somebody, delivers, and its pictures move on."""
    if not listed:
        yield warning("cameras", "there is none", "add one to the site file, or: aegis camera add")
    states = {camera: state for answer in now for camera, state in answer["detail"].get("cameras", {}).items()}
    flowing = []
    for camera, fps in ((one["id"], one["fps"]) for one in listed):
        check, state = f"camera {camera}", states.get(camera, {})
        if not state:
            yield problem(check, "no replica of ingest holds it", "start ingest, or add a replica of it")
        elif state["state"] == "ended":
            yield ok(check, "its file was played")
        elif state["state"] != "online":
            why = f": {state['reason']}" if state.get("reason") else ""
            yield problem(check, f"{state['state']}{why}", "see docs/guides/operations.md#cameras")
        elif fps >= LEAST_FPS and site is not None and site.state.processing and not _moved(before, now, camera):
            yield problem(check, "online, and no picture of it came of late", "read the log of ingest")
        else:
            flowing.append(camera)
    if flowing:
        yield ok("cameras", f"{len(flowing)} of {len(listed)} deliver: {', '.join(flowing)}")


def _moved(before: Answers, now: Answers, camera: str) -> bool:
    """Say whether a picture came, be it passed over since nothing moved in it."""
    names = ("aegis_frames_captured_total", "aegis_frames_gated_total", "aegis_frames_dropped_total")
    return any(status.total(now, of, camera=camera) > status.total(before, of, camera=camera) for of in names)


def site_state(site: SiteRecord | None) -> Iterator[Finding]:
    """Say the state, and what stands against each category."""
    if site is None:
        yield problem("site", "its policy is not known", "start the registry: it reads the site file")
        return
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(site.state_since)) if site.state_since else "its start"
    text = f"{site.name} is {site.state.value} since {since}"
    if site.drill:
        yield warning("site", f"{text}, and every alert is marked DRILL", "give the site file another kind")
    elif site.state is SiteState.ARMED:
        yield ok("site", text)
    else:
        yield warning("site", f"{text}: nobody is alerted", "run: aegis arm")
    for category, about in site.categories.items():
        if about.problem:
            yield problem(f"category {category}", about.problem, "run: aegis calibrate")
    if not site.cohort:
        yield warning("cohort", "there is none, so scores are plain cosines", "run: aegis cohort build PHOTOS")


def telling(answers: Answers, site: SiteRecord | None) -> Iterator[Finding]:
    """Somebody is told of alerts, and every contact can be reached as far as is known. Nothing is sent."""
    contacts = [c for answer in answers for c in answer["detail"].get("recipients", {}).values()]
    if not contacts and any(answer["service"] == "notify" for answer in answers):
        how = problem if site is not None and site.state is SiteState.ARMED else warning
        yield how("telling", "nobody is told of alerts", "add notify: to the site file")
    reached = 0
    for contact in contacts:
        check = f"{contact['person']} by {contact['to']}"
        if contact["last_error"]:
            yield problem(check, contact["last_error"], f"mend it, then: aegis notify test {contact['person']}")
        elif contact["pending"]:
            yield warning(check, f"{contact['pending']} not told yet", "look again in a minute")
        else:
            reached += 1
    if reached:
        yield ok("telling", f"{reached} contacts have no error; to try them: aegis notify test PERSON")


def reviewers(users: list[dict[str, Any]]) -> Finding:
    """Somebody may say what an alert is."""
    if users:
        return ok("reviewers", f"{len(users)} may review alerts")
    return warning("reviewers", "nobody may review alerts", "run: aegis user add NAME")
