"""What is wrong before the start: ``aegis up`` names all of it, starts nothing and ends with code 2."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.bus import until
from tests.conftest import require
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, file_cameras, prepared, running


async def refused(system: System, *words: str, code: int = 2, started: bool = False) -> str:
    """Start a system that must refuse with all of these words, without a traceback."""
    await system.start()
    assert await system.wait(40) == code, system.output
    assert [word for word in words if word not in system.output] == [], system.output
    assert "Traceback" not in system.output
    assert not [line for line in system.output.splitlines() if line.startswith("ready in ")]
    if not started:
        assert not system.state.bus_directory.exists()
    assert not (system.state.directory / "running.json").exists()
    return system.output


MANY = """\
site: {id: Test Site, kind: k12-school, jurisdiction: US-ny, state: open, colour: red}
cameras:
  - {id: a, url: "rtsp://guard:${NOT_SET}@10.0.0.7/live", fps: 100}
  - {id: a, url: "http://10.0.0.7/live", loop: maybe}
  - {id: b c, url: "rtsp://guard:geheim@10.0.0.7:camera/live"}
categories:
  barred: {severity: dire, threshold: 7}
notify: {fax: {}}
"""
MANY_PROBLEMS = (
    ":1: site 'Test Site' is not 1 to 64",
    ":1: refused: New York's K-12 schools may not use facial recognition",
    ":1: state: 'open' is not one of",
    ":1: 'colour' is not known here",
    ":3: the environment variable NOT_SET is not set",
    ":3: fps: a number from 0.1 to 30 is expected, not 100",
    ":4: camera 'a' stands twice",
    ":4: camera 'a': an address begins with one of",
    ":4: loop: true or false is expected, not 'maybe'",
    ":5: camera 'b c' is not 1 to 64",
    ": its port is no number",
    ":7: severity: 'dire' is not one of",
    ":7: threshold: a number from 0.2 to 1 is expected, not 7",
    ":8: 'fax' is not known here",
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MANY, MANY_PROBLEMS),
        ("", (":1: a map with site, cameras, categories, notify is expected",)),
        ("- just\n- a list\n", (":1: a map with site",)),
        ('site: {id: x\ncameras: "rtsp://guard:geheim@h/live\n', (": not YAML: ",)),
        ("[" * 5000, (": not YAML: ",)),
        (
            "site: 5\ncameras: 6\nnotify: 7\n",
            (":1: site is a map", ":2: cameras is a list of maps", ":3: notify is a map"),
        ),
    ],
    ids=["many", "empty", "list", "broken", "deep", "types"],
)
async def test_everything_wrong_in_the_site_file_is_told_at_once(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    said = await refused(prepared(tmp_path, text), *words)
    assert "geheim" not in said
    assert all(str(tmp_path / "site.yaml") in line for line in said.splitlines())


async def test_a_site_file_that_is_none_is_told(tmp_path: Path) -> None:
    missing, folder, binary = (prepared(tmp_path / name, SITE) for name in ("missing", "folder", "binary"))
    (missing.folder / "site.yaml").unlink()
    (folder.folder / "site.yaml").unlink()
    (folder.folder / "site.yaml").mkdir()
    (binary.folder / "site.yaml").write_bytes(b"\x80\xff\xfe")
    await asyncio.gather(
        refused(missing, "site.yaml: No such file or directory"),
        refused(folder, "site.yaml: Is a directory"),
        refused(binary, "site.yaml:1: not YAML: "),
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"AEGIS_DETECT_WIDTH": "abc", "AEGIS_PROVIDER": "gpu", "AEGIS_LOG_LEVEL": "loud"},
            (
                "AEGIS_DETECT_WIDTH='abc': expected a whole number",
                "AEGIS_PROVIDER='gpu': expected",
            ),
        ),
        ({"AEGIS_PROVIDER": "cuda"}, ("cannot start: model ", "cuda: ")),
    ],
    ids=["values", "cuda"],
)
async def test_a_setting_of_a_service_that_is_wrong_ends_the_start(
    tmp_path: Path, settings: Mapping[str, str], words: tuple[str, ...]
) -> None:
    if settings.get("AEGIS_PROVIDER") == "cuda" and shutil.which("nvidia-smi"):
        pytest.skip("this machine has a graphics card")
    said = await refused(prepared(tmp_path, SITE, settings), *words, started=True)
    assert said.splitlines()[-1].startswith("aegis: "), said


async def test_a_changed_or_missing_model_is_told_and_nothing_starts(tmp_path: Path, models_dir: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for model in models_dir.glob("*.onnx"):
        shutil.copy(model, folder)
    embedder = next(folder.glob("face_recognition*"))
    data = bytearray(embedder.read_bytes())
    data[len(data) // 2] ^= 1
    embedder.write_bytes(data)
    changed = prepared(tmp_path / "changed", SITE, {"AEGIS_MODELS_DIR": str(folder)})
    words = (f"{embedder} has the sha256", "remove it and run `aegis models pull`")
    await refused(changed, *words)
    said = await changed.command("models", "verify", code=1)
    assert [word for word in words if word not in said] == []
    assert embedder.read_bytes() == data

    # Nobody is asked: not an address of the web, not a package index.
    offline = {
        "AEGIS_MODELS_DIR": str(tmp_path / "none"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    missing = prepared(tmp_path / "missing", SITE, offline)
    missing.environ.pop("PIP_NO_INDEX", None)
    await missing.start()
    assert await missing.wait(60) == 1, missing.output
    for word in ("could not be pulled:", "Copy the file by hand to", "sha256"):
        assert word in missing.output
    assert "Traceback" not in missing.output
    assert not missing.state.bus_directory.exists()
    assert "run `aegis models pull`" in await missing.command("models", "verify", code=1)


async def test_a_port_that_is_taken_matters_only_to_a_camera_that_needs_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f'whip: {{listen: "127.0.0.1:{port}"}}\n'
        words = (f"whip: 127.0.0.1:{port} cannot be used (Address already in use)", "under whip: listen:")
        phone = 'cameras: [{id: phone, url: "whip:", token: "${PHONE_TOKEN}"}]\n'
        await refused(prepared(tmp_path / "phone", SITE + listen + phone, {"PHONE_TOKEN": "t"}), *words)
        async with running(tmp_path / "none", SITE + listen) as system:
            assert f"note: no browser or phone can be a camera, since 127.0.0.1:{port} is not free" in system.output
            # Another one on the same directory gives up, and the first does not notice.
            second = System(system.folder, system.environ)
            before = await system.services()
            await second.start()
            assert await second.wait(20) == 2
            assert f"a system already runs with the state directory {system.state.directory}" in second.output
            assert {key: value["pid"] for key, value in (await system.services()).items()} == {
                key: value["pid"] for key, value in before.items()
            }


@contextlib.contextmanager
def small_disk(folder: Path, *options: str) -> Iterator[Path]:
    """Mount a disk of 8 MB that lives in memory."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=8m", *options)), "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        require(folder / "mounted", "the right to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk."""
    path = disk / "filler"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


async def test_a_state_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    usable = prepared(tmp_path / "site", SITE)
    for directory, words in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "state", "Not a directory"),
        (Path("/proc/aegis"), "No such file or directory"),
    ):
        system = System(usable.folder, usable.environ)
        system.state = type(system.state)(directory)
        await system.start()
        assert await system.wait(20) == 2, system.output
        assert f"the state directory cannot be used: {directory}: {words}" in system.output
        assert "give another --state" in system.output
        assert system.output.count("\n") == 1
    with small_disk(tmp_path / "readonly", "ro") as disk:
        system = System(usable.folder, usable.environ)
        system.state = type(system.state)(disk / "state")
        await refused(system, f"the state directory cannot be used: {disk}/state: Read-only file system")
    with small_disk(tmp_path / "full") as disk:
        fill(disk)
        system = System(usable.folder, usable.environ)
        system.state = type(system.state)(disk / "state")
        await refused(system, f"the state directory cannot be used: {disk}/state: ", started=True)


async def test_a_disk_that_fills_up_is_told_and_once_there_is_room_all_goes_on(people: People, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        system = prepared(tmp_path / "site", SITE + file_cameras({"good": people.clip("again.mkv")}, loop=True))
        system.state = type(system.state)(disk / "state")
        await system.start()
        try:
            await system.ready()
            first = await system.enrol("before", people.photo("help.mkv"))
            await until(lambda: alerted(system, "before"), f"an alert: {system.output}", 15)
            services = {key: value["pid"] for key, value in (await system.services()).items()}
            filler = fill(disk)
            await until(lambda: "no room in the state directory" in system.output, system.output, 10)
            # Long enough for the bus to fail at writing: it renews the leases every two seconds.
            log = system.state.logs / "nats-server.out"
            await until(
                lambda: "no space left on device" in log.read_text(errors="replace"), "the bus fails to write", 10
            )
            filler.unlink()
            await until(lambda: "there is room again" in system.output, system.output, 10)
            await until(lambda: knows(system, "before"), f"the watchlist again: {system.output}", 30)
            await system.command("watchlist", "remove", first)
            await system.enrol("after", people.photo("help.mkv"))
            await until(lambda: alerted(system, "after"), f"an alert again: {system.output}", 20)
            assert ("before", "good") in await system.raised()
            assert {key: value["pid"] for key, value in (await system.services()).items()} == services
            assert "Traceback" not in system.output
            assert system.output.count("no room in the state directory") == 1
        finally:
            await system.stop()


async def alerted(system: System, name: str) -> bool:
    return (name, "good") in await system.raised()


async def knows(system: System, name: str) -> bool:
    text = await system.command("watchlist", "list", code=None)
    return name in text


async def test_the_key_of_the_site_is_guarded(people: People, tmp_path: Path) -> None:
    async with running(tmp_path, SITE) as system:
        await system.enrol("kept", people.photo("help.mkv"))
    key = Path(system.environ["AEGIS_SITE_KEY_FILE"])
    right = key.read_text()

    for content, mode, words in (
        (right, 0o644, f"site key {key} can be read by others; run: chmod 600 {key}"),
        ("not a key", 0o600, f"site key {key} is not 64 hexadecimal digits"),
    ):
        key.write_text(content)
        key.chmod(mode)
        await refused(system, words, started=True)
    key.unlink()
    words = "was sealed with another site key; give the right AEGIS_SITE_KEY_FILE"
    said = await refused(system, "registry cannot start: watchlist/", words, started=True)
    assert said.splitlines()[-1].startswith("aegis: registry cannot start: "), said
    assert said.count(words) <= 3, said
    key.write_text(right)
    await system.start()
    try:
        await system.ready()
        assert [entry["name"] for entry in await system.json("watchlist", "list")] == ["kept"]
    finally:
        await system.stop()
