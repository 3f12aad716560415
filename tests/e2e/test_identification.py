"""The right people are alerted, and nobody else: real clips through the whole system."""

import json
from pathlib import Path

import pytest
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, prepared, running


async def test_everyone_on_the_list_is_alerted_once_under_the_right_name(people: People, tmp_path: Path) -> None:
    async with running(tmp_path, SITE) as system:
        for person, clips in people.of.items():
            await system.enrol(person, people.photo(clips[0]))
    others = {clip.removesuffix(".mkv"): people.clip(clip) for clips in people.of.values() for clip in clips[1:]}
    again = prepared(tmp_path, SITE + file_cameras(others))
    await again.start("--until-done")
    assert await again.wait() == 0, again.output
    raised = [line.split(": ")[1].split(" (")[0] for line in again.output.splitlines() if " ALERT " in line]
    expected = [person for person, clips in people.of.items() if len(clips) > 1]
    assert sorted(raised) == sorted(expected), again.output
    for person in expected:
        cameras = {clip.removesuffix(".mkv") for clip in people.of[person][1:]}
        line = next(line for line in again.output.splitlines() if " ALERT " in line and f": {person} (" in line)
        assert any(f" at {camera}," in line for camera in cameras), line


@pytest.mark.parametrize("others", [False, True], ids=["empty", "other people"])
async def test_a_run_with_an_empty_or_another_watchlist_alerts_nobody_and_keeps_no_face(
    people: People, test_data: Path, tmp_path: Path, others: bool
) -> None:
    if others:
        async with running(tmp_path, SITE) as system:
            for photo in sorted((test_data / "lfw").glob("A*/*0001.jpg"))[:20]:
                # Some of these photos show two people and are refused.
                await system.command(
                    "watchlist", "add", photo.parent.name, "--category", "barred", "--photo", photo, code=None
                )
            assert len(await system.json("watchlist", "list")) >= 10
    clips = [people.clip(clip) for clips in people.of.values() for clip in clips]
    system = prepared(tmp_path, SITE + file_cameras(clips))
    await system.start("--until-done")
    assert await system.wait() == 0, system.output
    assert "done: 0 alerts" in system.output
    if not others:
        assert faces_below(system.state.directory) == []


def faces_below(directory: Path) -> list[str]:
    """Search every byte for a picture, or for a message that holds a frame, a chip or a vector."""
    marks = (b"\xff\xd8\xff", b"\x89PNG", b"\xa4jpeg", b"\xa4chip", b"\xa6vector")
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [f"{path}: {mark!r}" for path in files for mark in marks if mark in path.read_bytes()]


def test_the_search_for_faces_finds_one(people: People, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(bytes(1000) + people.photo("again.mkv").read_bytes() + bytes(1000))
    assert len(faces_below(tmp_path)) == 1


async def test_an_alert_says_what_is_needed_to_judge_it(people: People, tmp_path: Path) -> None:
    clips = {"gate": people.clip("brother.mkv")}
    async with running(tmp_path, SITE) as system:
        entry = await system.enrol("person a", people.photo("again.mkv"), people.photo("help.mkv"))
        await system.command("camera", "add", "gate", f"file:{clips['gate']}", "--title", "North gate")
        event = json.loads(await first_alert(system))
        data = event["data"]
        assert event["specversion"] == "1.0"
        assert (event["type"], event["source"]) == ("aegis.alert.raised.v1", "/aegis/sites/test-site")
        assert (data["person"], data["category"], data["entry"]) == ("person a", "barred", entry)
        assert (data["camera"], data["camera_name"]) == ("gate", "North gate")
        assert data["score"] >= data["threshold"] == 0.5
        assert data["raised_at"] < data["expires_at"]
        assert (data["detector"], data["embedder"]) == ("yunet-2023mar", "sface-2021dec.1")
        assert data["drill"] is False
        assert data["watchlist_version"] >= 1


async def first_alert(system: System) -> str:
    lines: list[str] = []

    async def seen() -> bool:
        lines[:] = (await system.command("alerts", "list", "--json")).splitlines()
        return bool(lines)

    await until(seen, "an alert")
    return lines[0]
