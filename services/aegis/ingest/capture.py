"""The camera itself: PyAV reads a file, an RTSP stream or a USB camera in one thread and hands on the newest frame."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from aegis.contracts.messages import CameraRecord, SharedPicture
from aegis.ingest import core
from aegis.ingest.decoding import Decoder
from aegis.ingest.packets import Packet

OPEN_SECONDS = READ_SECONDS = 5.0
STALLED = f"stalled: nothing came for {READ_SECONDS:.0f} s"
LOOK_SECONDS = 0.5
LATE_SECONDS = 1.0
"""A file that fell behind by more goes on from where it is instead of hurrying."""
STOP_SECONDS = 1.0
LOW_LATENCY = {"fflags": "nobuffer", "analyzeduration": "300000", "probesize": "65536"}
NO_PICTURES = ("tty",)
"""FFmpeg would play a text file as video of its letters."""


class CaptureError(Exception):
    """Why a camera does not deliver, in words for people and without its address."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame that was picked, and what is sent of it: None while the site does not want frames."""

    captured_at: float
    media_time: float | None
    packed: bytes | SharedPicture | None


class Watcher(Protocol):
    """Who is told how a capture goes. All of it may be called from the capturing thread."""

    @property
    def wanted(self) -> bool:
        """Whether frames are sent at all."""

    def pack(self, frame: VideoFrame) -> bytes | SharedPicture | None:
        """Make of a frame what is sent of it; None while none is wanted."""

    def drop(self, reason: str) -> None:
        """Count a frame that was overtaken by a newer one before it was asked for."""

    def gated(self, reason: str, pictures: int) -> None:
        """Count pictures that were not worth a look."""

    def packets_tell(self, tell: bool) -> None:  # noqa: FBT001 - it is all there is to say
        """Take note of whether the sizes of packets tell if anything moves."""


class Capture:
    """One attempt at a camera, in a thread of its own that is abandoned if it does not end."""

    def __init__(self, record: CameraRecord, watcher: Watcher) -> None:
        self._record = record
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._newest: Picture | None = None
        self._outcome: str | CaptureError | None = None
        self._live = not core.is_file(record.url)
        # FFmpeg's own limits come twice as late, and sound that goes on hides a picture that stands still.
        self._deadline = time.monotonic() + 2 * OPEN_SECONDS
        self._silence = f"timed out: no picture within {2 * OPEN_SECONDS:.0f} s"
        self._changed = asyncio.Event()
        self._finished = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture-{record.id}", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._finished.wait()

    async def next(self) -> Picture | str:
        """Give the newest frame, waiting for it; or, once a file has ended, what is to say about it.

        Raises:
            CaptureError: the camera does not deliver.

        """
        while True:
            with self._lock:
                picture, self._newest = self._newest, None
            if picture is not None:
                return picture
            if isinstance(self._outcome, CaptureError):
                raise self._outcome
            if self._outcome is not None:
                return self._outcome
            if self._live and time.monotonic() > self._deadline:
                raise CaptureError(self._silence)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._live else None):
                    await self._changed.wait()
            self._changed.clear()

    def _run(self) -> None:
        outcome: str | CaptureError
        try:
            outcome = self._play()
        except CaptureError as error:
            outcome = error
        except av.FFmpegError as error:
            outcome = CaptureError(explain(error) + self._which(error))
        except Exception as error:  # noqa: BLE001 - a camera's bytes must not end the service; its text may hold the URL
            outcome = CaptureError(f"cannot be read ({type(error).__name__})")
        self._tell(self._finish, outcome)

    def _finish(self, outcome: str | CaptureError) -> None:
        self._outcome = outcome
        self._changed.set()
        self._finished.set()

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone when an abandoned thread wakes up
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, frame: VideoFrame, captured_at: float, media_time: float | None) -> None:
        packed = self._watcher.pack(frame)
        with self._lock:
            overtaken, self._newest = self._newest, Picture(captured_at, media_time, packed)
            self._tell(self._changed.set)
        if overtaken is not None:
            self._watcher.drop("slow")

    def _which(self, error: av.FFmpegError) -> str:
        """Name the file or device that is missing; an address is not named, since it may hold a password."""
        if not isinstance(error, av.error.FileNotFoundError):
            return ""
        return f": {_address(self._record)[0].removeprefix('file:')}"

    def _play(self) -> str:
        if core.is_file(self._record.url):
            return self._play_file()
        self._play_live()
        return ""

    def _play_file(self) -> str:
        start = time.monotonic()
        position = 0.0
        """Of the file's beginning in the play, which for a loop is all its rounds."""
        while True:
            media_time = end = 0.0
            first: float | None = None
            with _open(self._record) as (container, stream):
                length, lasts = _length(container, stream), _frame_seconds(stream)
                time_base = float(stream.time_base or 0)
                decoder = self._decoder(stream)
                for packet in _packets(container, stream):
                    when = _shown(packet, time_base)
                    if when is not None:
                        first = when if first is None else first
                        # No camera sends a picture before it was taken, though it may send earlier ones after it.
                        media_time = max(media_time, when - first)
                        end = media_time + lasts
                    late = time.monotonic() - start - position - media_time
                    start += late if late > LATE_SECONDS else 0.0
                    # A file can be read before its time, so nothing need wake up for what is only kept.
                    early = max(0.0, -late) if decoder.passes(packet) else 0.0
                    if not early and self._stop.wait(max(0.0, -late)):
                        return ""
                    for look in decoder.feed(packet, time.time() + early):
                        self._deliver(look.frame, look.captured_at, max(0.0, look.at - (first or 0.0)))
                    if packet.is_keyframe:
                        self._watcher.packets_tell(decoder.telling)
            if not decoder.decoded:
                raise CaptureError("no picture in it can be decoded")
            if not self._record.loop:
                return core.ended_early(end, length)
            position += end

    def _play_live(self) -> None:
        with _open(self._record) as (container, stream):
            decoder = self._decoder(stream)
            for packet in _packets(container, stream):
                if self._stop.is_set():
                    return
                for look in decoder.feed(packet, time.time()):
                    self._deliver(look.frame, look.captured_at, None)
                if packet.is_keyframe:
                    self._watcher.packets_tell(decoder.telling)
                if decoder.decoded:
                    self._silence = STALLED
                    self._deadline = time.monotonic() + READ_SECONDS
        raise CaptureError("the camera ended the stream")

    def _decoder(self, stream: VideoStream) -> Decoder:
        return Decoder(stream, self._record.fps, lambda: self._watcher.wanted, self._watcher.gated)


