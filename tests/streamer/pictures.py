"""Pictures for the tests, some of them in memory whose rows lie apart, as decoders give them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from streamer.frame import Color, Frame, Plane, Planes


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


def frame_of(planes: Planes, *, pts: int = 0) -> Frame:
    return Frame(
        planes=planes,
        pts=pts,
        time_base=Fraction(1, 30),
        arrived_ns=0,
        color=Color(matrix="bt709"),
        sample_aspect=Fraction(16, 11),
    )
