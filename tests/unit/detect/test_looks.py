"""Which looks of a camera are sent, and for how long the pictures behind them are kept."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from tests.unit.detect.conftest import Clip, Image, captured

from aegis.contracts.messages import Look
from aegis.detect.core import KEEP_SECONDS, WHOLE_SECONDS, CameraLooks
from aegis.detect.finder import Finder
from aegis.vision.faces import Face
from aegis.vision.pictures import Coloured, Planar

T0 = 1000.0


class View:
    """One real frame with one face, seen again and again, as well or as badly as a test wants.

    The light falls on it from another side every 0.2 s: a face that keeps still in one light is sent less often.
    """

    def __init__(self, image: Image, face: Face) -> None:
        self.image, self.face = image, face
        self.looks = CameraLooks()
        left, _, width, _ = face.box
        light = 1.15 - 0.3 * (np.arange(image.shape[1]) - left) / width
        self._lit = np.clip(image * np.clip(light, 0.3, 1.7)[:, None], 0, 255).astype(np.uint8)

    def lit(self, after: float) -> Image:
        return self._lit if round(after * 10) // 2 % 2 else self.image

    def see(self, after: float, confidence: float = 0.86) -> list[Look]:
        """Show it ``after`` seconds; the detector's ``confidence`` makes its quality."""
        image = self.lit(after)
        frame = captured(image, T0 + after)
        return list(self.looks.see(frame, Coloured(image), [replace(self.face, score=confidence)]).looks)

    def see_nobody(self, after: float) -> list[Look]:
        return list(self.looks.see(captured(self.image, T0 + after), Coloured(self.image), []).looks)

    def gathered(self) -> None:
        """Let the first looks of the track go out, the last of them at 0.6 s."""
        assert [look.look for n in range(8) for look in self.see(n / 10)] == [1, 2, 3, 4]


@pytest.fixture
def view(clip: Clip, finder: Finder) -> View:
    image = clip("eat.mkv")[0]
    (face,) = finder.find(Coloured(image))
    return View(image, face)


def test_the_first_usable_look_goes_at_once(view: View) -> None:
    (look,) = view.see(0)
    assert (look.track, look.look) == (1, 1)
    assert look.captured_at == look.first_captured_at == look.seen_at == T0
    assert len(look.chip) == 112 * 112 * 3


def test_a_few_more_are_gathered_and_then_only_a_better_one_goes(view: View) -> None:
    sent = [(n / 10, look) for n in range(12) for look in view.see(n / 10)]
    assert [after for after, _ in sent] == [0, 0.2, 0.4, 0.6]
    assert {look.first_captured_at for _, look in sent} == {T0}
    (better,) = view.see(1.3, confidence=0.93)
    assert (better.look, better.captured_at) == (5, T0 + 1.3)
    assert better.quality > 1.1 * sent[0][1].quality


def test_a_face_that_keeps_still_is_sent_less_often_and_twice_within_a_second(view: View) -> None:
    sent = []
    for n in range(12):
        frame = captured(view.image, T0 + n / 10)
        sent += [look.look for look in view.looks.see(frame, Coloured(view.image), [view.face]).looks]
        assert len(sent) == 1 + (n >= 5) + (n >= 10)


def test_after_a_silent_second_the_best_view_since_goes_and_then_the_best_look_again_too(view: View) -> None:
    (best, *_) = view.see(0, confidence=0.90)
    for n in range(1, 8):
        view.see(n / 10)
    for n in range(8, 16):
        assert view.see(n / 10, confidence=0.88 if n == 12 else 0.86) == []
    (newer,) = view.see(1.6)
    assert (newer.look, newer.captured_at, newer.seen_at) == (5, T0 + 1.2, T0 + 1.6)
    assert best.quality > newer.quality > 0
    for n in range(17, 26):
        assert view.see(n / 10) == []
    again, newest = view.see(2.6)
    assert again == replace(best, seen_at=T0 + 2.6)
    assert newest.look == 6


def test_a_look_again_says_when_the_person_was_last_in_view(view: View) -> None:
    view.gathered()
    for n in range(8, 25):
        view.see(n / 10)
    again, newer = view.see_nobody(2.7)
    assert again.seen_at == newer.seen_at == T0 + 2.4


def test_out_of_sight_begins_anew(view: View) -> None:
    view.gathered()
    view.see_nobody(1.0)
    (look,) = view.see(1.3)
    assert (look.track, look.look) == (1, 5), "the same track, and no number is used twice"
    assert look.captured_at == look.first_captured_at == look.seen_at == T0 + 1.3


def test_a_frame_that_was_missed_does_not_begin_anew(view: View) -> None:
    view.gathered()
    assert view.see(1.2) == []


def test_a_track_ends_and_the_next_one_is_another(view: View) -> None:
    view.see(0)
    view.looks.idle(T0 + 1.4)
    assert view.looks.live == 1
    view.looks.idle(T0 + 1.6)
    assert view.looks.live == 0
    (look,) = view.see(2.0)
    assert (look.track, look.look, look.first_captured_at) == (2, 1, T0 + 2.0)


