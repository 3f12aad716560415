"""The whole command on a few real photos."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.evaluation.opencv import accuracies

from aegis.cli.evaluation import photos
from aegis.cli.main import main
from aegis.runtime import site_file
from aegis.runtime.enrolment import Extractor
from aegis.runtime.progress import progress_bar
from aegis.vision.calibration import Derived, derive
from aegis.vision.normalisation import Cohort
from aegis.vision.scoring import Gallery

RACES, GENDERS = ("White", "Black", "Asian", "Indian"), ("man", "woman")


@pytest.fixture(scope="module")
def lfw(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 people with two to four photos and 60 with one; links, since no photo is copied."""
    folder = tmp_path_factory.mktemp("lfw")
    everybody = sorted((test_data / "lfw").iterdir())
    several = [person for person in everybody if len(list(person.iterdir())) > 1]
    single = [person for person in everybody if len(list(person.iterdir())) == 1]
    for person in (*several[:60], *single[:60]):
        (folder / person.name).symlink_to(person)
    return folder


@pytest.fixture(scope="module")
def utkface(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV that lists every fourth photo, with its groups, beside links to them."""
    folder = tmp_path_factory.mktemp("utkface")
    lines = ["photo,race,gender"]
    for photo in islice(sorted((test_data / "utkface").iterdir()), 0, None, 4):
        _, gender, race, _ = photo.name.split("_", 3)
        (folder / photo.name).symlink_to(photo)
        lines.append(f"{photo.name},{RACES[int(race)]},{GENDERS[int(gender)]}")
    (folder / "faces.csv").write_text("\n".join(lines))
    return folder


def evaluated(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, words)])
    return int(ended.value.code or 0)


def figures(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())["figures"]
    return found


@pytest.fixture(autouse=True)
def _models(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_MODELS_DIR", str(models_dir))


def test_people_are_enrolled_and_found(lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated(lfw, "--gallery", "40", "--out", tmp_path) == 0
    found = figures(tmp_path)
    (watchlist,) = found["identification"]
    assert watchlist["enrolled"] == 40
    assert watchlist["default"]["fnir"]["rate"] < 0.5
    assert watchlist["default"]["fpir"]["rate"] < 0.1
    assert found["people"] == 120
    assert found["cohort_people"] == 0, "a fifth of 80 people is no cohort"
    assert found["verification"]["at"][0]["missed"]["rate"] < 0.1
    said = capsys.readouterr()
    assert said.out.startswith("Wrongly pointed at: the set is too small to say how often")
    assert str(tmp_path / "report.html") in said.out


def test_a_cohort_that_is_given_normalises_scores(lfw: Path, utkface: Path, tmp_path: Path) -> None:
    assert evaluated(lfw, "--gallery", "40", "--cohort", utkface, "--out", tmp_path) == 0
    found = figures(tmp_path)
    assert [kind["scores"] for kind in found["identification"]] == ["cosine", "normalised"]
    assert found["cohort_people"] >= 200
    plain, normalised = (kind["points"][0]["threshold"] for kind in found["identification"])
    assert plain != normalised


def test_groups_of_a_csv_are_compared(utkface: Path, tmp_path: Path) -> None:
    assert evaluated(utkface / "faces.csv", "--enrol", "gender=woman", "--gallery", "30", "--out", tmp_path) == 0
    found = figures(tmp_path)
    assert [group["columns"] for group in found["groups"]] == [["gender"], ["race"], ["gender", "race"]]
    assert set(found["groups"][1]["people"]) == set(RACES)
    assert found["enrol_only"] == "gender=woman"
    assert found["identification"][0]["mated"] == 0
    page = (tmp_path / "report.html").read_text()
    assert "By gender and race" in page
    assert not any(photo.name in page for photo in utkface.iterdir())


def test_what_was_measured_of_groups_bears_on_thresholds(utkface: Path, tmp_path: Path) -> None:
    """From photos to a report, from there into the site file, and by it to a threshold."""
    assert evaluated(utkface, "--groups", utkface / "faces.csv", "--gallery", "30", "--out", tmp_path) == 0
    found = figures(tmp_path)["fairness"]
    assert 0 < sum(row["supported"] for row in found) < len(found)
    (tmp_path / "site.yaml").write_text(
        "site: {id: s, kind: venue}\ncalibration: {worst_group: 2, evaluation: report.json}\n"
    )
    read = site_file.read(tmp_path / "site.yaml", {}).calibration()
    assert read.worst_group == 2
    assert [row.threshold for row in read.fairness] == [row["threshold"] for row in found if row["supported"]]
    random = np.random.default_rng(1)
    cohort = Cohort.build(random.normal(size=(200, 128)).astype(np.float32))
    listed = Gallery.build({"a": random.normal(size=(1, 128)).astype(np.float32)}, cohort)

    def derived(worst_group: float | None) -> Derived:
        (category,) = derive(
            {"barred": listed}, {"barred": 5.0}, cohort=cohort, visits_a_week=100, worst_group=worst_group,
            fairness=read.fairness,
        ).values()  # fmt: skip
        return category

    worst = max(row.worst_over_mean for row in read.fairness)
    assert derived(worst).threshold == derived(None).threshold
    assert not derived(worst).problem.startswith("The worst group")
    measured = max(row.threshold for row in read.fairness) >= (derived(None).threshold or 0)
    assert derived(1).problem.startswith("The worst group has" if measured else "The evaluation report says too little")


def test_bad_input_is_named_and_counted_and_stops_nothing(
    lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    chosen = sorted(lfw.iterdir())[:30]
    for person in chosen:
        (folder / person.name).symlink_to(person.resolve())
    (folder / "Nobody").mkdir()
    (folder / "Nobody" / "wall.png").write_bytes(wall())
    (folder / "Broken").mkdir()
    (folder / "Broken" / "1.jpg").write_bytes(b"no picture")
    names = [str(photo.relative_to(folder)) for person in chosen for photo in sorted((folder / person.name).iterdir())]
    lines = [
        "photo,hair",
        *(f"{name},{'rare' if n < 2 else 'usual'}" for n, name in enumerate(names)),
        "gone.jpg,usual",
    ]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    assert evaluated(folder, "--groups", tmp_path / "groups.csv", "--out", out) == 0
    said = capsys.readouterr().err
    assert "left out: gone.jpg: the CSV names it and it is not there" in said
    assert "Broken/1.jpg: cannot be read as a picture" in said
    assert "left out: Nobody: no usable face in any photo" in said
    assert f"note: 2 of {len(names) + 2} photos have no line in {tmp_path / 'groups.csv'}" in said
    assert "photos could not be enrolled: " in said
    assert "1 group with fewer than 20 people left uncompared: rare (" in said
    found = figures(out)
    assert found["acquisition"]["unreadable"]["errors"] == 1
    assert found["acquisition"]["no_face"]["errors"] == 1
    assert found["acquisition"]["people_lost"] == 2
    assert found["groups"][0]["small"].keys() == {"rare"}


def wall() -> bytes:
    import cv2  # noqa: PLC0415 -- of all these tests, one needs it
    import numpy as np  # noqa: PLC0415

    return cv2.imencode(".png", np.full((200, 200, 3), 90, np.uint8))[1].tobytes()


def test_what_cannot_be_measured_is_refused(
    lfw: Path, utkface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(tmp_path / "nowhere", "--out", tmp_path) == 1
    assert "aegis: there is no folder" in capsys.readouterr().err
    assert evaluated(lfw, "--enrol", "age=adult", "--out", tmp_path) == 1
    assert "--enrol age=adult: give the CSV that says so with --groups" in capsys.readouterr().err
    faces = utkface / "faces.csv"
    assert evaluated(faces, "--enrol", "age=adult", "--out", tmp_path) == 1
    assert "no photo has 'adult' in a column 'age'" in capsys.readouterr().err
    assert evaluated(lfw, "--gallery", "abc") == 2
    assert "--gallery: a whole number from 1 is expected, not 'abc'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").write_text("a file")
    for out in ("taken", "taken/report"):
        assert evaluated(lfw, "--out", tmp_path / out) == 1
        said = capsys.readouterr().err
        assert f"the report cannot be written to {tmp_path / out}: {tmp_path / 'taken'} is a file" in said
        assert "looking at" not in said


def test_a_terminal_gets_a_bar_and_ctrl_c_leaves_no_report(lfw: Path, models_dir: Path, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    aegis = shutil.which("aegis", path=str(Path(sys.executable).parent))
    assert aegis
    out = tmp_path / "out"
    # Whoever runs tests in the background has them ignore Ctrl-C, and what they start too.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", aegis, "evaluate", str(lfw), "--out", str(out)],
        stderr=terminal,
        stdout=subprocess.PIPE,
        env=os.environ | {"AEGIS_MODELS_DIR": str(models_dir)},
    )
    os.close(terminal)
    drawn = ""
    while not re.search(r"\[#*-+\] [1-9]\d? % of \d+ photos", drawn):
        drawn += os.read(screen, 4096).decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    os.close(screen)
    assert not out.exists()


def test_accuracy_is_that_of_opencv(test_data: Path, models_dir: Path, tmp_path: Path) -> None:
    for person in islice((p for p in sorted((test_data / "lfw").iterdir()) if len(list(p.iterdir())) > 1), 200):
        (tmp_path / person.name).symlink_to(person)
    listed, _ = photos.listed(tmp_path)
    extractor = Extractor(models_dir, None, "sface-2021dec", "cpu")
    found = photos.extract(listed, extractor, "looking", progress_bar(sys.stderr))
    ours, theirs = accuracies(found, models_dir, pairs=6000, seed=1)
    assert ours.errors.trials > 700
    assert abs(ours.mean - theirs.mean) <= 0.002