def explain(error: av.FFmpegError) -> str:
    """Say in words what went wrong; never with FFmpeg's own text, which quotes the address."""
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    return f"cannot be read ({error.strerror})"


_WORDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (av.error.HTTPUnauthorizedError, "the camera wants a user name and password, or refuses the ones given"),
    (av.error.HTTPForbiddenError, "the camera forbids it"),
    (av.error.HTTPNotFoundError, "the camera has no stream of that name (not found)"),
    (av.error.ConnectionRefusedError, "connection refused"),
    (av.error.ConnectionResetError, "the camera broke the connection"),
    (av.error.TimeoutError, "timed out"),
    (av.error.FileNotFoundError, "not found"),
    (av.error.PermissionError, "may not be read (permission denied)"),
    (av.error.IsADirectoryError, "is a directory"),
    (av.error.InvalidDataError, "is no video that can be read"),
)


@contextlib.contextmanager
def _open(record: CameraRecord) -> Iterator[tuple[InputContainer, VideoStream]]:
    live = not core.is_file(record.url)
    limits = (OPEN_SECONDS, READ_SECONDS) if live else None
    file, kind, options = _address(record)
    began = time.monotonic()
    try:
        container = av.open(file, format=kind, options=options, timeout=limits, metadata_errors="replace")
    except (av.error.ExitError, av.error.InvalidDataError) as error:
        # An answer that never comes is "invalid data" to FFmpeg, too.
        if isinstance(error, av.error.InvalidDataError) and time.monotonic() - began < 0.9 * OPEN_SECONDS:
            raise
        raise CaptureError(f"timed out: no answer for {OPEN_SECONDS:.0f} s") from None
    with container:
        if not container.streams.video or container.format.name in NO_PICTURES:
            raise CaptureError("there is no video in it")
        stream = container.streams.video[0]
        # One thread a camera: with more, FFmpeg would hold frames back, and every camera would take every core.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _address(record: CameraRecord) -> tuple[str, str | None, dict[str, str]]:
    """Give what FFmpeg is to open, as which format (None: it finds out), and with which options."""
    if core.is_file(record.url):
        return f"file:{core.file_path(record.url)}", None, {}
    if record.url.startswith("usb:"):
        return core.device_path(record.url), "v4l2", {}
    return record.url, "rtsp", {"rtsp_transport": record.transport, **LOW_LATENCY}


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.ExitError:
            raise CaptureError(STALLED) from None
        except (av.error.EOFError, av.error.InvalidDataError):
            return
        if packet is None:
            return
        yield packet


def _shown(packet: Packet, time_base: float) -> float | None:
    """Give a packet's place in the file; None where it has none, as the last one, which is empty."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None or not time_base else ticks * time_base


def _length(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _frame_seconds(stream: VideoStream) -> float:
    return float(1 / stream.guessed_rate) if stream.guessed_rate else 0.0
