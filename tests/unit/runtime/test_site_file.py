"""The site file: what it says is taken over, and every mistake is told with its line and its offender."""

import json
from pathlib import Path

import pytest

from aegis.contracts.messages import AddCamera, Category, Severity, SiteRecord, SiteState
from aegis.runtime import certificates, site_file
from aegis.runtime.site_categories import Calibration
from aegis.runtime.site_file import SiteFileError, WhipConfig
from aegis.runtime.site_notify import EmailConfig, NotifyConfig, WebhookConfig
from aegis.vision.calibration import FairnessRow

EXAMPLE = """\
site: {id: north-high, name: North High, kind: k12-school, jurisdiction: US-PA, state: armed}   # kind demo: a drill
cameras:
  - {id: lobby, url: "rtsp://user:${LOBBY_PASSWORD}@10.0.0.7/stream2", fps: 5}
  - {id: gate, url: "file:clips/again.mkv", loop: true}
categories:
  barred: {severity: high, threshold: 0.5}
notify:
  email: {smtp: "smtps://...", to: [security@example.org]}
  webhooks: [{url: "https://hooks.example.org/x", secret_env: HOOK_SECRET}]
"""
ENVIRON = {"LOBBY_PASSWORD": "pass-of-the-lobby", "HOOK_SECRET": "secret-of-the-hook"}
SITE = "site: {id: north, kind: venue}\n"
CATEGORY = SITE + "categories:\n  barred: "


def write_report(folder: Path, *rows: dict[str, object]) -> None:
    report = {"method": {"Template version": "sface-2021dec.1"}, "figures": {"fairness": rows}}
    (folder / "report.json").write_text(json.dumps(report))


def parse(folder: Path, text: str, environ: dict[str, str] | None = None) -> site_file.SiteFile:
    path = folder / "site.yaml"
    path.write_text(text)
    return site_file.read(path, ENVIRON if environ is None else environ)


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SiteFileError) as error:
        parse(folder, text, environ).check()
    assert str(folder / "site.yaml") in str(error.value)
    return error.value.problems


def test_the_example_is_read(tmp_path: Path) -> None:
    site = parse(tmp_path, EXAMPLE)
    site.check()
    assert site.site() == SiteRecord(
        id="north-high",
        name="North High",
        kind="k12-school",
        jurisdiction="US-PA",
        state=SiteState.ARMED,
        categories={"barred": Category(severity=Severity.HIGH, threshold=0.5)},
    )
    assert not site.site().drill
    assert site.cameras() == (
        AddCamera(camera="lobby", url="rtsp://user:pass-of-the-lobby@10.0.0.7/stream2", name="lobby", fps=5.0),
        AddCamera(camera="gate", url=f"file:{tmp_path}/clips/again.mkv", name="gate", loop=True),
    )
    assert site.notify() == NotifyConfig(
        email=EmailConfig(
            smtp="smtps://...", to=("security@example.org",), sender="aegis@localhost", pictures=False, ca=None
        ),
        webhooks=(WebhookConfig(url="https://hooks.example.org/x", secret="secret-of-the-hook"),),
    )
    assert site.whip() == WhipConfig()


def test_the_bus_listens_for_mqtt_only_where_it_is_told_to(tmp_path: Path) -> None:
    assert parse(tmp_path, SITE).mqtt() is None
    assert parse(tmp_path, SITE + "mqtt: {listen: '10.0.0.5:8883'}").mqtt() == ("10.0.0.5", 8883)


def test_what_is_left_out_takes_the_careful_default(tmp_path: Path) -> None:
    site = parse(tmp_path, SITE)
    site.check()
    assert site.site().state is SiteState.DISARMED
    assert site.site().categories == {"barred": Category()}
    assert site.cameras() == ()
    assert site.notify() == NotifyConfig()


def test_a_demonstration_is_a_drill_armed_and_mails_pictures(tmp_path: Path) -> None:
    site = parse(tmp_path, "site: {id: demo, kind: demo}\nnotify: {email: {smtp: 'smtp://x', to: [a@b]}}\n")
    assert site.site().drill
    assert site.site().state is SiteState.ARMED
    email = site.notify().email
    assert email is not None
    assert email.pictures


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    text = EXAMPLE.replace("smtps://...", "smtps://me:${LOBBY_PASSWORD}@mail.example.org")
    text = text.replace("loop: true}", "loop: true, token: '${HOOK_SECRET}'}")
    site = parse(tmp_path, text)
    site.check()
    assert site.cameras()[1].token == "secret-of-the-hook"
    shown = repr((site.site(), site.cameras(), site.notify(), site))
    assert "north-high" in shown
    assert not [secret for secret in ENVIRON.values() if secret in shown]


