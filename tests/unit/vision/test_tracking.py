from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.vision.faces import Face
from aegis.vision.tracking import Tracker

Clips = dict[str, Any]


def face(x: float, y: float = 200.0, size: float = 50.0) -> Face:
    box = (x - size / 2, y - size * 0.6, size, size * 1.2)
    return Face(box=box, landmarks=np.zeros((5, 2), np.float32), score=0.9)


def test_one_person_in_a_real_clip_is_one_track(clips: Clips) -> None:
    for name, clip in clips.items():
        tracker, ids = Tracker(), set()
        for index in range(0, len(clip.frames), 2):
            ids |= set(tracker.update([s.face for s in clip.sightings if s.frame == index], clip.times[index]))
        assert ids == {1}, name


def test_one_person_is_one_track_at_uneven_looks_and_through_gaps(clips: Clips) -> None:
    random = np.random.default_rng(0)
    for name, clip in clips.items():
        tracker, ids, last = Tracker(), set(), -1.0
        for sighting in clip.sightings:
            if random.random() < 0.4 or sighting.at - last > 0.9:
                ids |= set(tracker.update([sighting.face], sighting.at))
                last = sighting.at
        assert ids == {1}, name


@pytest.mark.parametrize("fps", [3, 5, 10, 30])
@pytest.mark.parametrize("speed", [100, 200])
def test_people_who_cross_keep_their_ids(fps: int, speed: float) -> None:
    """Two faces of 50 px pass each other; while they overlap, the one behind is not detected."""
    for seed in range(10):
        random, tracker = np.random.default_rng(seed), Tracker()
        seen: dict[str, set[int]] = {"left": set(), "right": set()}
        for step in range(int(600 / speed * fps)):
            now = (step + random.uniform(-0.2, 0.2)) / fps
            left, right = 20 + speed * now, 620 - speed * now
            apart = abs(left - right) > 50
            faces = {"left": face(left + random.normal(0, 2), 200 + random.normal(0, 2))}
            if apart:
                faces["right"] = face(right + random.normal(0, 2), 200 + random.normal(0, 2))
            names = random.permutation(list(faces)).tolist()
            for name, identity in zip(names, tracker.update([faces[name] for name in names], now), strict=True):
                if apart:
                    seen[name].add(identity)
        assert sorted(map(len, seen.values())) == [1, 1]
        assert seen["left"] != seen["right"]


@pytest.mark.parametrize("interval", [1 / 30, 0.2, 0.5])
def test_a_walk_across_the_view_is_one_track(interval: float) -> None:
    """A face of 32 px at 1.4 m/s passes at 280 px/s; a look in five is missed."""
    tracker, ids = Tracker(), set()
    random = np.random.default_rng(3)
    for step in range(int(3 / interval)):
        if step < 2 or random.random() > 0.2:
            ids |= set(tracker.update([face(20 + 200 * step * interval, size=32)], step * interval))
    assert ids == {1}


def test_a_new_face_far_away_and_a_jump_are_new_tracks() -> None:
    tracker = Tracker()
    for step in range(5):
        assert tracker.update([face(100)], step / 5) == [1]
    assert tracker.update([face(500), face(100)], 1.0) == [2, 1]
    assert tracker.update([face(900), face(100)], 1.2) == [3, 1]
    assert tracker.live == [1, 2, 3]


def test_a_near_face_is_not_the_far_one_behind_it() -> None:
    tracker = Tracker()
    for step in range(5):
        tracker.update([face(100, size=30)], step / 5)
    assert tracker.update([face(100, size=110)], 1.0) == [2]


def test_a_track_survives_a_gap_of_max_coast_and_no_more() -> None:
    tracker = Tracker(max_coast=1.5)
    tracker.update([face(100)], 0.0)
    tracker.update([face(100)], 0.2)
    assert tracker.update([], 1.0) == []
    assert tracker.ended() == []
    assert tracker.update([face(102)], 1.7) == [1]
    assert tracker.expire(3.1) == []
    assert tracker.live == [1]
    assert tracker.expire(3.3) == [1]
    assert tracker.ended() == [1]
    assert tracker.live == []
    assert tracker.update([face(102)], 3.4) == [2], "an id is never used again"
    assert tracker.ended() == []


def test_update_tells_which_tracks_it_ended() -> None:
    tracker = Tracker()
    tracker.update([face(100)], 0.0)
    assert tracker.update([face(500)], 10.0) == [2]
    assert tracker.ended() == [1]


def test_a_clock_that_stands_still_or_steps_back_breaks_nothing() -> None:
    tracker = Tracker()
    assert [tracker.update([face(100)], now) for now in (5.0, 5.0, 4.9, 5.1)] == [[1]] * 4


faces = st.builds(face, st.floats(-50, 700), st.floats(-50, 500), st.floats(1, 200))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(faces, max_size=6), st.floats(0, 2)), max_size=12))
def test_each_face_gets_one_id_that_no_other_of_its_look_has(looks: list[tuple[list[Face], float]]) -> None:
    tracker, now = Tracker(), 0.0
    ended: set[int] = set()
    known: set[int] = set()
    for found, wait in looks:
        now += wait
        ids = tracker.update(found, now)
        assert len(ids) == len(found) == len(set(ids))
        ended |= set(tracker.ended())
        assert not ended & set(ids), "an ended id came back"
        assert set(ids) <= set(tracker.live)
        assert all(identity > max(known, default=0) for identity in set(ids) - known)
        known |= set(ids)
        assert set(tracker.live) | ended == known


def test_nobody_in_a_crowd_changes_the_id(detect: Callable[..., list[Face]], crowd: Any) -> None:
    """Everyone moves by a few pixels between looks, and the detector gives them in another order."""
    found = detect(crowd)
    tracker = Tracker()
    first = tracker.update(found, 0.0)
    random = np.random.default_rng(0)
    for step in range(1, 10):
        order = random.permutation(len(found))
        shifted = [found[i].box for i in order]
        moved = [
            Face(box=(x + random.normal(0, 2), y + 3 * step, w, h), landmarks=found[0].landmarks, score=0.9)
            for x, y, w, h in shifted
        ]
        assert tracker.update(moved, step / 5) == [first[i] for i in order]
