"""The category of the canary in the site file."""

from pathlib import Path

from tests.unit.runtime.site_files import parse, problems

from aegis.contracts.messages import Category, Severity

SITE = "site: {id: north, kind: venue}\ncategories:\n"
BARRED, CANARY = "  barred: {severity: high}\n", "  staff: {canary: true, threshold: 0.6}\n"


def test_one_category_can_be_the_canary_s_and_is_low_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert parse(tmp_path, SITE + BARRED + CANARY).site().categories == {
        "barred": Category(severity=Severity.HIGH),
        "staff": Category(severity=Severity.LOW, threshold=0.6, canary=True),
    }
    (severe,) = parse(tmp_path, f"{SITE}  staff: {{canary: true, severity: high}}\n").site().categories.values()
    assert severe.severity is Severity.HIGH


def test_a_second_one_and_what_is_no_flag_are_refused(tmp_path: Path) -> None:
    twice = f"{SITE}{CANARY}  other: {{severity: low,\n    canary: true}}\n"
    assert problems(tmp_path, twice) == [":5: canary: another category is the canary's already"]
    unclear = SITE + "  staff: {canary: perhaps}\n"
    assert problems(tmp_path, unclear) == [":3: canary: true or false is expected, not 'perhaps'"]