@pytest.mark.parametrize(
    ("text", "line", "offender"),
    [
        ("site: {id: north, kind: k12-school, jurisdiction: US-NY}", 1, "New York's K-12 schools may not use facial"),
        ("site: {id: North High, kind: venue}", 1, "site 'North High' is not 1 to 64"),
        ("site: {kind: venue}", 1, "id is missing"),
        ("site: {id: north}", 1, "kind is missing"),
        ("site:\n  id: north\n  kind: castle", 3, "kind: 'castle' is not one of demo, k12-school"),
        ("site:\n  id: north\n  kind: venue\n  state: shut", 4, "state: 'shut' is not one of disarmed, shadow, armed"),
        ("site:\n  id: north\n  kind: venue\n  colour: red", 4, "'colour' is not known here"),
        ("site:\n  id: north\n  kind: venue\n  name: no", 4, "name: a text is expected"),
        ("site:\n  id: north\n  kind: venue\n  name: 2026-13-45", 4, "name: a text is expected"),
        ("site:\n  id: north\n  kind: venue\n  name: !thing x", 4, "name: a text is expected"),
        ("site:\n  id: north\n  kind: venue\n  id: south", 4, "'id' stands twice"),
        (SITE + "camera: []", 2, "'camera' is not known here; known are site, cameras"),
        (SITE + "site: {id: south, kind: venue}", 2, "'site' stands twice"),
        (SITE + "cameras: {id: a}", 2, "cameras is a list of maps"),
        (SITE + "cameras:\n- {id: a, url: 'rtsp://x'}\n- {id: a, url: 'rtsp://y'}", 4, "camera 'a' stands twice"),
        (SITE + "cameras:\n- {id: a}", 3, "url is missing"),
        (SITE + "cameras:\n- {id: a.b, url: 'rtsp://x'}", 3, "camera 'a.b' is not 1 to 64"),
        (SITE + "cameras:\n- {id: a, url: 'http://x'}", 3, "camera 'a': an address begins with one of file:"),
        (SITE + "cameras:\n- {id: a, url: 'rtsp://'}", 3, "camera 'a': rtsp:// is followed by a host"),
        (SITE + "cameras:\n- {id: a, url: 'file:'}", 3, "camera 'a': file: is followed by a path"),
        (SITE + "cameras:\n- {id: a, url: 'usb:'}", 3, "camera 'a': usb: is followed by a device"),
        (SITE + "cameras:\n- {id: a, url: 'whip:'}", 3, "camera 'a': a whip camera needs token"),
        (SITE + "cameras:\n- id: a\n  url: rtsp://x\n  fps: 31", 5, "fps: a number from 0.1 to 30 is expected"),
        (SITE + "cameras:\n- id: a\n  url: rtsp://x\n  fps: fast", 5, "fps: a number from 0.1 to 30 is expected"),
        (SITE + "cameras:\n- id: a\n  url: rtsp://x\n  fps: .nan", 5, "fps: a number from 0.1 to 30 is expected"),
        (SITE + "cameras:\n- id: a\n  url: rtsp://x\n  loop: 1", 5, "loop: true or false is expected, not 1"),
        (SITE + "cameras:\n- id: a\n  url: rtsp://${NONE}@x", 4, "the environment variable NONE is not set"),
        (SITE + "categories:\n  Barred: {}", 3, "category 'Barred' is not 1 to 64"),
        (SITE + "categories:\n  barred: {severity: dire}", 3, "severity: 'dire' is not one of low, medium"),
        (SITE + "categories:\n  barred: {threshold: 0.1}", 3, "threshold: a number from 0.2 to 1 is expected"),
        (SITE + "categories:\n  barred: high", 3, "barred is a map"),
        (SITE + "notify:\n  email: {smtp: 'http://x', to: [a@b]}", 3, "smtp: expected smtps://"),
        (SITE + "notify:\n  email: {smtp: 'smtp://x', to: [ab]}", 3, "to: 'ab' is no mail address"),
        (SITE + "notify:\n  email: {smtp: 'smtp://x', to: [{a: b@c}]}", 3, "to is a list with at least one text"),
        (SITE + "notify:\n  email: {smtp: 'smtp://x', to: a@b}", 3, "to is a list with at least one text"),
        (SITE + "notify:\n  webhooks: [{url: 'ftp://x', secret_env: HOOK_SECRET}]", 3, "url: expected https://"),
        (SITE + "notify:\n  webhooks: [{url: 'https://x', secret_env: NONE}]", 3, "variable NONE is not set"),
        (SITE + "notify:\n  webhooks: [{url: 'https://x'}]", 3, "secret_env is missing"),
        (SITE + "notify:\n  phone: {}", 3, "'phone' is not known here"),
        (CATEGORY + "{threshold: 0.5, false_alerts_per_week: 1}", 3, "either threshold or false_alerts_per_week"),
        (CATEGORY + "{false_alerts_per_week: 0}", 3, "false_alerts_per_week: a number from 0.001 to 10000"),
        (SITE + "calibration: {visits_per_week: 0}", 2, "visits_per_week: a number from 1 to"),
        (SITE + "calibration: {worst_group: 3}", 2, "worst_group: give the evaluation"),
        (SITE + "calibration:\n  evaluation: none.json", 3, "evaluation: none.json cannot be read: No such file"),
        (SITE + "calibration:\n  evaluation: site.yaml", 3, "evaluation: site.yaml is no report"),
        (SITE + "calibration: 5", 2, "calibration is a map"),
        (SITE + "whip: {listen: 8480}", 2, "listen: expected HOST:PORT"),
        (SITE + "whip: {listen: 'x:70000'}", 2, "listen: expected HOST:PORT"),
        (SITE + "mqtt: {listen: 8883}", 2, "listen: expected HOST:PORT"),
        (SITE + "mqtt: {listen: 'panel:8883'}", 2, "listen: 'panel' is no IP address"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, offender: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f":{line}: "), problem
    assert offender in problem


@pytest.mark.parametrize(("text", "offender"), [("cameras: []", "site is missing"), ("site: here", "site is a map")])
def test_without_a_site_there_is_nothing(tmp_path: Path, text: str, offender: str) -> None:
    assert f":1: {offender}" in problems(tmp_path, text)


def test_all_mistakes_are_told_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "site: {id: NORTH, kind: venue}\n" + "\n" * 10 + "cameras:\n- {id: a}\nwrong: 1\n"
    assert [int(problem.split(":")[1]) for problem in problems(tmp_path, text)] == [1, 13, 14]


def test_a_section_tells_its_mistakes_when_it_is_asked_for(tmp_path: Path) -> None:
    site = parse(tmp_path, SITE + "cameras: 3")
    assert site.site().id == "north"
    with pytest.raises(SiteFileError, match=":2: cameras is a list of maps"):
        site.cameras()


@pytest.mark.parametrize(
    ("text", "line", "offender"),
    [
        ("", 1, "a map with site"),
        ("- a\n- b", 1, "a map with site"),
        ("site: {id: a", 1, "not YAML"),
        ("site:\n\tid: a", 2, "not YAML"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
    ],
)
def test_what_is_no_map_is_told(tmp_path: Path, text: str, line: int, offender: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f":{line}: ")
    assert offender in problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SiteFileError, match=r"none\.yaml: No such file"):
        site_file.read(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    "url",
    ["rtsp://user:hidden[pass]word@10.0.0.7/", "rtsp://user:hidden℀word@h/", "rtsp://[hidden", "http://u:hidden@h/"],
)
def test_no_mistake_shows_a_password(tmp_path: Path, url: str) -> None:
    text = SITE + "cameras:\n- {id: a, url: '${URL}'}\nnotify:\n  email: {smtp: '${URL}', to: [a@b]}\n"
    text += "  webhooks: [{url: 'x${URL}', secret_env: HOOK_SECRET}]\n"
    told = problems(tmp_path, text, {**ENVIRON, "URL": url})
    assert len(told) == 3
    assert "hidden" not in "".join(told)


def test_a_category_has_a_threshold_or_what_is_accepted(tmp_path: Path) -> None:
    text = (
        SITE + "categories: {fixed: {threshold: 0.45}, derived: {false_alerts_per_week: 2}, neither: {severity: low}}"
    )
    assert parse(tmp_path, text).site().categories == {
        "fixed": Category(threshold=0.45),
        "derived": Category(threshold=0.5, accepted=2.0),
        "neither": Category(severity=Severity.LOW),
    }


def test_calibration_has_defaults_and_reads_an_evaluation_of_groups(tmp_path: Path) -> None:
    assert parse(tmp_path, SITE).calibration() == Calibration(visits_per_week=5000, worst_group=None, fairness=())
    row = {"threshold": 0.4, "worst_over_mean": 3, "supported": True, "group": "x"}
    write_report(tmp_path, row, {**row, "threshold": 0.6, "supported": False})
    text = SITE + "calibration: {visits_per_week: 300, worst_group: 2.5, evaluation: report.json}"
    assert parse(tmp_path, text).calibration() == Calibration(
        visits_per_week=300, worst_group=2.5, fairness=(FairnessRow(threshold=0.4, worst_over_mean=3.0),)
    )


def test_the_certificate_of_the_mail_servers_authority_is_opened(tmp_path: Path) -> None:
    text = SITE + f"notify:\n  email:\n    smtp: smtp://x\n    to: [a@b]\n    ca: {tmp_path}/ca.pem\n"
    (problem,) = problems(tmp_path, text)
    assert problem == f":6: ca: {tmp_path}/ca.pem holds no certificate: No such file or directory"
    (tmp_path / "ca.pem").write_text("none")
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f":6: ca: {tmp_path}/ca.pem holds no certificate: ")
    parse(tmp_path, text).notify()  # as a service reads it that does not mail, and need not have the file
    (tmp_path / "ca.pem").unlink()
    certificates.issue(tmp_path, "server", ["localhost"])
    parse(tmp_path, text).check()


def test_files_of_a_cluster_are_those_that_pods_have(tmp_path: Path) -> None:
    email = "notify:\n  email: {smtp: 'smtp://x', to: [a@b], ca: %s}\n"
    text = SITE + "calibration:\n  evaluation: %s\n" + email
    certificates.issue(tmp_path, "server", ["localhost"])
    with pytest.raises(SiteFileError) as caught:
        parse(tmp_path, text % ("report.json", tmp_path / "ca.pem")).check(pods=True)
    evaluation, ca = caught.value.problems
    assert evaluation.startswith(":3: evaluation: no pod has report.json of this machine; make it a Secret")
    assert "below /etc/aegis/ in registry," in evaluation
    assert ca.startswith(f":5: ca: no pod has {tmp_path}/ca.pem of this machine")
    assert "below /etc/aegis/ in notify," in ca
    parse(tmp_path, text % ("/etc/aegis/report/report.json", "/etc/aegis/mail/ca.pem")).check(pods=True)


@pytest.mark.parametrize("row", [{}, {"threshold": "x", "worst_over_mean": 1, "supported": True}, {"supported": False}])
def test_an_evaluation_that_says_too_little_of_groups_is_refused(tmp_path: Path, row: dict[str, object]) -> None:
    write_report(tmp_path, row)
    (problem,) = problems(tmp_path, SITE + "calibration: {evaluation: report.json}")
    assert problem == ":2: evaluation: report.json says too little of groups; see: aegis evaluate --groups"


@pytest.mark.parametrize("measured", ["other.1", None])
def test_an_evaluation_of_another_embedder_is_refused(tmp_path: Path, measured: str | None) -> None:
    """How groups compare is a property of a model."""
    row = {"threshold": 0.4, "worst_over_mean": 3, "supported": True}
    method = {} if measured is None else {"method": {"Template version": measured}}
    (tmp_path / "report.json").write_text(json.dumps({**method, "figures": {"fairness": [row]}}))
    (problem,) = problems(tmp_path, SITE + "calibration:\n  evaluation: report.json")
    assert problem == (
        f":3: evaluation: report.json measured templates of {measured or 'an unknown version'}, and the site's are of"
        " sface-2021dec.1; evaluate with the site's embedder"
    )
    unknown = {"AEGIS_EMBEDDER": "unknown"}
    assert parse(tmp_path, SITE + "calibration: {evaluation: report.json}", unknown).calibration().fairness
