"""Where a camera goes, and what the site file changes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.contracts.messages import AddCamera, CameraRecord, Category, SiteRecord, SiteState
from aegis.contracts.subjects import EDGE_PARTITIONS, MOST_EDGES, PARTITIONS
from aegis.registry import core


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


def test_an_edge_has_partitions_of_its_own_behind_those_of_the_centre() -> None:
    known: dict[str, CameraRecord] = {}
    for number in range(120):
        edge = ("", "gym", "hall")[number % 3]
        record = core.place_camera(AddCamera(camera=f"c{number}", url="usb:0", edge=edge), known, "cli")
        known[record.id] = record
    of = {edge: {r.partition for r in known.values() if r.edge == edge} for edge in ("", "gym", "hall")}
    assert max(of[""]) < PARTITIONS
    assert of["gym"] == set(range(PARTITIONS, PARTITIONS + EDGE_PARTITIONS))
    assert of["hall"] == set(range(PARTITIONS + EDGE_PARTITIONS, PARTITIONS + 2 * EDGE_PARTITIONS))
    assert core.camera_key(known["c1"]) == f"{known['c1'].partition}.c1.gym"


def test_there_are_only_so_many_edges() -> None:
    known: dict[str, CameraRecord] = {}
    for number in range(MOST_EDGES):
        added = AddCamera(camera=f"c{number}", url="usb:0", edge=f"e{number}")
        known[f"c{number}"] = core.place_camera(added, known, "cli")
    assert max(record.partition for record in known.values()) < PARTITIONS + EDGE_PARTITIONS * MOST_EDGES
    with pytest.raises(core.RequestError, match="'more' would be one more"):
        core.place_camera(AddCamera(camera="c", url="usb:0", edge="more"), known, "cli")


def test_a_camera_that_goes_to_an_edge_leaves_its_old_key() -> None:
    (before,) = core.plan_cameras([AddCamera(camera="a", url="usb:0")], {}).write
    plan = core.plan_cameras([AddCamera(camera="a", url="usb:0", edge="gym")], {"a": before})
    assert [(record.edge, record.partition) for record in plan.write] == [("gym", PARTITIONS)]
    assert plan.remove == (before,)


RECORD = SiteRecord(
    id="s", name="S", kind="venue", state=SiteState.ARMED, run="r1", categories={"barred": Category()}
)  # fmt: skip


def test_a_state_that_people_set_stays_within_the_run_and_no_longer() -> None:
    disarmed = replace(RECORD, state=SiteState.DISARMED)
    assert core.merge_site(RECORD, None, 7.0) == replace(RECORD, state_since=7.0)
    assert core.merge_site(RECORD, disarmed, 7.0) == disarmed
    assert core.merge_site(replace(RECORD, run="r2"), disarmed, 7.0) == replace(RECORD, run="r2", state_since=7.0)
    nameless, before = replace(RECORD, run=""), replace(disarmed, run="")
    merged = core.merge_site(nameless, before, 7.0)
    assert merged == replace(nameless, state_since=7.0), "runs without a name are never the same"


def test_a_state_has_its_time_from_when_it_changed() -> None:
    shadow = core.in_state(RECORD, SiteState.SHADOW, 7.0)
    assert shadow == replace(RECORD, state=SiteState.SHADOW, state_since=7.0)
    assert core.in_state(shadow, SiteState.SHADOW, 9.0) == shadow
    assert core.merge_site(replace(shadow, run="r2", state_since=0.0), shadow, 9.0) == replace(shadow, run="r2")


def test_everything_but_the_state_is_the_site_file_s() -> None:
    new = SiteRecord(
        id="s2", name="New", kind="demo", jurisdiction="US-PA", state=SiteState.ARMED, run="r1", categories={}
    )
    merged = core.merge_site(new, replace(RECORD, state=SiteState.DISARMED), 7.0)
    assert merged == replace(new, state=SiteState.DISARMED)


def test_a_threshold_that_was_derived_stays_when_its_category_becomes_the_canary_s() -> None:
    known = replace(RECORD, categories={"staff": Category(threshold=0.61, accepted=1.0)})
    wanted = replace(RECORD, categories={"staff": Category(accepted=1.0, canary=True)})
    merged = core.merge_site(wanted, known, 7.0).categories["staff"]
    assert merged == Category(threshold=0.61, accepted=1.0, canary=True)
