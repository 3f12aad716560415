"""From a system with people, an alert and a camera to the same system on another machine."""

import asyncio
import shutil
from pathlib import Path

import yaml
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, prepared
from tests.peers.mail_server import MailServer

GATE = "gate@north.example"


def site(port: int, clip: Path) -> str:
    notify = {
        "email": {"smtp": f"smtp+insecure://127.0.0.1:{port}", "from": "aegis@north.example"},
        "people": {"gate": {"email": GATE}},
        "rules": [{"name": "all", "steps": [{"tell": ["gate"], "wait": 600}]}],
    }
    return SITE + file_cameras([clip], loop=True) + yaml.safe_dump({"notify": notify})


async def started(system: System) -> System:
    await system.start()
    await system.ready()
    return system


async def raised(system: System, name: str) -> bool:
    return name in [person for person, _ in await system.raised()]


async def test_a_system_goes_on_from_its_backup_elsewhere(people: People, tmp_path: Path) -> None:
    mails = MailServer()
    await mails.start()
    text = site(mails.port, people.clip("bird.mkv"))
    file, key = tmp_path / "backup.aegis", tmp_path / "ann.nk"
    first = prepared(tmp_path / "first", text)
    second = prepared(tmp_path / "second", text)
    try:
        await started(first)
        await first.command("user", "add", "Ann Lee", "--out", key)
        await first.enrol("Milk Man", people.photo("milk.mkv"))
        await until(lambda: raised(first, "Milk Man"), "an alert")
        await until(lambda: len(mails.of(GATE)) == 1, "a mail")
        # While frames flow and the watchlist changes.
        said, _ = await asyncio.gather(
            first.command("backup", "--out", file), first.enrol("Book Keeper", people.photo("book.mkv"))
        )
        assert "verified by restoring it: Test site (test-site), armed, as it was on" in said
        assert "Milk" not in file.read_bytes().decode("latin-1")
        listed = {entry["name"]: entry for entry in await first.json("watchlist", "list")}
        [(reference, alert)] = {(data["reference"], data["alert"]) for data in await first.alerts("raised")}
        await first.stop()

        told = await second.command("restore", file, code=2)
        assert "site key" in told
        shutil.copy(first.environ["AEGIS_SITE_KEY_FILE"], second.environ["AEGIS_SITE_KEY_FILE"])
        told = await second.command("restore", file, "--site-file", tmp_path / "from-backup.yaml")
        assert "Who was removed from the watchlist since" in told
        assert (tmp_path / "from-backup.yaml").read_text() == text
        await started(second)
        again = {entry["name"]: entry for entry in await second.json("watchlist", "list")}
        assert again["Milk Man"] == listed["Milk Man"]
        assert again.items() <= listed.items()
        assert {(data["reference"], data["alert"]) for data in await second.alerts("raised")} == {(reference, alert)}
        await second.command("alerts", "ack", reference, "--as", key)
        assert "acknowledged" in await second.command("alerts", "show", reference)
        pictures = tmp_path / "pictures"
        await second.command("alerts", "picture", reference, "--out", pictures)
        assert any(pictures.iterdir())

        # The camera works: somebody new who is in view is found, and told of; the first alert is told nobody twice.
        await second.command("watchlist", "remove", again["Milk Man"]["id"])
        await second.enrol("Somebody Else", people.photo("milk.mkv"))
        await until(lambda: raised(second, "Somebody Else"), f"another alert: {second.output}")
        await until(lambda: len(mails.of(GATE)) >= 2, "another mail")
        subjects = [str(mail["Subject"]) for mail in mails.of(GATE)]
        assert len(subjects) == 2, subjects
        assert sum("Milk Man" in subject for subject in subjects) == 1, subjects
        assert "there is something already" not in second.output
        refused = await second.command("restore", file, code=2)
        assert "a system already runs with the state directory" in refused
        await second.stop()
        assert "there is something already" in await second.command("restore", file, code=1)
    finally:
        await first.stop()
        await second.stop()
        await mails.stop()
