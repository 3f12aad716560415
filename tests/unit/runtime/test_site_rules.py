"""The rules of the site file's section notify: a rule that cannot do what it says is refused."""

from pathlib import Path

import pytest
from tests.unit.runtime.site_files import PEOPLE, SITE, parse, problems

OK = "steps: [{tell: [gate]}]"


@pytest.mark.parametrize(
    ("rule", "offender"),
    [
        (f"{{{OK}}}", "name is missing"),
        ("{name: a}", "steps is a list with at least one step"),
        ("{name: a, steps: []}", "steps is a list with at least one step"),
        ("{name: a, steps: [{wait: 5}]}", "tell is missing"),
        ("{name: a, steps: [{tell: gate}]}", "tell is a list with at least one text"),
        ("{name: a, steps: [{tell: [nobody]}]}", "tell: 'nobody' is not one of gate, police"),
        ("{name: a, steps: [{tell: [police]}]}", "tell: 'police' is outside; only the site's are told here"),
        ("{name: a, steps: [{tell: [gate], via: [fax]}]}", "via: 'fax' is not one of email, sms, webhook, other"),
        ("{name: a, steps: [{tell: [gate], via: [sms]}]}", "tell: 'gate' has none of sms"),
        ("{name: a, steps: [{tell: everyone, via: [sms]}]}", "tell: nobody of the site has sms"),
        ("{name: a, steps: [{tell: [gate], wait: 4}]}", "wait: a number from 5 to 3600 is expected"),
        ("{name: a, steps: [{tell: [gate], wait: 3601}]}", "wait: a number from 5 to 3600 is expected"),
        ("{name: a, steps: [{tell: [gate], hours: x}]}", "'hours' is not known here"),
        (f"{{name: a, {OK}, outside: {{}}}}", "tell is missing"),
        (f"{{name: a, {OK}, outside: {{tell: everyone}}}}", "tell is a list with at least one text"),
        (
            f"{{name: a, {OK}, outside: {{tell: [gate]}}}}",
            "tell: 'gate' is of the site; only people with outside: true",
        ),
        (f"{{name: a, {OK}, outside: {{tell: [police], confirmations: 3}}}}", "confirmations: a number from 1 to 2"),
        (f"{{name: a, {OK}, outside: {{tell: [police], confirmations: 1.5}}}}", "confirmations: a whole number is"),
        (f"{{name: a, {OK}, when: {{categories: [other]}}}}", "categories: 'other' is not one of barred, order"),
        (
            f"{{name: a, {OK}, when: {{cameras: [roof]}}}}",
            "cameras: 'roof' is not one of north-gate, south-gate, lobby",
        ),
        (f"{{name: a, {OK}, when: {{severity: dire}}}}", "severity: 'dire' is not one of low"),
        (f"{{name: a, {OK}, when: {{days: [monday]}}}}", "days: 'monday' is not one of mon, tue"),
        (f"{{name: a, {OK}, when: {{hours: 25:00-26:00}}}}", "hours: '25:00-26:00' is not HH:MM-HH:MM"),
        (f"{{name: a, {OK}, when: {{hours: 10:00-10:00}}}}", "hours: '10:00-10:00' is not HH:MM-HH:MM"),
        (f"{{name: a, {OK}, when: night}}", "when is a map"),
        (
            f"{{name: a, {OK}, when: {{categories: [barred], severity: critical}}}}",
            "rule 'a' never matches: none of its categories is as severe as critical",
        ),
    ],
)
def test_a_mistake_in_a_rule_is_told_with_its_line(tmp_path: Path, rule: str, offender: str) -> None:
    (problem,) = problems(tmp_path, f"{SITE}{PEOPLE}  rules:\n    - {rule}\n")
    assert problem.startswith(":11: "), problem
    assert offender in problem


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ("{}", "{}", True),
        ("{}", "{categories: [barred], days: [mon], hours: 01:00-02:00}", True),
        ("{categories: [barred, order]}", "{categories: [order], cameras: [lobby]}", True),
        ("{categories: [order]}", "{categories: [barred, order]}", False),
        ("{categories: [order]}", "{}", False),
        ("{cameras: [gates]}", "{cameras: [north-gate]}", True),
        ("{cameras: [north-gate]}", "{cameras: [gates]}", False),
        ("{severity: high}", "{severity: critical}", True),
        ("{severity: critical}", "{severity: high}", False),
        ("{days: [mon, tue], hours: 20:00-06:00}", "{days: [tue], hours: 20:00-06:00}", True),
        ("{days: [mon], hours: 20:00-06:00}", "{hours: 20:00-06:00}", False),
        ("{days: [mon]}", "{days: [mon], hours: 20:00-06:00}", False),
        ("{hours: 20:00-06:00}", "{hours: 21:00-23:00}", False),
    ],
)
def test_a_rule_behind_one_that_matches_all_of_it_is_refused(
    tmp_path: Path, first: str, second: str, *, hidden: bool
) -> None:
    groups = "  camera_groups: {gates: [north-gate, south-gate]}\n"
    rules = f"  rules:\n    - {{name: a, when: {first}, {OK}}}\n    - {{name: b, when: {second}, {OK}}}\n"
    text = SITE + PEOPLE + groups + rules
    if hidden:
        assert problems(tmp_path, text) == [":13: rule 'b' never matches: 'a' before it matches all of it"]
    else:
        parse(tmp_path, text).check()


def test_two_rules_have_two_names(tmp_path: Path) -> None:
    rules = f"  rules:\n    - {{name: a, when: {{days: [mon]}}, {OK}}}\n    - {{name: a, {OK}}}\n"
    assert problems(tmp_path, SITE + PEOPLE + rules) == [":12: rule 'a' stands twice"]
