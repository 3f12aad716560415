"""Where a camera goes, what the site file changes, and which face a photo is of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts.messages import AddCamera, CameraRecord, Category, SiteRecord, SiteState
from aegis.contracts.subjects import PARTITIONS
from aegis.registry import core
from aegis.registry.core import EnrolmentError
from aegis.vision.faces import Face


def face(width: float, interocular: float | None = None, *, x: float = 0) -> Face:
    eyes = width / 2 if interocular is None else interocular
    points = np.array([[x, 10], [x + eyes, 10], [x + eyes / 2, 20], [x, 30], [x + eyes, 30]], np.float32)
    return Face(box=(x, 0, width, 1.3 * width), landmarks=points, score=0.9)


@given(st.lists(st.integers(0, PARTITIONS - 1), max_size=200))
def test_the_least_used_partition_has_fewest_and_is_the_lowest(taken: list[int]) -> None:
    chosen = core.least_used(taken)
    counts = [taken.count(partition) for partition in range(PARTITIONS)]
    assert counts[chosen] == min(counts)
    assert all(counts[lower] > counts[chosen] for lower in range(chosen))


def test_cameras_are_spread_over_every_partition() -> None:
    known: dict[str, CameraRecord] = {}
    for number in range(2 * PARTITIONS):
        record = core.place_camera(AddCamera(camera=f"c{number}", url="usb:0"), known, "cli")
        known[record.id] = record
    partitions = [record.partition for record in known.values()]
    assert sorted(partitions) == sorted(2 * list(range(PARTITIONS)))
    del known["c5"]
    assert core.place_camera(AddCamera(camera="new", url="usb:0"), known, "cli").partition == 5


def test_a_camera_keeps_its_partition_and_takes_everything_else() -> None:
    known = {"a": CameraRecord(id="a", partition=9, url="usb:0"), "b": CameraRecord(id="b", partition=0, url="usb:1")}
    added = AddCamera(camera="a", url="rtsp://x", name="Door", fps=3.0, loop=True, transport="udp", token="t")
    record = core.place_camera(added, known, "site")
    assert record == CameraRecord(
        id="a", partition=9, url="rtsp://x", name="Door", fps=3.0, loop=True, transport="udp", token="t", origin="site"
    )
    assert core.place_camera(replace(added, name=""), known, "cli").name == "a"
    assert core.camera_key(record) == "9.a"


def test_the_site_file_s_cameras_come_change_and_go_and_people_s_stay() -> None:
    first = [AddCamera(camera=name, url=f"file:/{name}") for name in ("a", "b", "c")]
    plan = core.plan_cameras(first, {})
    assert [record.id for record in plan.write] == ["a", "b", "c"]
    assert len({record.partition for record in plan.write}) == 3
    assert {record.origin for record in plan.write} == {"site"}
    assert plan.remove == ()
    known = {record.id: record for record in plan.write}
    known["mine"] = CameraRecord(id="mine", partition=40, url="usb:0")
    assert core.plan_cameras(first, known) == core.SitePlan(write=(), remove=())
    second = [replace(first[1], fps=2.0), first[2]]
    plan = core.plan_cameras(second, known)
    assert [(record.id, record.fps, record.partition) for record in plan.write] == [("b", 2.0, known["b"].partition)]
    assert [record.id for record in plan.remove] == ["a"]
    assert [record.id for record in core.plan_cameras([], known).remove] == ["a", "b", "c"]


def test_a_camera_of_people_s_that_the_site_file_names_becomes_the_file_s() -> None:
    known = {"a": CameraRecord(id="a", partition=3, url="usb:0", name="a")}
    (record,) = core.plan_cameras([AddCamera(camera="a", url="usb:0")], known).write
    assert (record.origin, record.partition) == ("site", 3)


RECORD = SiteRecord(
    id="s", name="S", kind="venue", state=SiteState.ARMED, run="r1", categories={"barred": Category()}
)  # fmt: skip


def test_a_state_that_people_set_stays_within_the_run_and_no_longer() -> None:
    disarmed = replace(RECORD, state=SiteState.DISARMED)
    assert core.merge_site(RECORD, None) == RECORD
    assert core.merge_site(RECORD, disarmed) == disarmed
    assert core.merge_site(replace(RECORD, run="r2"), disarmed) == replace(RECORD, run="r2")
    nameless = replace(RECORD, run="")
    assert core.merge_site(nameless, replace(disarmed, run="")) == nameless, "runs without a name are never the same"


def test_everything_but_the_state_is_the_site_file_s() -> None:
    new = SiteRecord(
        id="s2", name="New", kind="demo", jurisdiction="US-PA", state=SiteState.ARMED, run="r1", categories={}
    )
    merged = core.merge_site(new, replace(RECORD, state=SiteState.DISARMED))
    assert merged == replace(new, state=SiteState.DISARMED)


def test_the_largest_face_is_meant() -> None:
    small, large = face(30, x=300), face(100)
    assert core.choose_face([small, large], "p") == (large, [small])
    assert core.choose_face([large], "p") == (large, [])


@pytest.mark.parametrize(("width", "refused"), [(39, False), (41, True), (100, True)])
def test_a_second_face_of_similar_size_is_unclear(width: float, refused: bool) -> None:
    faces = [face(100), face(width, x=300)]
    if refused:
        with pytest.raises(EnrolmentError, match=r"^p: 2 faces were found"):
            core.choose_face(faces, "p")
    else:
        assert core.choose_face(faces, "p")[0] is faces[0]


def test_none_and_too_small_are_refused() -> None:
    with pytest.raises(EnrolmentError, match=r"^p: no face was found"):
        core.choose_face([], "p")
    with pytest.raises(EnrolmentError, match=r"^p: the face is too small \(15 pixels .* at least 16"):
        core.choose_face([face(40, 15.4)], "p")
    assert core.choose_face([face(40, 16.0)], "p")
