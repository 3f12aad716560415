"""A picture in grey, as it is compared with another one."""

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from aegis.vision.motion import shrink

PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12")
"""Formats whose first plane is the picture in grey."""


def luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """Give a picture in grey (height, width): the luma plane as it is, where it has one."""
    if frame.format.name not in PLANAR:
        return np.asarray(frame.to_ndarray(format="gray"), np.uint8)
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def small_of(frame: VideoFrame) -> NDArray[np.float32]:
    """Give a small grey copy."""
    return shrink(luma(frame))
