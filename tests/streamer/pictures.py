"""Pictures for the tests, some of them in memory whose rows lie apart, as decoders give them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from streamer.frame import Frame, Plane, Planes
from streamer.media import Color
from streamer.ops import host


def noise(*, width: int, height: int, seed: int = 1, padding: int = 0) -> Planes:
    """Every code value somewhere; with ``padding`` the rows lie so many bytes apart."""
    numbers = np.random.default_rng(seed)

    def plane(rows: int, columns: int) -> Plane:
        whole = numbers.integers(0, 256, (rows, columns + padding), np.uint8)
        return whole[:, :columns]

    return (
        plane(height, width),
        plane(height // 2, width // 2),
        plane(height // 2, width // 2),
    )


def empty(*, width: int, height: int) -> Planes:
    return noise(width=width, height=height, seed=99)


def same(ours: Planes, theirs: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def plain(planes: Planes, scale: int = 2) -> Planes:
    """The plain upscale."""
    height, width = planes[0].shape
    out = empty(width=width * scale, height=height * scale)
    host.upscale(planes, out)
    return out


def frame_of(planes: Planes, *, pts: int = 0) -> Frame:
    return Frame(
        planes=planes,
        pts=pts,
        time_base=Fraction(1, 30),
        arrived_ns=0,
        color=Color(matrix="bt709"),
        sample_aspect=Fraction(16, 11),
    )


def texture(
    *, width: int, height: int, moved: tuple[float, float] = (0.0, 0.0), seed: int = 1
) -> Plane:
    """A smooth texture that stands ``moved`` pixels to the right and down, exact at any fraction."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    total = np.full((height, width), 126.0)
    for _ in range(40):
        # Waves of 9 pixels and longer: what is finer, no bilinear look-up can move.
        across, down = numbers.uniform(-0.11, 0.11, 2)
        angle = across * (columns - moved[0]) + down * (rows - moved[1])
        total += 9 * np.cos(2 * np.pi * (angle + numbers.random()))
    codes: Plane = np.rint(total).clip(16, 235).astype(np.uint8)
    return codes
