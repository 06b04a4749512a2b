"""Frames of the drawn scene: pictures that are ours, for tests and for the page of models."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from export.data.planes import Planes
from streamer.sources.scene import Scene

SHOTS = ("street", "atlas", "meadow")
RATE = 30
SHOT_S = Fraction(60)
"""Long enough that a run of frames never meets a cut."""


@cache
def _scene(width: int, height: int) -> Scene:
    return Scene(seed=7, width=width, height=height, cut_s=SHOT_S)


def drawn_frames(
    shot: str,
    *,
    width: int,
    height: int,
    frames: int,
) -> list[Planes]:
    """Consecutive frames of one shot at 30 Hz."""
    scene = _scene(width, height)
    begin = SHOT_S * SHOTS.index(shot) + SHOT_S / 4
    return [Planes(*scene.draw(begin + Fraction(index, RATE))) for index in range(frames)]
