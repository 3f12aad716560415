"""The registry as a process: cameras, watchlist and state, asked for and refused."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.match.world import MALFORMED
from tests.integration.registry.conftest import Registry, write_site

from aegis.contracts import codec, subjects
from aegis.contracts.messages import (
    AddCamera,
    AddEntry,
    CameraRecord,
    EntryRecord,
    ListAll,
    Remove,
    SetState,
    SiteRecord,
    SiteState,
)
from aegis.runtime import policy
from aegis.runtime.buckets import Bucket

LOBBY = AddCamera(camera="lobby", url="rtsp://guard:hush-hush@10.0.0.7:8554/stream2", name="Lobby", fps=3.0)
LISTED = "rtsp://10.0.0.7:8554/stream2"


async def state(registry: Registry) -> SiteState:
    entry = await Bucket(registry.bus, policy.BUCKET).get(policy.SITE)
    assert entry is not None
    return codec.decode(SiteRecord, entry.value).state


async def stored(registry: Registry, bucket: str) -> dict[str, bytes]:
    """Give every value of a bucket as it lies there."""
    jetstream = registry.bus.client.jetstream()
    info = await jetstream.stream_info(f"KV_{bucket}", subjects_filter=">")
    names = [subject.removeprefix(f"$KV.{bucket}.") for subject in info.state.subjects or {}]
    entries = {name: await Bucket(registry.bus, bucket).get(name) for name in names}
    return {name: entry.value for name, entry in entries.items() if entry}


async def test_a_camera_is_added_listed_without_its_secrets_and_removed(registry: Registry) -> None:
    added = await registry.ask("camera-add", LOBBY)
    listed = await registry.ask("camera-list", ListAll())
    assert listed == [added]
    assert added["url"] == LISTED
    assert (added["id"], added["name"], added["fps"], added["origin"]) == ("lobby", "Lobby", 3.0, "cli")
    (key,) = await stored(registry, "cameras")
    sealed = (await stored(registry, "cameras"))[key]
    record = codec.decode(CameraRecord, registry.process.sealer.open("cameras", key, sealed))
    assert (key, record.url) == (f"{added['partition']}.lobby", LOBBY.url)
    for secret in (b"hush", b"10.0.0.7", b"Lobby"):
        assert secret not in sealed
    assert "there already" in await registry.refused("camera-add", LOBBY)
    await registry.ask("camera-remove", Remove(id="lobby"))
    assert await registry.ask("camera-list", ListAll()) == []
    assert "no camera 'lobby'" in await registry.refused("camera-remove", Remove(id="lobby"))
    assert "hush" not in registry.process.log


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"camera": "Lobby Door"}, "camera 'Lobby Door' is not 1 to 64"),
        ({"camera": ""}, "camera '' is not"),
        ({"camera": "a.b"}, "camera 'a.b' is not"),
        ({"fps": 0.0}, "fps: 0.1 to 30"),
        ({"fps": 31.0}, "fps: 0.1 to 30"),
        ({"fps": float("nan")}, "fps: 0.1 to 30"),
        ({"url": "http://10.0.0.7/"}, "an address begins with one of"),
        ({"url": ""}, "an address begins with one of"),
        ({"url": "rtsp://"}, "followed by a host"),
        ({"url": "rtsp://u:hush[hush@h/"}, "this is not an address"),
        ({"url": "file:"}, "followed by a path"),
        ({"transport": "pigeon"}, "transport: one of tcp, udp"),
        ({"url": "whip:"}, "a whip camera needs a token"),
    ],
)
async def test_a_camera_that_cannot_be_is_refused_with_the_reason(
    registry: Registry, change: dict[str, str], problem: str
) -> None:
    said = await registry.refused("camera-add", replace(LOBBY, **change))  # type: ignore[arg-type]
    assert problem in said
    assert "hush" not in said
    assert await registry.ask("camera-list", ListAll()) == []


@pytest.mark.parametrize("url", ["rtsp://guard:hush@[fe80::1]:8554/a", "rtsp://guard:hush@host:99999/a?key=hush"])
async def test_whatever_the_address_it_is_listed_without_its_password(registry: Registry, url: str) -> None:
    await registry.bus.request(subjects.registry("camera-add"), codec.encode(replace(LOBBY, url=url)), patience=3)
    listed = await registry.ask("camera-list", ListAll())
    assert all("hush" not in str(camera) and camera["url"].startswith("rtsp://") for camera in listed)
    for camera in listed:
        await registry.ask("camera-remove", Remove(id=camera["id"]))


async def test_a_person_is_added_listed_and_removed_and_lies_sealed_in_between(
    registry: Registry, photo: bytes
) -> None:
    added = await registry.ask("watchlist-add", AddEntry(name=" Al Gore ", category="barred", photos=(photo, photo)))
    assert (added["name"], added["category"], added["photos"], added["warnings"]) == ("Al Gore", "barred", 2, [])
    listed = await registry.ask("watchlist-list", ListAll())
    assert [{**entry, "warnings": []} for entry in listed] == [{**added, "resembles_many": False}]
    entries, photos = await stored(registry, "watchlist"), await stored(registry, "photos")
    assert list(entries) == [added["id"]]
    assert sorted(photos) == [f"{added['id']}.1", f"{added['id']}.2"]
    for value in [*entries.values(), *photos.values()]:
        assert not any(plain in value for plain in (b"Gore", b"barred", b"vector", b"\xff\xd8\xff"))
    sealer = registry.process.sealer
    record = codec.decode(EntryRecord, sealer.open("watchlist", added["id"], entries[added["id"]]))
    assert [template.photo for template in record.templates] == sorted(photos)
    assert sealer.open("photos", f"{added['id']}.1", photos[f"{added['id']}.1"]).startswith(b"\xff\xd8\xff")
    await registry.ask("watchlist-remove", Remove(id=added["id"]))
    assert await registry.ask("watchlist-list", ListAll()) == []
    assert await stored(registry, "watchlist") == await stored(registry, "photos") == {}
    assert "no entry" in await registry.refused("watchlist-remove", Remove(id=added["id"]))
    assert "Gore" not in registry.process.log


async def test_a_second_entry_of_a_name_is_added_and_noted(registry: Registry, photo: bytes) -> None:
    first = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo,)))
    second = await registry.ask("watchlist-add", AddEntry(name="al gore", category="barred", photos=(photo,)))
    (note,) = second["warnings"]
    assert note.startswith(f"there is another entry of that name: {first['id']}; ")
    assert len(await registry.ask("watchlist-list", ListAll())) == 2
    other = await registry.ask("watchlist-add", AddEntry(name="Tipper Gore", category="barred", photos=(photo,)))
    assert other["warnings"] == []
    for entry in (first, second, other):
        await registry.ask("watchlist-remove", Remove(id=entry["id"]))


async def test_a_person_who_cannot_be_added_leaves_nothing_behind(registry: Registry, photo: bytes) -> None:
    good = AddEntry(name="Al Gore", category="barred", photos=(photo,))
    for change, problem in (
        ({"name": "  "}, "a name is needed"),
        ({"category": "friends"}, "there is no category 'friends'; known are barred"),
        ({"photos": ()}, "at least one photo is needed"),
        ({"photos": (b"no picture",)}, "photo 1: cannot be read as a picture"),
        ({"photos": (photo, b"")}, "photo 2: cannot be read as a picture"),
    ):
        assert problem in await registry.refused("watchlist-add", replace(good, **change))
    assert await registry.ask("watchlist-list", ListAll()) == []
    assert await stored(registry, "photos") == {}, "not even the first of two photos"


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_request_that_cannot_be_read_is_refused_and_put_aside(registry: Registry, case: str) -> None:
    body, problem = MALFORMED[case]
    for operation in ("camera-add", "watchlist-add", "state-set"):
        before = len([one for one in await registry.dead_letters() if one.subject == subjects.registry(operation)])
        assert "malformed" in await registry.refused_bytes(operation, body)
        assert problem in await registry.dead_letter(subjects.registry(operation), before + 1)
    assert await registry.ask("camera-list", ListAll()) == []
    await registry.unharmed()


async def test_the_state_that_people_set_outlives_a_restart_in_the_same_run_only(registry: Registry) -> None:
    assert await state(registry) is SiteState.ARMED
    assert await registry.ask("state-set", SetState(state=SiteState.DISARMED)) == {"state": "disarmed"}
    assert await state(registry) is SiteState.DISARMED
    await registry.restart()
    assert await registry.ask("camera-list", ListAll()) == [], "it leads again"
    assert await state(registry) is SiteState.DISARMED
    await registry.restart(AEGIS_RUN="second")
    await registry.ask("camera-list", ListAll())
    assert await state(registry) is SiteState.ARMED


async def test_the_site_file_s_cameras_come_and_go_with_it(registry: Registry, photo: bytes) -> None:
    """And templates of another embedder are made anew from the kept photos, in the same restart."""
    directory: Path = registry.process.directory
    await registry.ask("camera-add", LOBBY)
    added = await registry.ask("watchlist-add", AddEntry(name="Al Gore", category="barred", photos=(photo, photo)))
    sealed = (await stored(registry, "watchlist"))[added["id"]]
    sealer = registry.process.sealer
    record = codec.decode(EntryRecord, sealer.open("watchlist", added["id"], sealed))
    templates = (replace(record.templates[0], vector=bytes(64)), replace(record.templates[1], photo="lost"))
    await registry.seal("watchlist", record.id, replace(record, embedder="another.7", templates=templates))
    write_site(directory, 'cameras:\n  - {id: gate, url: "usb:0"}\n  - {id: door, url: "usb:1", fps: 2}\n')
    await registry.restart()
    listed = await registry.ask("camera-list", ListAll())
    assert [(camera["id"], camera["origin"], camera["fps"]) for camera in listed] == [
        ("door", "site", 2.0),
        ("gate", "site", 5.0),
        ("lobby", "cli", 3.0),
    ]
    assert len({camera["partition"] for camera in listed}) == 3
    (entry,) = await registry.ask("watchlist-list", ListAll())
    assert (entry["embedder"], entry["photos"], entry["added_at"]) == (record.embedder, 1, record.added_at)
    sealed = (await stored(registry, "watchlist"))[added["id"]]
    again = codec.decode(EntryRecord, sealer.open("watchlist", added["id"], sealed))
    assert again.name == "Al Gore"
    assert len(again.templates[0].vector) == len(record.templates[0].vector)
    write_site(directory, 'cameras:\n  - {id: gate, url: "usb:5"}\n')
    await registry.restart()
    listed = await registry.ask("camera-list", ListAll())
    assert [(camera["id"], camera["url"]) for camera in listed] == [("gate", "usb:5"), ("lobby", LISTED)]
    write_site(directory)
    await registry.restart()
    assert [camera["id"] for camera in await registry.ask("camera-list", ListAll())] == ["lobby"]


async def test_a_site_file_that_is_wrong_keeps_it_from_starting_with_the_place(registry: Registry) -> None:
    process = registry.process
    process.stop()
    write_site(process.directory, "cameras:\n  - {id: gate}\n")
    process.start()
    assert await asyncio.to_thread(process.wait) == 2
    assert "site.yaml:3" in process.log
    write_site(process.directory)
    process.start()
    await registry.ready()
