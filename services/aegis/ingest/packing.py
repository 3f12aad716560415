"""What is sent of a frame: its planes through shared memory, where detect has that, or else a JPEG."""

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from aegis.contracts.messages import SharedPicture
from aegis.ingest import core
from aegis.runtime.shared_frames import Writer

PLANAR = "yuv420p"


def share(frame: VideoFrame, writer: Writer) -> SharedPicture:
    """Lay a frame down in shared memory, at most 1280 pixels wide and of even width and height.

    Raises:
        OSError: there is no room for it.

    """
    width, height = (side + side % 2 for side in core.target_size(frame.width, frame.height))
    if (frame.format.name, frame.width, frame.height) != (PLANAR, width, height):
        frame = frame.reformat(width=width, height=height, format=PLANAR, interpolation="AREA")
    planes = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    sides = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    cut = [plane[:rows, :columns] for plane, (rows, columns) in zip(planes, sides, strict=True)]
    return writer.write(width, height, [np.ascontiguousarray(plane) for plane in cut])


def encode(frame: VideoFrame, limit: int) -> bytes:
    """Write a frame as JPEG of at most ``limit`` bytes; empty if it cannot be that small."""

    def jpeg(divisor: int, quality: int) -> bytes:
        width, height = core.target_size(frame.width, frame.height, divisor)
        pixels = _pixels(frame, width, height)
        return bytes(cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))[1])

    return core.fit(jpeg, limit) or b""


def _pixels(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    if frame.format.name == PLANAR and (frame.width, frame.height) == (width, height) and not (width | height) % 2:
        # The same colours, in a third of the time.
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2BGR_I420), np.uint8)
    return np.asarray(frame.to_ndarray(format="bgr24", width=width, height=height, interpolation="AREA"), np.uint8)
