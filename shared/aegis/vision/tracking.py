"""Tracking: which faces of successive looks at a scene are one person, at any rate of looks from 2 to 30 a second.

Each track is a Kalman filter of constant velocity in position and log size, with the white-noise acceleration model of
Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation" (2001), chapter 6, whose gate
widens with the time since the last look by itself. Lengths are in face sizes, so near and far people are alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aegis.vision.faces import Box, Face

MEASUREMENT = 0.1
"""Standard deviation of a detected centre, in face sizes; hands before the face and turning heads move the box."""
SPEED = 3.5
"""Standard deviation of a new face's speed, in face sizes a second: a face is 16 cm and people walk 1.4 m/s, so
passing across the view is 9, rarely."""
ACCELERATION = 2.0
"""Spectral density of acceleration, in square face sizes per cubic second: people stop and start within a second.
From 0.5 to 6 it made hardly any difference to two faces that cross, at 40 to 300 px/s and 2 to 30 looks a second."""
SIZE_UNIT = 0.5
"""One standard deviation of log size is this share of one of position: a size changes more slowly than a place."""
GATE = 25.0
"""Squared normalised distance up to which a face can be the track's: five standard deviations, since at three a
person looked at thirty times a second for half a minute is lost to chance."""
REACH = 4.0
"""And never further than this from the predicted place, in face sizes: a jump across the view is another person."""


class _Track:
    """One person's filter. State: x, y in pixels and log size, with their rates; one covariance serves all three."""

    def __init__(self, identity: int, measured: NDArray[np.float64], now: float) -> None:
        self.identity = identity
        self.seen = now
        self.place = measured
        self.rate = np.zeros(3)
        self.covariance = np.diag([MEASUREMENT**2, SPEED**2])

    def predict(self, now: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the place and the covariance at ``now``."""
        dt = max(now - self.seen, 0.0)
        step = np.array([[1.0, dt], [0.0, 1.0]])
        noise = ACCELERATION * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        return self.place + self.rate * dt, step @ self.covariance @ step.T + noise

    def costs(self, places: NDArray[np.float64], now: float) -> NDArray[np.float64]:
        """Negative log likelihood, up to a constant, that each of ``places`` (n, 3) is this; infinite if gated."""
        place, covariance = self.predict(now)
        variance = covariance[0, 0] + MEASUREMENT**2
        miss = (places - place) / _unit(place)
        distances = (miss**2).sum(axis=1) / variance
        gated = (distances > GATE) | (np.hypot(miss[:, 0], miss[:, 1]) > REACH)
        # The logarithm keeps a long unseen track, which could be anywhere, from claiming another's face.
        return np.where(gated, np.inf, distances + 3 * np.log(variance))

    def correct(self, measured: NDArray[np.float64], now: float) -> None:
        """Take a face ``measured`` at ``now`` as this track's."""
        place, covariance = self.predict(now)
        gain = covariance[:, 0] / (covariance[0, 0] + MEASUREMENT**2)
        miss = measured - place
        self.place = place + gain[0] * miss
        self.rate = self.rate + gain[1] * miss
        self.covariance = covariance - np.outer(gain, covariance[0])
        self.seen = max(now, self.seen)


class Tracker:
    """The faces of one camera. Times are seconds of any one clock; ids count from 1 and are never used again."""

    def __init__(self, max_coast: float = 1.5) -> None:
        """Keep a track for ``max_coast`` seconds after its last look."""
        self._max_coast = max_coast
        self._tracks: list[_Track] = []
        self._ended: list[int] = []
        self._next = 1

    @property
    def live(self) -> list[int]:
        """Ids of the tracks that are seen or may come back, oldest first."""
        return [track.identity for track in self._tracks]

    def ended(self) -> list[int]:
        """Ids that the latest ``update`` or ``expire`` dropped."""
        return list(self._ended)

    def expected(self, now: float) -> list[Box]:
        """Give where each face that is followed should be at ``now``, as a square of its size."""
        places = [track.predict(now)[0] for track in self._tracks]
        sides = [float(np.exp(size)) for *_, size in places]
        return [(x - side / 2, y - side / 2, side, side) for (x, y, _), side in zip(places, sides, strict=True)]

    def update(self, faces: Sequence[Face], now: float) -> list[int]:
        """Take all faces of one look at ``now``; give the track id of each, in the same order."""
        self.expire(now)
        places = np.array([_measure(face) for face in faces]).reshape(-1, 3)
        track_of = self._assign(places, now)
        for f, place in enumerate(places):
            if f in track_of:
                track_of[f].correct(place, now)
            else:
                track_of[f] = _Track(self._next, place, now)
                self._tracks.append(track_of[f])
                self._next += 1
        return [track_of[f].identity for f in range(len(faces))]

    def expire(self, now: float) -> list[int]:
        """Drop the tracks that were not seen for longer than ``max_coast``; give their ids."""
        self._ended = [track.identity for track in self._tracks if now - track.seen > self._max_coast]
        self._tracks = [track for track in self._tracks if now - track.seen <= self._max_coast]
        return self.ended()

    def _assign(self, places: NDArray[np.float64], now: float) -> dict[int, _Track]:
        """Give faces, by index, to tracks: of all pairs the likeliest first, each face and each track once."""
        costs = [track.costs(places, now) for track in self._tracks]
        pairs = sorted((float(c), t, f) for t, row in enumerate(costs) for f, c in enumerate(row) if c < np.inf)
        track_of: dict[int, _Track] = {}
        taken: set[int] = set()
        for _, t, f in pairs:
            if t not in taken and f not in track_of:
                taken.add(t)
                track_of[f] = self._tracks[t]
        return track_of


def _measure(face: Face) -> NDArray[np.float64]:
    """Centre in pixels and log of the size (geometric mean of the box's sides) in pixels."""
    size = max(face.box[2] * face.box[3], 1.0) ** 0.5
    return np.array([*face.centre, np.log(size)])


def _unit(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give one face size in each coordinate of ``place``."""
    size = np.exp(place[2])
    return np.array([size, size, SIZE_UNIT])
