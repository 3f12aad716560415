"""What doctor makes of what the services say of themselves, and of times."""

import time
from typing import Any

import pytest

from aegis.cli.doctor import services
from aegis.cli.doctor.bus import ending, offset
from aegis.cli.doctor.findings import Finding, Level
from aegis.cli.state import SERVICES
from aegis.contracts.messages import Category, SiteRecord, SiteState
from aegis.runtime import models
from aegis.runtime.topology import DAY

SFACE = models.load_cards()["sface-2021dec"]


def answer(
    service: str, replica: str = "0", detail: dict[str, Any] | None = None, metrics: dict[str, float] | None = None
) -> dict[str, Any]:
    leading = {"leading": True} if service == "registry" else {}
    return {
        "service": service,
        "replica": replica,
        "ready": True,
        "uptime_s": 5.0,
        "detail": {**leading, **(detail or {})},
        "metrics": metrics or {},
    }


ALL = [answer(service) for service in SERVICES]


def site(state: SiteState = SiteState.ARMED, kind: str = "venue", problem: str = "", cohort: str = "c") -> SiteRecord:
    categories = {"barred": Category(problem=problem)}
    return SiteRecord(id="n", name="North", kind=kind, state=state, cohort=cohort, categories=categories)


def levels(findings: Any) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0.1, Level.OK), (-0.4, Level.OK), (0.7, Level.WARNING), (-0.7, Level.WARNING), (3, Level.PROBLEM)],
)
def test_a_clock_is_right_or_not(seconds: float, level: Level) -> None:
    assert offset("clock", seconds).level is level
    said = [answer("match", metrics={"aegis_clock_offset_seconds": seconds})]
    assert levels(services.clocks(said)) == [level]


@pytest.mark.parametrize(
    ("days", "level"), [(300, Level.OK), (20, Level.WARNING), (3, Level.PROBLEM), (-2, Level.PROBLEM)]
)
def test_a_certificate_is_renewed_in_time(days: float, level: Level) -> None:
    ends = time.time() + days * DAY
    assert ending("certificate", ends, "now").level is level
    sample = {'aegis_certificate_expires_seconds{file="whip"}': ends}
    assert levels(services.certificates([answer("ingest", metrics=sample)])) == [level]


def test_each_service_must_be_there_and_ready_and_one_registry_must_lead() -> None:
    assert levels(services.present(ALL)) == [Level.OK]
    [missing] = services.present([one for one in ALL if one["service"] != "match"])
    assert (missing.check, missing.level) == ("match", Level.PROBLEM)
    assert "kubectl logs deploy/match" in missing.remedy
    [unready] = services.present([*ALL, {**answer("embed", "1"), "ready": False}])
    assert (unready.check, unready.level) == ("embed 1", Level.PROBLEM)
    [two] = services.present([*ALL, answer("registry", "1")])
    assert two.text == "2 lead, and one must"


def test_versions_and_model_files_are_the_same_everywhere() -> None:
    def version(service: str, of: str) -> dict[str, Any]:
        return answer(service, metrics={f'aegis_build_info{{version="{of}"}}': 1})

    def model(service: str, sha: str) -> dict[str, Any]:
        return answer(service, metrics={f'aegis_model_info{{model="{SFACE.id}",sha256="{sha}"}}': 1})

    assert services.versions([version("match", "1.0"), version("embed", "1.0")], "1.0").level is Level.OK
    other = services.versions([version("match", "1.0"), version("embed", "1.0")], "1.1")
    assert (other.level, other.text) == (Level.WARNING, "all are 1.0, and this command is 1.1")
    mixed = services.versions([version("match", "1.0"), version("embed", "1.1")], "1.1")
    assert (mixed.level, mixed.text) == (Level.WARNING, "1.0: match 0; 1.1: embed 0")
    assert services.versions([answer("match")], "1.0").level is Level.SKIPPED
    same = [model("embed", SFACE.sha256), model("registry", SFACE.sha256)]
    assert levels(services.model_files(same)) == [Level.OK]
    [differing] = services.model_files([same[0], model("registry", "0" * 64)])
    assert differing.level is Level.PROBLEM
    assert "registry 0" in differing.text
    [strange] = services.model_files([model("embed", "0" * 64), model("registry", "0" * 64)])
    assert "another file than its card" in strange.text


