"""Every alert rule fires when it should, stays silent when it should, and has its runbook; promtool is the judge."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.promql import known
from tests.deploy.rule_cases import CASES, Case

from aegis.cli.main import parser

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
INCIDENTS = "docs/guides/incidents.md"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*words: str) -> None:
    """Run it, and fail with what it says if it objects."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def judged(case: Case) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{case.alert}"}}', "value": case.fires}] if case.fires else []
    return {
        "name": f"{case.alert} {case.why}",
        "interval": f"{case.step}m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})',
                "eval_time": f"{case.at}m",
                "exp_samples": samples,
            }
        ],
    }


def judge(alert: str, tests: list[dict[str, Any]], step: int, folder: Path) -> None:
    """Let promtool run these tests of one alert, evaluated each ``step`` minutes."""
    # In one group, so that what is recorded is there at the same moment; without the others, to be quick.
    shown = [rule for rule in rules() if rule.get("alert", alert) == alert]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": shown}]}))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{step}m", "tests": tests}
    (folder / "test.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(folder / "test.yaml"))


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_a_rule_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == alert]
    assert {bool(case.fires) for case in cases} == {True, False}, "one case of each, at least"
    for step in {case.step for case in cases}:
        tests = [judged(case) for case in cases if case.step == step]
        judge(alert, tests, step, tmp_path)


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_there_are_no_cases_of_other_rules() -> None:
    assert {case.alert for case in CASES} == set(ALERTS)


def test_what_a_person_is_told_is_filled_in(tmp_path: Path) -> None:
    annotations = {
        "summary": "90% of the bus's disk is used",
        "description": ALERTS["BusDiskFull"]["annotations"]["description"],
        "runbook_url": ALERTS["BusDiskFull"]["annotations"]["runbook_url"],
    }
    labels = {"severity": "critical", "namespace": "school", "persistentvolumeclaim": "data-nats-0"}
    case = next(case for case in CASES if case.alert == "BusDiskFull" and case.fires)
    test = judged(case)
    del test["promql_expr_test"]
    test["alert_rule_test"] = [
        {
            "eval_time": "30m",
            "alertname": "BusDiskFull",
            "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
        }
    ]
    judge("BusDiskFull", [test], 1, tmp_path)


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_a_rule_says_how_bad_it_is_what_it_means_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{INCIDENTS}#{alert.lower()}"
    assert re.fullmatch(r"\d+[mh]", rule["for"])


def test_every_rule_has_its_runbook_and_there_is_none_else() -> None:
    text = (ROOT / INCIDENTS).read_text()
    assert sorted(re.findall(r"^### (.+)$", text, re.MULTILINE)) == sorted(ALERTS)
    for runbook in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        for part in ("**Means.**", "**Check.**", "**Do.**", "**Over**"):
            assert part in runbook, (runbook.splitlines()[0], part)


def test_every_command_of_ours_that_a_runbook_names_exists() -> None:
    text = (ROOT / INCIDENTS).read_text()
    named = re.findall(r"`(aegis (?!up`)[^`]+)`", text)
    assert len(named) > 10
    for line in named:
        if line != "aegis cluster init":
            parser().parse_args(shlex.split(line)[1:])


def test_every_metric_that_a_runbook_names_exists() -> None:
    text = (ROOT / INCIDENTS).read_text()
    for name in re.findall(r"`(aegis_\w+|gnatsd_\w+)", text):
        assert name in known()
