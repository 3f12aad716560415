"""What is kept of a stream's packets: those since the last keyframe, and of more of them, when they came."""

from typing import TypeAlias

from av.packet import Packet as AnyPacket
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Packet: TypeAlias = "AnyPacket[VideoStream]"

LONGEST_GROUP, LARGEST_GROUP = 300, 16 * 1024 * 1024
"""Packets since a keyframe that are kept, and bytes; a camera with fewer keyframes is decoded throughout."""
REFINED = (1, 2)
"""Places in a group whose sizes say nothing: the keyframe, and the picture that refines it."""
REMEMBERED = 2 * LONGEST_GROUP  # packets whose time of coming is known
REORDERED_SECONDS = 1.0
"""Packets of pictures that are shown earlier come at most this long after; more is a jump of the clock."""
LEARNING = 50


class Group:
    """The packets from the last keyframe on."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.began = 0.0
        """When, in seconds on the stream's own clock."""
        self.whole = False
        """Whether it has all packets since the last keyframe."""
        self._bytes = 0

    @property
    def refined(self) -> bool:
        """Whether the newest packet's size says nothing of what moves."""
        return len(self.packets) in REFINED

    def overflows(self, packet: Packet) -> bool:
        """Tell whether there is no room for one more packet."""
        full = len(self.packets) >= LONGEST_GROUP or self._bytes + packet.size > LARGEST_GROUP
        return full and not packet.is_keyframe

    def keep(self, packet: Packet, now: float) -> list[Packet]:
        """Add a packet; give the group that ends with it, if it is a keyframe."""
        before: list[Packet] = []
        if packet.is_keyframe:
            before, self.packets, self._bytes, self.whole, self.began = self.packets, [], 0, True, now
        elif self.overflows(packet):
            self.packets, self._bytes, self.whole = [], 0, False
        if self.whole:
            self.packets.append(packet)
            self._bytes += packet.size
        return before


class Arrivals:
    """When the packets came, by the stream's own clock and by the wall's, and so when pictures were taken."""

    def __init__(self, time_base: float) -> None:
        self.now = 0.0
        """Seconds on the stream's own clock."""
        self.newest = 0
        """The latest time stamp of a picture."""
        self.forward = 1.0
        """Share of packets whose picture is shown after all before."""
        self._time_base = time_base
        self._came: dict[int, float] = {}
        self.came_at = 0.0
        """When the newest packet came, by the wall clock."""

    def note(self, packet: Packet, captured_at: float) -> tuple[int, bool]:
        """Give the time stamp from which on pictures are new with this packet, and whether the clock was set back."""
        self.came_at = captured_at
        if not packet.size:
            return self.newest, False
        ticks = packet.pts if packet.dts is None else packet.dts
        now = captured_at if ticks is None else ticks * self._time_base
        back, self.now = now < self.now - REORDERED_SECONDS, now
        if packet.pts is None:
            packet.pts = round(now / self._time_base)
        # A picture that comes behind one that is shown later was taken before it; much earlier is a clock that jumped.
        far = (self.newest - packet.pts) * self._time_base > REORDERED_SECONDS
        self.forward += ((packet.pts > self.newest) - self.forward) / LEARNING
        unseen = min(self.newest + 1, packet.pts)
        self.newest = packet.pts if far else max(self.newest, packet.pts)
        self._came[packet.pts] = captured_at - (self.newest - packet.pts) * self._time_base
        if len(self._came) > REMEMBERED:
            del self._came[next(iter(self._came))]
        return unseen, back

    def taken(self, frame: VideoFrame) -> float:
        """Give when a picture was taken, by the wall clock."""
        return self._came.get(frame.pts or 0, self.came_at)

    def when(self, frame: VideoFrame) -> float:
        """Give a picture's time on the stream's clock, where it has one."""
        return self.taken(frame) if frame.time is None else frame.time
