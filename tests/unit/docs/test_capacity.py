"""The plans that the guide shows are those that the command gives."""

import re
import shlex

import pytest
from tests.unit.docs.pages import page

from aegis.cli import plan
from aegis.cli.main import parser

SHOWN = re.findall(r"```text\n\$ aegis (plan [^\n]*)\n(.*?)```", page("docs/guides/capacity.md"), re.DOTALL)


def test_the_guide_shows_some() -> None:
    assert len(SHOWN) >= 2


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_plan_is_what_the_command_gives(command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan.show(parser().parse_args(shlex.split(command)))
    told = capsys.readouterr().out.splitlines()
    lines = shown.splitlines()
    # The second one is shown without its formula, which is the same.
    assert [line.rstrip() for line in told[: len(lines)]] == lines