def test_a_fall_back_is_told_with_its_reason() -> None:
    detail = {"model": "m", "provider": "cpu", "fell_back": "cuda: no driver"}
    [finding] = services.providers([answer("embed", detail=detail)])
    assert (finding.level, finding.check) == (Level.WARNING, "embed 0")
    assert "cuda: no driver" in finding.text
    assert levels(services.providers([answer("embed", detail={**detail, "broken": True})])) == [Level.WARNING]
    assert levels(services.providers([answer("embed", detail={**detail, "fell_back": None})])) == [Level.OK]
    [finding] = services.providers([answer("embed", detail={**detail, "broken": False})])
    assert (finding.level, finding.text) == (Level.OK, "m runs on cpu")


@pytest.mark.parametrize(("expired", "level"), [(0, Level.OK), (1, Level.OK), (30, Level.PROBLEM)])
def test_looks_that_come_too_late_are_told(expired: float, level: Level) -> None:
    said = [answer("embed", metrics={"aegis_looks_embedded_total": 100, "aegis_looks_expired_total": expired})]
    assert services.late(said).level is level


def test_a_camera_must_be_held_deliver_and_move_on() -> None:
    def seen(state: str, frames: float) -> list[dict[str, Any]]:
        cameras = {"gate": {"state": state, "reason": "why"}}
        metrics = {'aegis_frames_captured_total{camera="gate"}': frames}
        return [answer("ingest", detail={"cameras": cameras}, metrics=metrics)]

    def found(before: float, now: float, state: str = "online", fps: float = 5.0) -> Finding:
        listed = [{"id": "gate", "fps": fps}]
        [finding] = services.cameras(listed, seen(state, before), seen(state, now), site())
        return finding

    assert found(3, 9).level is Level.OK
    assert (found(3, 3).level, found(3, 3).text) == (Level.PROBLEM, "online, and no picture of it came of late")
    assert found(3, 3, fps=0.2).level is Level.OK
    assert found(3, 3, "ended").level is Level.OK
    assert found(3, 3, "offline").text == "offline: why"
    [nobody] = services.cameras([{"id": "gate", "fps": 5.0}], [], [], site())
    assert "no replica of ingest holds it" in nobody.text
    still = seen("online", 0)
    assert levels(services.cameras([{"id": "gate", "fps": 5.0}], still, still, site(SiteState.DISARMED))) == [Level.OK]
    assert levels(services.cameras([], [], [], site())) == [Level.WARNING]


def test_the_site_its_categories_and_who_is_told() -> None:
    assert levels(services.site_state(site())) == [Level.OK]
    assert levels(services.site_state(None)) == [Level.PROBLEM]
    assert levels(services.site_state(site(SiteState.SHADOW))) == [Level.WARNING]
    assert levels(services.site_state(site(kind="demo"))) == [Level.WARNING]
    assert levels(services.site_state(site(cohort=""))) == [Level.OK, Level.WARNING]
    assert levels(services.site_state(site(problem="no threshold"))) == [Level.OK, Level.PROBLEM]
    assert levels(services.telling([answer("notify")], site())) == [Level.PROBLEM]
    assert levels(services.telling([answer("notify")], site(SiteState.DISARMED))) == [Level.WARNING]
    contact = {"person": "gate", "to": "g…@x", "pending": 0, "last_error": ""}
    for change, level in (({}, Level.OK), ({"pending": 2}, Level.WARNING), ({"last_error": "refused"}, Level.PROBLEM)):
        detail = {"recipients": {"email-1": {**contact, **change}}}
        assert levels(services.telling([answer("notify", detail=detail)], site())) == [level]
    assert services.reviewers([]).level is Level.WARNING
    assert services.reviewers([{"id": "u"}]).level is Level.OK