def test_a_picture_is_kept_for_ten_seconds_after_it_was_last_sent(view: View) -> None:
    (best, *_) = view.see(0, confidence=0.90)
    for n in range(1, 27):
        view.see(n / 10)
    kept = view.looks.kept(1, best.look)
    assert kept is not None
    assert (kept.chip, kept.sent_at, kept.box) == (best.chip, T0 + 2.6, view.face.box)
    assert kept.picture == captured(view.image, T0).jpeg
    view.looks.forget(T0 + 0.6 + KEEP_SECONDS + 0.01)
    assert view.looks.kept(1, 4) is None, "sent once, at 0.6 s"
    assert view.looks.kept(1, best.look) is not None, "sent again at 2.6 s"
    view.looks.idle(T0 + 2.6 + KEEP_SECONDS + 0.01)
    assert view.looks.kept(1, best.look) is None
    assert view.looks._kept == {}
    assert view.looks._tracks == {}


def test_a_new_frame_makes_old_pictures_go(view: View) -> None:
    view.see(0)
    view.see_nobody(KEEP_SECONDS + 0.1)
    assert view.looks.kept(1, 1) is None


def test_planes_are_kept_whole_for_two_seconds_and_as_they_were_searched_until_ten(view: View) -> None:
    planes = Planar(cv2.cvtColor(view.image, cv2.COLOR_BGR2YUV_I420).astype(np.uint8))
    planes.at_most(320)
    frame = replace(captured(view.image, T0), jpeg=b"")
    (look,) = view.looks.see(frame, planes, [view.face]).looks
    for after, picture in ((0, planes), (WHOLE_SECONDS - 0.1, planes), (WHOLE_SECONDS + 0.1, planes.thinned)):
        view.looks.forget(T0 + after)
        kept = view.looks.kept(look.track, look.look)
        assert kept is not None
        assert kept.picture is picture
        assert kept.width == view.image.shape[1]
    view.looks.forget(T0 + KEEP_SECONDS + 0.1)
    assert view.looks.kept(look.track, look.look) is None


def test_of_a_flawed_look_nothing_is_sent_or_kept(view: View) -> None:
    dark = np.asarray(view.image // 20, np.uint8)
    for n in range(30):
        seen = view.looks.see(captured(dark, T0 + n / 10), Coloured(dark), [view.face])
        assert seen.looks == ()
        assert seen.flaws == {"dark": 1}
    point = replace(view.face, landmarks=np.full((5, 2), 50, np.float32))
    seen = view.looks.see(captured(view.image, T0 + 3), Coloured(view.image), [point])
    assert (seen.looks, seen.flaws) == ((), {"landmarks": 1})
    assert view.looks._kept == {}
    assert all(track.best is None and track.unsent is None for track in view.looks._tracks.values())


def test_a_flawed_look_does_not_use_up_the_first_good_one(view: View) -> None:
    dark = np.asarray(view.image // 20, np.uint8)
    view.looks.see(captured(dark, T0), Coloured(dark), [view.face])
    (look,) = view.see(0.1)
    assert look.look == 1
    assert look.first_captured_at == T0 + 0.1


@pytest.mark.parametrize("pause", [0.1, 0.8], ids=["at once", "after a moment"])
def test_two_people_who_follow_each_other_through_one_place_are_both_sent(
    clip: Clip, finder: Finder, pause: float
) -> None:
    room = np.full((720, 1280, 3), 128, np.uint8)
    looks = CameraLooks()
    sent: list[Look] = []
    now, entered = T0, []
    for name in ("eat.mkv", "bird.mkv"):
        frames = clip(name)
        x, y = finder.find(Coloured(frames[0]))[0].centre
        left, top = int(640 - x), int(360 - y)
        entered.append(now)
        for number in range(28):
            image = room.copy()
            frame = frames[number % len(frames)]
            rows, columns = slice(max(top, 0), min(top + 480, 720)), slice(max(left, 0), left + 640)
            image[rows, columns] = frame[rows.start - top : rows.stop - top, columns.start - left :]
            sent.extend(looks.see(captured(image, now), Coloured(image), finder.find(Coloured(image))).looks)
            now += 0.1
        now += pause - 0.1
    times = [look.captured_at for look in sent if look.captured_at == look.seen_at]
    assert times[0] == pytest.approx(T0, abs=0.35)
    assert all(later >= earlier for earlier, later in pairwise(times))
    second = [look for look in sent if look.captured_at >= entered[1]]
    assert second, "the second person was never sent"
    soon = 0.35 if pause > 0.55 else 2.1
    assert second[0].seen_at - entered[1] < soon


def test_whoever_steps_into_the_place_of_another_is_sent_at_once(clip: Clip, finder: Finder, view: View) -> None:
    view.gathered()
    other = clip("again.mkv")[10]
    (face,) = finder.find(Coloured(other))
    (look,) = view.looks.see(captured(other, T0 + 0.9), Coloured(other), [face]).looks
    assert (look.track, look.look) == (1, 5), "the same place, so the same track"
    assert look.first_captured_at == T0 + 0.9
    (again,) = view.see(1.0)
    assert again.look == 6
