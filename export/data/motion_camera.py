"""A camera that moves over what a clip shows: an even motion of the whole picture, exactly known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane, Planes

LARGEST = (400, 560)
"""Height and width of a window, so that there is room to move in."""

FASTEST = (28.0, 32.0)
"""Pixels of the window per frame, down and across."""

ROUGHEST = 0.012
"""Zoom and turn per frame, as a share and in radians; one third of the windows zoom, one third turn."""

SMALLEST_SCALE = 0.55

MARGIN = 4
"""Pixels that a window keeps from the edge; one that turns may still see it mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A window of ``size`` that moves evenly over pictures shrunk by ``scale``."""

    size: tuple[int, int]
    """Height and width, multiples of 8."""
    scale: float
    start: tuple[float, float]
    """Where its middle is in the first frame, pixels of the shrunk picture, down and across."""
    step: tuple[float, float]
    """Per frame."""
    zoom: float
    turn: float

    @classmethod
    def draw(
        cls, picture: Planes, frames: int, *, patch: int, rng: np.random.Generator
    ) -> Self | None:
        """One that shows at least ``patch`` pixels each way and stays inside for so many frames;
        ``None`` where the picture is too small for that."""
        shorter = min(picture.height, picture.width)
        scale = float(rng.uniform(min(1.0, max(SMALLEST_SCALE, (patch + 16) / shorter)), 1.0))
        whole = np.array([picture.height, picture.width]) * scale
        largest = np.minimum(LARGEST, whole * (0.97, 0.9))
        size = [
            8 * int(rng.integers(patch // 8 + 1, max(patch // 8 + 2, int(side) // 8 + 1)))
            for side in largest
        ]
        room = whole - size - MARGIN
        if (room < MARGIN).any():
            return None
        speed = rng.random(2) ** 1.5 * np.minimum(FASTEST, room / (frames - 1))
        step = speed * rng.choice([-1.0, 1.0], 2)
        way = step * (frames - 1)
        corner = rng.random(2) * (room - np.abs(way)) + np.maximum(-way, 0.0)
        zoom, turn = rng.uniform(-ROUGHEST, ROUGHEST, 2) * (rng.random(2) < 1 / 3)
        middle = corner + np.array(size) / 2
        return cls(
            size=(size[0], size[1]),
            scale=scale,
            start=(float(middle[0]), float(middle[1])),
            step=(float(step[0]), float(step[1])),
            zoom=float(zoom),
            turn=float(turn),
        )

    def see(self, frames: Sequence[Planes]) -> list[Planes]:
        """What it sees of each of the frames, looked up bicubically."""
        return [
            Planes(
                self._plane(planes.y, 1, n, len(frames)),
                self._plane(planes.u, 2, n, len(frames)),
                self._plane(planes.v, 2, n, len(frames)),
            )
            for n, planes in enumerate(frames)
        ]

    def _plane(self, plane: Plane, part: int, frame: int, frames: int) -> Plane:
        # What is shrunk is blurred first, by as much as an area kernel would.
        sigma = 0.45 * max(0.0, 1 / self.scale - 0.6)
        soft = cv2.GaussianBlur(plane, (0, 0), sigma) if sigma > 0.1 else plane
        height, width = self.size
        seen = cv2.warpAffine(
            soft,
            self._places(part, frame, frames),
            (width // part, height // part),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        return np.asarray(seen, dtype=np.uint8)

    def _places(self, part: int, frame: int, frames: int) -> NDArray[np.float64]:
        """(2, 3): from pixels of a window's plane, 1 / part of the luma, to those of the picture's."""
        height, width = self.size
        down, across = (at + frame * by for at, by in zip(self.start, self.step, strict=True))
        away = frame - frames / 2
        size, angle = (1 + self.zoom) ** away / self.scale, self.turn * away
        c, s = np.cos(angle) * size, np.sin(angle) * size
        x = across / self.scale - (c * width - s * height) / 2
        y = down / self.scale - (s * width + c * height) / 2
        return np.array([[c, -s, x / part], [s, c, y / part]])
