"""From photos to a threshold that keeps to what a site accepts, and to an alert by it, with the commands alone."""

from pathlib import Path

import pytest
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, running

DERIVED = "categories: {barred: {false_alerts_per_week: 1}}\ncalibration: {visits_per_week: 500}\n"
PEOPLE = 140


@pytest.fixture(scope="module")
def photos(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with one photo of each of many people."""
    folder = tmp_path_factory.mktemp("cohort")
    for person in sorted((test_data / "lfw").iterdir())[:PEOPLE]:
        (folder / f"{person.name}.jpg").symlink_to(min(person.glob("*.jpg")))
    (folder / "notes.txt").write_text("no photo")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


async def test_a_threshold_is_derived_shown_and_alerted_by(people: People, photos: Path, tmp_path: Path) -> None:
    cameras = file_cameras([people.clip("brother.mkv")], loop=True)
    async with running(tmp_path, SITE.replace("armed", "shadow") + cameras + DERIVED) as system:
        words = await system.command("calibrate")
        assert "plain cosines, since there is no cohort" in words
        await system.enrol("person a", people.photo("again.mkv"))
        assert "barred: There is no cohort" in await system.command("status")

        assert "normalised by a cohort of" in await system.command("cohort", "build", photos)
        shown = await system.command("cohort", "show")
        assert shown.startswith("a cohort of ")
        assert 100 <= int(shown.split()[3]) <= PEOPLE

        found = await system.json("calibrate")
        barred = found["categories"]["barred"]
        assert (found["scores"], barred["entries"], barred["accepted"], barred["problem"]) == ("normalised", 1, 1, "")
        assert 0 < barred["expected"] < barred["upper"] <= 1
        assert 0.35 <= barred["threshold"] <= 0.7
        row = next(line for line in (await system.command("calibrate")).splitlines() if line.startswith("barred"))
        assert row.split()[:4] == ["barred", "1", f"{barred['threshold']:.3f}", "1"]
        assert "There is no cohort" not in await system.command("status")
        match = next(line for line in (await system.command("status")).splitlines() if line.startswith("match"))
        assert match.endswith(f"scores normalised by {found['cohort']['size']} people")

        await system.command("arm")
        seen = await alert(system)
        assert (seen["person"], seen["threshold"]) == ("person a", barred["threshold"])
        assert seen["cohort"]
        await system.command("cohort", "remove")
        assert (await system.json("calibrate"))["categories"]["barred"]["threshold"] >= 0.5


async def alert(system: System) -> dict[str, object]:
    found: list[dict[str, object]] = []

    async def told() -> bool:
        found[:] = await system.alerts("raised")
        return bool(found)

    await until(told, "an alert")
    return found[0]


async def test_a_folder_that_is_no_cohort_is_refused(photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for photo in sorted(photos.glob("A*.jpg"))[:3]:
        (few / photo.name).symlink_to(photo)
    async with running(tmp_path, SITE) as system:
        said = await system.command("cohort", "build", few, code=1)
        assert "a cohort needs at least 100 people, not " in said
        assert "there is no folder" in await system.command("cohort", "build", tmp_path / "none", code=1)
        assert "there is no cohort" in await system.command("cohort", "remove", code=1)
        assert await system.command("cohort", "show") == "there is no cohort; scores are plain cosines\n"
