"""Whatever is put into a running system is refused in clear words, and everything else goes on.

One system serves every test here: a good camera before which a person stands, beside cameras that cannot be played.
After each test all processes must be the same ones, and somebody new on the list must still be alerted.
"""

import asyncio
import base64
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import pytest
import pytest_asyncio
from tests.bus import until
from tests.e2e.conftest import People
from tests.e2e.system import SITE, System, prepared, running
from tests.integration.ingest.test_rtsp import serving

from aegis.contracts import codec, subjects
from aegis.contracts.messages import AddCamera, CameraRecord, DeadLetter, EntryRecord, Reply, Template
from aegis.runtime import bus_server, sealing
from aegis.runtime.buckets import Bucket
from aegis.runtime.bus import Bus
from aegis.runtime.bus_server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "geheim-4711"
TOKEN = "geheim-token-4711"
HOOK_SECRET = "whsec_" + base64.b64encode(b"geheim-4711-geheim-4711-geheim-4711").decode()
SECRETS = (PASSWORD, TOKEN, HOOK_SECRET)
GOOD = "good"


class Town:
    """The system and what it was made of."""

    def __init__(self, system: System, people: People, folder: Path, pids: dict[str, int]) -> None:
        self.system = system
        self.people = people
        self.folder = folder
        self.pids = pids
        self._alerted = 0

    def file(self, name: str, content: bytes = b"") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def refuses(self, *words: object, code: int = 1, stdin: bytes = b"") -> str:
        """Run a command that must fail in one line, without a traceback."""
        text = await self.system.command(*words, code=code, stdin=stdin)
        assert text.startswith("aegis: "), text
        assert text.count("\n") == 1, text
        return text

    async def lines(self, camera: str) -> list[str]:
        return [line for line in self.system.output.splitlines() if f" camera {camera} " in line]

    async def says(self, camera: str, *words: str, patience: float = 15) -> str:
        """Wait for the newest terminal line about a camera to hold all of these words."""

        async def said() -> bool:
            lines = await self.lines(camera)
            return bool(lines) and all(word in lines[-1] for word in words)

        await until(said, f"{camera}: {words}: {self.system.output}", patience)
        return (await self.lines(camera))[-1]

    async def still_alerts(self) -> None:
        """Check that nothing was started anew and that a person who comes onto the list is alerted."""
        self._alerted += 1
        name = f"newcomer {self._alerted}"
        entry = await self.system.enrol(name, self.people.photo("help.mkv"))

        def raised() -> bool:
            lines = [line for line in self.system.output.splitlines() if " ALERT " in line]
            return any(f": {name} (" in line and f" at {GOOD}," in line for line in lines)

        await until(raised, f"an alert for {name}: {self.system.output}", 15)
        await self.system.command("watchlist", "remove", entry)
        assert await pids(self.system) == self.pids, self.system.output

    def connect(self, role: str) -> Any:
        return Bus.connect(self.system.state.bus_config(None, role), f"test-{role}")


