"""What ingest decides: which frames to send, how small, when to try a camera again, and what may be said of it."""

from collections.abc import Callable
from urllib.parse import urlsplit

MAX_WIDTH = 1280
QUALITIES = (85, 70, 55, 40)
DIVISORS = (1, 2, 4, 8)
FIRST_RETRY, LAST_RETRY = 0.5, 15.0
STEADY_SECONDS = 10.0
"""A camera that delivered for this long is tried again at once, as if it had never failed."""
EARLY_SECONDS = 0.5
"""A file whose pictures end this long before its length says so was cut off."""

_SLACK = 0.05
SETTLING = 16
"""Frames in which most of the way to a common beat is gone, so that none is missed for it and none is extra."""


class Pace:
    """Picks at most ``rate`` frames a second, evenly, from a stream of any rate.

    Told when frames came by the wall clock, it comes to pick those just behind the same beats as every other one of
    that rate: a detector that is awake, with its network in the processor's cache, searches what comes together sooner.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._due: float | None = None
        self._last = 0.0
        self._ahead: float | None = None  # the wall's clock, of the stream's

    def take(self, when: float, came: float | None = None) -> bool:
        """Tell whether to take the frame at ``when`` seconds on the stream's own clock, which may jump.

        ``came`` is when it did by the wall clock.
        """
        if self._due is None or when < self._last:
            self._due, self._ahead = when, None
        # Time stamps are rounded; without slack every other frame that is due would come a hair too early.
        due = when >= self._due - _SLACK * self._interval
        self._last = when
        if due:
            late = when - self._due
            self._due = (self._due if late < self._interval else when) + self._interval
            if came is not None:
                self._due -= self._off_beat(came - when) / SETTLING
        return due

    def _off_beat(self, ahead: float) -> float:
        """Give how long after a beat of the wall clock the next frame is due, or, negative, before it."""
        # What a network holds up now and then must not shake it.
        self._ahead = ahead if self._ahead is None else self._ahead + (ahead - self._ahead) / SETTLING
        half = self._interval / 2
        return ((self._due or 0.0) + self._ahead + half) % self._interval - half


def backoff(failures: int, jitter: float) -> float:
    """Give the seconds to wait after so many ``failures`` in a row (1 or more); ``jitter`` is random, 0 to 1."""
    longest = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 16))
    return max(FIRST_RETRY, longest * (0.5 + 0.5 * jitter))


def target_size(width: int, height: int, divisor: int = 1) -> tuple[int, int]:
    """Give the size to send a picture in: at most :data:`MAX_WIDTH` wide, of the same shape, divided."""
    sent = min(width, MAX_WIDTH)
    return max(1, sent // divisor), max(1, round(height * sent / width / divisor))


def fit(encode: Callable[[int, int], bytes], limit: int) -> bytes | None:
    """Encode so that the result is at most ``limit`` bytes; ``encode`` takes a divisor of the size and a quality.

    Quality goes first, since a face needs its pixels more; None if even the smallest is too large.
    """
    for divisor in DIVISORS:
        for quality in QUALITIES:
            jpeg = encode(divisor, quality)
            if len(jpeg) <= limit:
                return jpeg
    return None


def ended_early(played: float, length: float | None) -> str:
    """Say that a file was cut off, if it was: ``played`` of ``length`` seconds, which not every file knows."""
    if length is None or length - played <= EARLY_SECONDS:
        return ""
    return f"ended early: {played:.1f} of {length:.1f} s could be played"


def redact(url: str) -> str:
    """Give what may be said of an address: no user, password, path or query, any of which may be a secret.

    A file's path and a device are no secrets.
    """
    parts = urlsplit(url)
    if parts.scheme in ("file", "usb", "whip"):
        return url
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}"


def is_file(url: str) -> bool:
    return url.startswith("file:")


def is_whip(url: str) -> bool:
    return url.startswith("whip:")


def file_path(url: str) -> str:
    """Give the path of a ``file:`` address."""
    return url.removeprefix("file://").removeprefix("file:")


def device_path(url: str) -> str:
    """Give the path of a ``usb:`` address, which may also be a number."""
    device = url.removeprefix("usb:")
    return f"/dev/video{device}" if device.isdecimal() else device
