"""From a drill to a human's answer, with the commands that people use: test, drill, ack, explain, status, check."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from tests.bus import until
from tests.e2e.system import SITE, System, prepared, running
from tests.peers.mail_server import MailServer

from aegis.runtime.bus_server import free_port

GATE, HEAD, POLICE = "gate@north.example", "head@north.example", "desk@police.example"


def site(port: int, sms_port: int) -> str:
    notify = {
        "email": {"smtp": f"smtp+insecure://127.0.0.1:{port}", "from": "aegis@north.example"},
        "sms": {
            "provider": "twilio", "account": "AC1", "token": "t", "from": "Aegis",
            "url": f"http+insecure://127.0.0.1:{sms_port}",
        },
        "people": {
            "gate": {"email": GATE},
            "head": {"email": HEAD, "sms": "+15551230001"},
            "police": {"email": POLICE, "outside": True},
        },
        "rules": [
            {
                "name": "all",
                "steps": [{"tell": ["gate"], "wait": 5}, {"tell": ["head"], "wait": 60}],
                "outside": {"tell": ["police"]},
            }
        ],
    }  # fmt: skip
    return SITE + yaml.safe_dump({"notify": notify})


async def told(mails: MailServer, to: str, *words: str) -> None:
    """Wait for a mail whose subject has these words."""
    await until(
        lambda: any(all(word in str(mail["Subject"]) for word in words) for mail in mails.of(to)),
        f"{to} gets a mail with {words}",
        20.0,
    )


async def test_a_drill_is_timed_until_somebody_answers_and_everything_is_explained(tmp_path: Path) -> None:
    mails = MailServer()
    await mails.start()
    async with running(tmp_path, site(mails.port, free_port())) as system:
        said = await system.command("notify", "test", "gate")
        assert re.search(r"email to g…@north.example: sent after \d\.\d s", said)
        await told(mails, GATE, "[TEST]", "Test site")
        refused = await system.command("notify", "test", "head", "--via", "fax", code=1)
        assert "'head' has no fax" in refused
        key = tmp_path / "ann.nk"
        await system.command("user", "add", "Ann Lee", "--out", key)
        drill = asyncio.create_task(system.command("drill", "--wait", 60))
        await told(mails, HEAD, "[DRILL]", "Nobody")
        [reference] = {str(mail["Subject"]) and _reference(mail) for mail in mails.of(HEAD)}
        waiting = await system.command("notify", "explain", reference)
        assert re.search(r"head +sms +\+1…01 +2 +not handed over since .*cannot be reached", waiting), waiting
        assert re.search(r"police .*not told: outside: not told of drills", waiting), waiting
        assert "head by +1…01: 1 not told yet: " in await system.command("status")
        await system.command("alerts", "ack", reference, "--as", key)
        said = await drill
        assert f"DRILL {reference} raised" in said
        assert re.search(r"acknowledged by Ann Lee \d+\.\d s after it was raised", said)
        await system.command("alerts", "dismiss", reference, "--as", key, "--reason", "end of the drill")
        for to in (GATE, HEAD):
            await told(mails, to, "[DRILL]", "CORRECTION", reference)
        explained = await system.command("notify", "explain", reference)
        assert explained.startswith(f"DRILL {reference}: raised ")
        assert re.search(r"gate +email +g…@north.example +1 +sent \d\d:\d\d:\d\d\n", explained), explained
        assert "correction: sent" in explained
        assert "withdrawn" in explained
        assert not mails.of(POLICE)
    await mails.stop()


def _reference(mail: object) -> str:
    found = re.search(r"Reference: +(\S+)", str(mail))
    assert found
    return found[1]


async def test_a_site_file_is_checked_without_starting_anything(tmp_path: Path) -> None:
    system: System = prepared(tmp_path, SITE)
    assert "can be used" in await system.command("check", tmp_path / "site.yaml")
    (tmp_path / "site.yaml").write_text(SITE + "notify: {people: {ann: {fax: 1}}}\n")
    refused = await system.command("check", tmp_path / "site.yaml", code=2)
    assert "site.yaml:2: 'fax' is not known here" in refused
    with pytest.raises(FileNotFoundError):
        _ = system.output