async def pids(system: System) -> dict[str, int]:
    found = {service: int(status["pid"]) for (service, _), status in (await system.services()).items()}
    return {**found, "nats-server": await system.pid("nats-server")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(people: People, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    clip = people.clip("again.mkv").read_bytes()
    (folder / "half.mkv").write_bytes(clip[: len(clip) // 2])
    (folder / "text.mkv").write_text("This is no video, but a letter to the camera.\n" * 100)
    (folder / "empty.mkv").touch()
    (folder / "folder.mkv").mkdir()
    cameras = "".join(
        f'  - {{id: {name}, url: "{url}"}}\n'
        for name, url in {
            "missing": f"file:{folder}/missing.mkv",
            "half": f"file:{folder}/half.mkv",
            "text": f"file:{folder}/text.mkv",
            "empty": f"file:{folder}/empty.mkv",
            "folder": f"file:{folder}/folder.mkv",
            "closed": f"rtsp://guard:${{LOBBY_PASSWORD}}@127.0.0.1:{free_port()}/live",
            "nowhere": "rtsp://guard:${LOBBY_PASSWORD}@no-such-host.invalid/live",
        }.items()
    )
    site = (
        f"{SITE}cameras:\n{cameras}"
        f'  - {{id: {GOOD}, url: "file:{people.clip("again.mkv")}", loop: true}}\n'
        '  - {id: phone, url: "whip:", token: "${PHONE_TOKEN}"}\n'
        f'notify: {{webhooks: [{{url: "http://127.0.0.1:{free_port()}/hook", secret_env: HOOK_SECRET}}]}}\n'
        f'whip: {{listen: "127.0.0.1:{free_port()}"}}\n'
    )
    environ = {"LOBBY_PASSWORD": PASSWORD, "PHONE_TOKEN": TOKEN, "HOOK_SECRET": HOOK_SECRET}
    async with running(folder, site, environ=environ) as system:
        yield Town(system, people, folder, await pids(system))


@pytest.mark.parametrize(
    ("camera", "reason"),
    [
        ("missing", "offline: not found"),
        ("text", "offline: "),
        ("empty", "offline: is no video that can be read"),
        ("folder", "offline: is a directory"),
        ("closed", "offline: connection refused"),
        ("nowhere", "offline: "),
        ("half", "ended early: "),
    ],
)
async def test_a_camera_that_cannot_be_played_says_why_once(town: Town, camera: str, reason: str) -> None:
    said = await town.says(camera, reason)
    assert PASSWORD not in said
    offline = [line for line in await town.lines(camera) if " offline: " in line]
    assert len(offline) == (camera != "half"), offline


async def test_rtsp_cameras_that_refuse_or_stall_are_told_and_come_back(town: Town) -> None:
    with serving("guard", PASSWORD) as server, serving() as open_server:
        await asyncio.gather(
            town.system.command("camera", "add", "locked", server.url("guard:-"), stdin=b"wrong-" + PASSWORD.encode()),
            town.system.command("camera", "add", "unnamed", server.url()),
            town.system.command("camera", "add", "stalls", open_server.url()),
        )
        await town.says("stalls", "online")
        open_server.send(signal.SIGSTOP)
        await town.says("locked", "offline: the camera wants a user name and password, or refuses the ones given")
        await town.says("unnamed", "offline: the camera wants a user name and password")
        await town.says("stalls", "offline: stalled")
        await town.still_alerts()
        open_server.send(signal.SIGCONT)
        await town.says("stalls", "online", patience=30)
    for name in ("locked", "unnamed", "stalls"):
        await town.system.command("camera", "remove", name)


async def test_a_wrong_camera_is_refused_before_it_is_kept(town: Town) -> None:
    before = await town.system.json("camera", "list")
    secret = f"rtsp://guard:{PASSWORD}@10.0.0.7/live"
    wrong: list[tuple[Sequence[object], int, str]] = [
        (("Front Door", "rtsp://10.0.0.7/live"), 1, "camera 'Front Door' is not 1 to 64 of the characters"),
        (("a.b", "rtsp://10.0.0.7/live"), 1, "camera 'a.b' is not"),
        (("x" * 65, "rtsp://10.0.0.7/live"), 1, "is not 1 to 64"),
        ((GOOD, "rtsp://10.0.0.7/live"), 1, f"camera '{GOOD}' is there already; remove it first"),
        (
            ("web", "http://10.0.0.7/live"),
            2,
            "begins with one of file:, rtsp:, rtsps:, usb:, whip:, not with http; a file is file:PATH",
        ),
        (("web", "live.mkv"), 2, "not with nothing; a file is file:PATH"),
        (("web", "rtsp://"), 2, "rtsp:// is followed by a host"),
        (("web", "rtsp://10.0.0.7:70000/live"), 2, "its port is no number"),
        (("web", f"rtsp://guard:x#{PASSWORD}@10.0.0.7/live"), 2, ""),
        (("web", f"rtsp://guard:[{PASSWORD}@10.0.0.7/live"), 2, ""),
        (("web", secret), 2, "write ${NAME} in its place"),
        (("web", "rtsp://guard:${NOT_SET}@10.0.0.7/live"), 2, "the environment variable NOT_SET is not set"),
        (("web", "rtsp://10.0.0.7/live", "--fps", "0"), 1, "fps: 0.1 to 30.0 is expected, not 0"),
        (("web", "rtsp://10.0.0.7/live", "--fps", "nan"), 1, "fps: 0.1 to 30.0 is expected, not nan"),
        (("web", "whip:"), 2, "needs --token-env NAME"),
    ]
    said = await asyncio.gather(*(town.refuses("camera", "add", *words, code=code) for words, code, _ in wrong))
    for (words, _, expected), text in zip(wrong, said, strict=True):
        assert expected in text, (words, text)
        assert PASSWORD not in text
    assert "there is no camera 'web'" in await town.refuses("camera", "remove", "web")
    assert await town.system.json("camera", "list") == before


async def test_a_photo_that_cannot_be_enrolled_leaves_nothing_behind(town: Town, test_data: Path) -> None:
    good = town.people.photo("bird.mkv")
    face = cv2.imread(str(good))
    assert face is not None
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)

    def picture(name: str, image: Any) -> Path:
        return town.file(f"{name}.png", cv2.imencode(".png", image)[1].tobytes())

    def enrol(*photos: Path, category: str = "barred") -> Any:
        options = [word for photo in photos for word in ("--photo", photo)]
        return town.refuses("watchlist", "add", "somebody", "--category", category, *options)

    two = picture("two", np.hstack([face, face]))
    wrong: list[tuple[Path, str]] = [
        (picture("nobody", noise), "no face was found"),
        (two, "2 faces were found; crop it to the one person"),
        (picture("small", cv2.resize(face, None, fx=0.25, fy=0.25)), "the face is too small"),
        (town.file("corrupt.jpg", b"\xff\xd8\xff" + bytes(500)), "cannot be read as a picture"),
        (town.file("text.jpg", b"a letter"), "cannot be read as a picture"),
        (town.file("empty.jpg"), "cannot be read as a picture"),
        (town.folder / "missing.jpg", "No such file"),
        (town.folder, "Is a directory"),
    ]
    # With a good photo before it, of which nothing may stay either.
    said = await asyncio.gather(*(enrol(good, photo) for photo, _ in wrong))
    for (photo, expected), text in zip(wrong, said, strict=True):
        assert f"aegis: {photo}: " in text, text
        assert expected in text, text
    text = await enrol(good, category="friends")
    assert "there is no category 'friends'; known are barred" in text
    assert await town.system.json("watchlist", "list") == []
    async with town.connect("admin") as admin:
        kept = await admin.client.jetstream().stream_info("KV_photos", subjects_filter="$KV.photos.>")
        for subject in kept.state.subjects or {}:
            assert await Bucket(admin, "photos").get(subject.removeprefix("$KV.photos.")) is None

    # Few bytes and many pixels: it is made smaller on the way.
    jpeg = cv2.imencode(".jpg", cv2.resize(face, (6400, 4800)), (cv2.IMWRITE_JPEG_QUALITY, 50))[1]
    entry = await town.system.enrol("large", town.file("huge.jpg", jpeg.tobytes()))
    await town.system.command("watchlist", "remove", entry)
    await town.still_alerts()


BLANK = b"\xff\xd8\xff" + bytes(100)


def frame(**more: Any) -> bytes:
    fields = {"camera": "ghost", "lease": 1, "sequence": 0, "captured_at": time.time(), "jpeg": BLANK}
    return pack({"v": 1, **fields, **more})


def pack(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def looks(**more: Any) -> bytes:
    now = time.time()
    look = {"track": 1, "look": 1, "captured_at": now, "first_captured_at": now, "seen_at": now, "quality": 0.9}
    fields = {"camera": "ghost", "lease": 1, "detector": "d", "embedder": "sface-2021dec.1"}
    return pack({"v": 1, **fields, "looks": [{**look, **more}]})


UNREADABLE: list[tuple[bytes, str]] = [
    (b"", "not msgpack"),
    (b"\xc1\xc1 what is this", "not msgpack"),
    (msgpack.packb([1, 2]), "a map is expected"),
    (msgpack.packb({"v": 2, "camera": "ghost"}), ".v: this reader knows version 1, not 2"),
    (msgpack.packb({"v": 1}), " is missing"),
    (os.urandom(1_000_000), ""),
]


async def test_messages_that_cannot_be_read_become_dead_letters_that_name_the_field(town: Town) -> None:
    partition = next(c["partition"] for c in await town.system.json("camera", "list") if c["id"] == GOOD)
    detected, embedded = subjects.face_detected(partition, "ghost"), subjects.face_embedded(partition, "ghost")
    asked = subjects.look_requested(partition, "ghost")
    captured = subjects.frame_captured(partition, "ghost")
    wrong: list[tuple[str, str, str, bytes, str]] = [
        *(
            (role, reader, subject, payload, problem)
            for role, reader, subject in (
                ("ingest", "detect", captured),
                ("detect", "embed", detected),
                ("embed", "match", embedded),
                ("match", "detect", asked),
                ("operator", "registry", subjects.registry("camera-add")),
                ("operator", "registry", subjects.registry("watchlist-add")),
                ("operator", "registry", subjects.registry("camera-remove")),
            )
            for payload, problem in UNREADABLE
        ),
        ("ingest", "detect", captured, frame(sequence="one"), "FrameCaptured.sequence: int is expected"),
        ("detect", "embed", detected, looks(chip=b"x"), "looks.chip: 37632 bytes are expected, not 1"),
        ("detect", "embed", detected, looks(chip=7), "looks[0].chip: bytes is expected"),
        ("embed", "match", embedded, looks(vector=b"xyz"), "looks.vector"),
        ("embed", "match", embedded, looks(vector=bytes(512)), "looks.vector"),
        ("embed", "match", embedded, looks(vector=np.full(128, np.nan, "<f4").tobytes()), "looks.vector"),
        ("embed", "match", embedded, looks(vector=b"", seen_at=math.nan), "looks"),
        ("operator", "registry", subjects.registry("state-set"), msgpack.packb({"v": 1, "state": "open"}), ".state"),
    ]
    async with contextlib.AsyncExitStack() as stack:
        admin = await stack.enter_async_context(town.connect("admin"))
        senders = {role: await stack.enter_async_context(town.connect(role)) for role in {row[0] for row in wrong}}
        for role, reader, subject, payload, problem in wrong:
            before = await admin.last(subjects.DEAD, subjects.dead(reader))
            await senders[role].publish(subject, payload)
            letter = await next_letter(admin, reader, before.seq if before else None)
            assert (letter.subject, letter.size) == (subject, len(payload))
            assert problem in letter.problem, (subject, letter.problem)
    await town.still_alerts()


async def next_letter(admin: Bus, reader: str, before: int | None) -> DeadLetter:
    letters: list[DeadLetter] = []

    async def written() -> bool:
        last = await admin.last(subjects.DEAD, subjects.dead(reader))
        if last is None or last.seq == before:
            return False
        letters[:] = [codec.decode(DeadLetter, last.data or b"")]
        return True

    await until(written, f"a dead letter of {reader}", 10)
    return letters[0]


async def test_readable_nonsense_stops_nothing(town: Town) -> None:
    listed = await town.system.json("camera", "list")
    partition = next(c["partition"] for c in listed if c["id"] == GOOD)
    odd = (math.nan, math.inf, -1.0, 1e300)
    good = town.people.photo("bird.mkv").read_bytes()
    chip = np.zeros((112, 112, 3), np.uint8).tobytes()
    vector = np.full(128, 128**-0.5, "<f4").tobytes()
    async with town.connect("ingest") as sender:
        odd_times: list[dict[str, Any]] = [{name: value} for value in odd for name in ("captured_at", "media_time")]
        for number, fields in enumerate([*odd_times, {"lease": 2**62}, {"lease": -1}, {"sequence": -1}]):
            camera = f"ghost-{number}"  # of one camera, only the newest would be looked at
            await sender.publish(subjects.frame_captured(partition, camera), frame(camera=camera, jpeg=good, **fields))
        await sender.flush()
    for role, subject, body in (
        ("detect", subjects.face_detected(partition, "ghost"), {"chip": chip}),
        ("embed", subjects.face_embedded(partition, "ghost"), {"vector": vector}),
    ):
        async with town.connect(role) as sender:
            for value in odd:
                for name in ("captured_at", "first_captured_at", "seen_at", "media_time", "quality"):
                    await sender.client.publish(subject, looks(**body, **{name: value}))
            await sender.flush()
    async with town.connect("operator") as sender:
        wild = AddCamera(camera="wild", url="rtsp://x:y@h:99999/live")
        reply = codec.decode(Reply, await sender.request(subjects.registry("camera-add"), codec.encode(wild)))
        assert "port" in reply.problem
    assert await town.system.json("camera", "list") == listed
    await town.still_alerts()


async def test_a_broken_event_of_an_alert_is_passed_over(town: Town) -> None:
    before = await town.system.alerts("raised")
    event = json.loads((await town.system.command("alerts", "list", "--json")).splitlines()[0])
    event["data"] |= {"captured_at": 1e300, "entry": "ghost", "person": "nobody at all"}
    broken = [b"", b"\xff", b"[]", b"{}", b'{"specversion": "2.0"}', json.dumps(event).encode(), b"{" * 100_000]
    async with town.connect("match") as sender:
        for payload in broken:
            await sender.store(subjects.alert("test-site", "barred", "ghost"), payload)
    assert len(await town.system.alerts("raised")) == len(before) + 1
    await town.system.command("alerts", "list")

    async with town.connect("admin") as admin:

        async def refused() -> bool:
            return await admin.last(subjects.DEAD, subjects.dead("notify")) is not None

        await until(refused, "notify puts it aside", 10)
    await town.still_alerts()


async def test_broken_values_in_the_buckets_are_named_in_the_logs_and_stop_nothing(town: Town) -> None:
    sealer = sealing.load(Path(town.system.environ["AEGIS_SITE_KEY_FILE"]))
    entry = EntryRecord(id="odd", name="Odd", category="barred", embedder="sface-2021dec.1", added_at=0.0, templates=())
    entries = {
        "odd-none": entry,
        "odd-short": EntryRecord(**{**codec.to_plain(entry), "templates": (Template(vector=b"xyz", photo="p"),)}),
        "odd-zero": EntryRecord(**{**codec.to_plain(entry), "templates": (Template(vector=bytes(512), photo="p"),)}),
    }
    values = {
        ("cameras", "0.junk"): b"junk",
        ("cameras", "junk"): b"",
        ("cameras", "0.odd"): sealer.seal("cameras", "0.odd", msgpack.packb({"v": 1, "id": 5})),
        ("cameras", "0.rate"): sealer.seal(
            "cameras", "0.rate", codec.encode(CameraRecord(id="rate", partition=0, url="file:/dev/null", fps=0.0))
        ),
        ("watchlist", "junk"): b"junk",
        **{("watchlist", key): sealer.seal("watchlist", key, codec.encode(e)) for key, e in entries.items()},
    }
    async with town.connect("registry") as registry, town.connect("admin") as admin:
        for (bucket, key), value in values.items():
            await Bucket(registry, bucket).put(key, value)
        site = await Bucket(admin, "policy").get("site")
        assert site is not None
        await Bucket(registry, "policy").put("site", msgpack.packb({"v": 1, "id": "test-site", "name": 7}))
        logged = {
            "registry": ["watchlist junk cannot be read"],
            "ingest": ["camera junk cannot be used", "CameraRecord.id", "SiteRecord.name"],
            "match": ["watchlist entry junk cannot be read", "odd-short", "odd-zero", "SiteRecord.name"],
            "detect": ["SiteRecord.name"],
            "embed": ["SiteRecord.name"],
        }
        await town.system.json("watchlist", "list")
        assert "the site is not known yet" in await town.refuses("arm")
        for service, words in logged.items():
            path = town.system.state.logs / f"{service}-0.log"
            for word in words:
                await until(partial(holds, path, word), f"{word!r} in {service}'s log")
        await Bucket(registry, "policy").put("site", site.value)
        try:
            await town.still_alerts()
        finally:
            for bucket, key in values:
                await Bucket(registry, bucket).delete(key)


def holds(path: Path, word: str) -> bool:
    return word in path.read_text()


async def test_who_has_no_right_key_is_told_so(town: Town, tmp_path: Path) -> None:
    keys = {name: tmp_path / name for name in ("text.nk", "empty.nk", "missing.nk")}
    keys["text.nk"].write_text("not a key")
    keys["empty.nk"].touch()
    stranger = bus_server.prepare(tmp_path / "other").key("operator")
    text, empty, missing, folder, wrong = await asyncio.gather(
        town.refuses("camera", "list", "--as", keys["text.nk"]),
        town.refuses("camera", "list", "--as", keys["empty.nk"]),
        town.refuses("camera", "list", "--as", keys["missing.nk"]),
        town.refuses("camera", "list", "--as", tmp_path),
        town.refuses("camera", "list", "--as", stranger),
    )
    assert f"{keys['text.nk']} is no key file; give one with --as" in text
    assert f"{keys['empty.nk']} is no key file" in empty
    assert f"key file {keys['missing.nk']}: No such file" in missing
    assert f"key file {tmp_path}: Is a directory" in folder
    assert "the bus refuses" in wrong
    config = town.system.state.bus_config(None)
    keyless = {"AEGIS_BUS_URL": config.url, "AEGIS_BUS_CA": str(config.ca)}
    stranger_system = System(tmp_path, {**town.system.environ, **keyless})
    assert "the bus refuses" in await stranger_system.command("camera", "list", code=1)
    without_ca = System(tmp_path, {**town.system.environ, **keyless, "AEGIS_BUS_CA": str(tmp_path / "no.pem")})
    assert "no.pem" in await without_ca.command("camera", "list", code=1)


async def test_a_command_without_a_system_says_how_to_start_one(town: Town, tmp_path: Path) -> None:
    stale = json.loads((town.system.state.directory / "running.json").read_text()) | {"port": free_port()}

    async def ask(name: str, content: str | None, words: str) -> None:
        other = System(tmp_path / name, town.system.environ)
        shutil.copytree(town.system.state.bus_directory / "keys", other.state.bus_directory / "keys")
        shutil.copy(town.system.state.bus_directory / "ca.pem", other.state.bus_directory)
        if content is not None:
            (other.state.directory / "running.json").write_text(content)
        said = await other.command("camera", "list", code=1)
        assert words in said
        assert said.count("\n") == 1

    await asyncio.gather(
        ask("none", None, "no system runs with the state directory"),
        ask("stale", json.dumps(stale), "does not answer; is the system running?"),
        ask("list", "[]", "no system runs"),
        ask("map", "{}", "no system runs"),
        ask("text", "not json", "no system runs"),
    )


async def test_a_command_survives_or_explains_the_death_of_the_bus(town: Town) -> None:
    server = await town.system.pid("nats-server")
    os.kill(server, signal.SIGSTOP)
    asking = asyncio.create_task(town.system.command("camera", "add", "late", "file:/missing.mkv", code=None))
    await asyncio.sleep(0.8)
    os.kill(server, signal.SIGKILL)
    await asking

    async def back() -> bool:
        return len(await town.system.services()) == 6

    await until(back, "everything answers again", 15)
    town.pids["nats-server"] = await town.system.pid("nats-server")
    await town.system.command("camera", "remove", "late", code=None)
    await town.still_alerts()


async def test_the_terminal_is_for_people_and_no_secret_is_anywhere(town: Town) -> None:
    shown = town.system.output
    assert "Traceback" not in shown
    repeated = [line for line in set(shown.splitlines()) if shown.count(line) > 3]
    assert repeated == []
    listed = await town.system.command("camera", "list", "--json")
    status = await town.system.command("status", "--json")
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout.decode()
    assert "aegis.ingest" in processes
    files = [path for path in town.system.state.directory.rglob("*") if path.is_file()]
    assert len([path for path in files if path.is_relative_to(town.system.state.logs)]) > 6
    stored = {str(path): path.read_bytes() for path in files}
    for secret in (*SECRETS, "geheim"):
        assert secret not in shown + listed + status
        assert secret not in processes
        assert [path for path, content in stored.items() if secret.encode() in content] == []
    for path, content in stored.items():
        if path.endswith(".log"):
            assert b"Traceback" not in content, path


async def test_what_cannot_be_played_is_told_at_the_end(people: People, tmp_path: Path) -> None:
    (tmp_path / "text.mkv").write_text("a letter")
    clips = {"good": people.clip("eat.mkv"), "gone": tmp_path / "gone.mkv", "text": tmp_path / "text.mkv"}
    cameras = "".join(f'  - {{id: {name}, url: "file:{clip}"}}\n' for name, clip in clips.items())
    system = prepared(tmp_path, f"{SITE}cameras:\n{cameras}")
    await system.start("--until-done")
    assert await system.wait() == 1, system.output
    assert "camera good played to its end" in system.output
    assert "gone was not played: not found" in system.output
    assert "text was not played: " in system.output
    assert "good was not played" not in system.output
    assert "Traceback" not in system.output
