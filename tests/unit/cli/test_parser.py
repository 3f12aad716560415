"""The words that a person types."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.cli.main import main, parser


def commands(of: argparse.ArgumentParser, path: str = "aegis") -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Give every command below a parser, with its parser and its help."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield f"{path} {name}", sub, helps.get(name, "")
                yield from commands(sub, f"{path} {name}")


COMMANDS = list(commands(parser()))


def test_every_command_and_every_option_is_explained() -> None:
    names = [name for name, _, _ in COMMANDS]
    assert {"aegis up", "aegis camera add", "aegis watchlist remove", "aegis alerts follow", "aegis arm"} <= set(names)
    for name, sub, text in COMMANDS:
        assert text, f"{name} has no help"
        for action in sub._actions:
            obvious = not action.option_strings and action.metavar in ("NAME", "ID")
            assert action.help or obvious or isinstance(action, argparse._SubParsersAction), f"{name} {action.dest}"


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split()[1:], "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: aegis")


@pytest.mark.parametrize("name", [name for name, sub, _ in COMMANDS if "--help" and not sub._subparsers])
def test_every_command_takes_a_state_directory_and_a_key(name: str) -> None:
    (sub,) = [sub for one, sub, _ in COMMANDS if one == name]
    options = {option for action in sub._actions for option in action.option_strings}
    assert {"--state", "--as"} <= options


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["camera"],
        ["camera", "add", "gate"],
        ["camera", "add", "gate", "usb:0", "--fps", "many"],
        ["camera", "add", "gate", "rtsp://x", "--transport", "pigeon"],
        ["watchlist", "add", "Ada", "--category", "barred"],
        ["up"],
    ],
)
def test_what_is_asked_wrongly_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: aegis")


@pytest.mark.parametrize("words", [["status"], ["camera", "list"], ["arm"], ["alerts", "list", "--json"]])
def test_without_a_system_every_command_says_so(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AEGIS_BUS_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--state", str(tmp_path)])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err.startswith("aegis: no system runs with the state directory")
    assert said.out == ""
