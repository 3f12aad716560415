"""A room and people in it, drawn: what the made-up cameras of the demonstration and of the canary show."""

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 720
Picture = NDArray[np.uint8]
"""(height, width, 3), BGR."""


def room() -> Picture:
    """Draw an empty room: floor, wall and a door."""
    rows = np.linspace(0, 1, HEIGHT)[:, None, None]
    wall = np.array([196, 202, 204]) - rows * np.array([30, 30, 26])
    image = np.broadcast_to(wall, (HEIGHT, WIDTH, 3)).astype(np.uint8).copy()
    cv2.fillPoly(image, [np.array([[0, 560], [WIDTH, 560], [WIDTH, HEIGHT], [0, HEIGHT]])], (96, 108, 118))
    cv2.rectangle(image, (980, 180), (1160, 560), (92, 110, 138), -1)
    cv2.rectangle(image, (980, 180), (1160, 560), (70, 84, 104), 4)
    cv2.circle(image, (1004, 380), 8, (60, 180, 210), -1)
    return image


def soft_edge(width: int, height: int) -> NDArray[np.float32]:
    """Give a mask (height, width) in 0 to 1 that leaves a head and lets its corners fade."""
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (width // 2, height // 2), (int(width * 0.46), int(height * 0.48)), 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 5), np.float32)


def place(image: Picture, head: Picture, mask: NDArray[np.float32], left: int, top: int) -> None:
    """Lay a head of any size into a picture, and a coat below it; all of the head must lie within."""
    height, width = head.shape[:2]
    _draw_body(image, left + width // 2, top + height, width)
    region = image[top : top + height, left : left + width]
    region[:] = (region * (1 - mask[..., None]) + head * mask[..., None]).astype(np.uint8)


def _draw_body(image: Picture, middle: int, neck: int, width: int) -> None:
    """Draw a coat below a head, down to the picture's end."""
    shoulder, waist = int(width * 0.95), int(width * 0.75)
    outline = [(-0.2, -0.12), (0.2, -0.12), (0.55, 0.1), (0.95, 0.3)]
    right = [(middle + int(x * width), neck + int(y * width)) for x, y in outline]
    left = [(2 * middle - x, y) for x, y in reversed(right)]
    points = [*right, (middle + shoulder, neck + width), (middle + waist, HEIGHT), (middle - waist, HEIGHT)]
    cv2.fillPoly(image, [np.array([*points, (middle - shoulder, neck + width), *left])], (66, 54, 44))
