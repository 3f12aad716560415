"""``aegis user`` and ``aegis alerts ack | confirm | dismiss | show``, asked of a real registry."""

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.integration.match.world import Process, joined
from tests.integration.registry import desk as at_the_desk
from tests.integration.registry.desk import Desk
from tests.unit.cli.test_events import SIGHTING

from aegis.cli.main import main
from aegis.contracts import alerts, cloudevents, subjects

POLICY = at_the_desk.POLICY


@pytest.fixture
async def desk(process: Process) -> AsyncIterator[Desk]:
    async with joined(process, Desk) as desk:
        yield desk


class Terminal:
    """Commands as they are typed, with the operator's key in the environment as a state directory would give it."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._directory = directory
        self._capsys = capsys

    async def type(self, *words: str) -> tuple[int, str, str]:
        def run() -> int:
            try:
                main([*words, "--state", str(self._directory)])
            except SystemExit as ended:
                return int(ended.code or 0)
            raise AssertionError

        code = await asyncio.to_thread(run)
        said = self._capsys.readouterr()
        return code, said.out, said.err

    async def done(self, *words: str) -> str:
        code, out, err = await self.type(*words)
        assert (code, err) == (0, "")
        return out

    async def refused(self, *words: str, code: int = 1) -> str:
        found, out, err = await self.type(*words)
        assert (found, out) == (code, "")
        return err

    async def user(self, name: str) -> Path:
        key = self._directory / f"{name}.nk"
        await self.done("user", "add", name, "--out", str(key))
        return key


@pytest.fixture
def terminal(
    process: Process, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    files = process.server.files
    for name, value in {"URL": files.url, "CA": str(files.ca)}.items():
        monkeypatch.setenv(f"AEGIS_BUS_{name}", value)
    monkeypatch.setenv("AEGIS_KEY_FILE", str(files.key("operator")))
    monkeypatch.chdir(tmp_path)
    return Terminal(tmp_path, capsys)


def fields(line: str) -> Sequence[str]:
    return re.split(r"  +", line.strip())


async def test_a_user_is_made_with_a_key_that_nobody_else_can_read(
    desk: Desk, terminal: Terminal, tmp_path: Path
) -> None:
    said = await terminal.done("user", "add", "Ann O'Hara")
    key = tmp_path / "ann-o-hara.nk"
    assert str(key.name) in said
    assert "keeps it like a key" in said
    assert key.stat().st_mode & 0o777 == 0o600
    listed: list[dict[str, Any]] = json.loads(await terminal.done("user", "list", "--json"))
    (ann,) = [user for user in listed if user["name"] == "Ann O'Hara"]
    assert ann["public_key"].startswith("U")
    assert key.read_text().strip() not in said
    rows = [fields(line) for line in (await terminal.done("user", "list")).splitlines()]
    assert rows[0] == ["id", "name", "public_key"]
    assert [ann["id"], "Ann O'Hara", ann["public_key"]] in rows
    assert "is there already; name another file with --out" in await terminal.refused("user", "add", "Ann O'Hara")
    assert "may not review alerts any more" in await terminal.done("user", "remove", ann["id"])
    assert "there is no user" in await terminal.refused("user", "remove", ann["id"])
    assert ann["id"] not in await terminal.done("user", "list")


async def test_of_a_user_who_is_refused_no_key_stays(desk: Desk, terminal: Terminal, tmp_path: Path) -> None:
    await terminal.user("Bea")
    other = tmp_path / "other.nk"
    assert "there is a user 'Bea' already" in await terminal.refused("user", "add", "bea", "--out", str(other))
    assert not other.exists()
    nowhere = tmp_path / "none" / "a.nk"
    assert "No such file" in await terminal.refused("user", "add", "Cleo", "--out", str(nowhere))


async def test_an_alert_is_acknowledged_confirmed_by_two_dismissed_and_shown(desk: Desk, terminal: Terminal) -> None:
    dan, eli = await terminal.user("Dan"), await terminal.user("Eli")
    alert = await desk.alert("armed")
    name = alert.reference.lower()
    said = await terminal.done("alerts", "ack", name, "--as", str(eli))
    assert said == f"{alert.reference} acknowledged by Eli\n"
    said = await terminal.done("--as", str(dan), "alerts", "confirm", name)
    assert said == f"{alert.reference}: Dan's confirmation is kept; it is told once another person has confirmed too\n"
    hidden = await terminal.done("alerts", "show", name, "--as", str(eli))
    assert "Dan acknowledged" not in hidden
    assert "acknowledged by Dan" in hidden
    assert "confirmed by" not in hidden
    assert "is shown to those who have given a view" in hidden
    assert "Dan confirmed at" in await terminal.done("alerts", "show", name, "--as", str(dan))
    said = await terminal.done("alerts", "confirm", name, "--as", str(eli))
    assert said == f"{alert.reference} confirmed by Eli; it is now confirmed twice\n"
    said = await terminal.done("alerts", "dismiss", name, "--as", str(dan), "--reason", " a  twin ")
    assert said == f"{alert.reference} dismissed by Dan\n"
    said = await terminal.done("alerts", "confirm", name, "--as", str(dan))
    assert said == f"{alert.reference}: Dan has confirmed it before, and that stands; it is dismissed\n"
    shown = (await terminal.done("alerts", "show", name)).splitlines()
    assert shown[0] == (f"{alert.reference} is dismissed: somebody resembles A Person (armed, high) at Lobby")
    assert [line.partition(" ")[2] for line in shown[2:7]] == [
        "acknowledged by Eli",
        "acknowledged by Dan",
        "confirmed by Dan",
        "confirmed by Eli, the second person",
        "dismissed by Dan: a twin",
    ]
    plain = json.loads(await terminal.done("alerts", "show", name, "--json"))
    assert (plain["state"], plain["needed"], len(plain["history"]), len(plain["views"])) == ("dismissed", 2, 5, 3)
    gus = await terminal.user("Gus")
    assert "it was dismissed already" in await terminal.refused("alerts", "confirm", name, "--as", str(gus))
    listed = await terminal.done("alerts", "list")
    assert f"{alert.reference} confirmed by Eli, the second person" in listed
    assert f"{alert.reference} dismissed by Dan: a twin" in listed


async def test_a_reference_of_shadow_is_said_to_be_that(
    desk: Desk, terminal: Terminal, process: Process, tmp_path: Path
) -> None:
    ida = await terminal.user("Ida Lund")
    seen = dataclasses.replace(SIGHTING, reference="VKB-5T9")
    event = alerts.event(alerts.WOULD_RAISE, "id1", seen)
    async with process.server.connect("match") as bus:
        await bus.store(subjects.shadow("s", "barred", "e"), cloudevents.dump(event), message_id=event.id)
    said = "VKB-5T9 is of shadow: nobody was alerted, there is nothing to review, and no picture is kept"
    for words in (
        ("alerts", "show", "vkb-5t9"),
        ("alerts", "dismiss", "VKB-5T9", "--as", str(ida), "--reason", "no"),
        ("alerts", "picture", "VKB-5T9", "--out", str(tmp_path)),
    ):
        assert said in await terminal.refused(*words)


async def test_what_is_wrong_is_named(desk: Desk, terminal: Terminal, tmp_path: Path) -> None:
    fay = await terminal.user("Fay")
    alert = await desk.alert()

    async def ack(*words: str, code: int = 1) -> str:
        return await terminal.refused("alerts", "ack", *words, code=code)

    assert "there is no alert K2K-K2K; see: aegis alerts list" in await ack("K2K-K2K", "--as", str(fay))
    assert "alerts ack needs --as KEYFILE: your own key" in await ack(alert.reference, code=2)
    assert "none.nk: No such file" in await ack(alert.reference, "--as", "none.nk")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "photo.jpg").chmod(0o600)
    assert "photo.jpg is no person's key file" in await ack(alert.reference, "--as", "photo.jpg")
    operator = desk.process.server.files.key("operator")
    assert "no user has the key 'U" in await ack(alert.reference, "--as", str(operator))
    fay.chmod(0o644)
    assert "can be read by others; run: chmod 600" in await ack(alert.reference, "--as", str(fay))
    assert "--reason" in await terminal.refused("alerts", "dismiss", alert.reference, code=2)
    fay.chmod(0o600)
    blank = "alerts", "dismiss", alert.reference, "--as", str(fay), "--reason", " "
    assert "a dismissal needs a reason" in await terminal.refused(*blank)
    assert await desk.told(alert) == []
