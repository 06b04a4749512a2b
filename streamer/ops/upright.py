"""Pictures as they are to be held: turned by quarters, and mirrored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamer.frame import Plane, Planes


class Turn(NamedTuple):
    """How a picture is to be held, in this order; false where nothing is to be done."""

    is_transposed: bool = False
    is_mirrored: bool = False
    is_upside_down: bool = False


def turn_stated(matrix: bytes) -> Turn:
    """What a display matrix says, as libav writes it: 3x3 int32 in this machine's byte order.

    A slanted one counts as the nearest quarter of a turn.
    """
    # x' = a x + c y and y' = b x + d y, written as (a, b, u; c, d, v; ...).
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return Turn(is_transposed=True, is_mirrored=c < 0, is_upside_down=b < 0)
    return Turn(is_mirrored=a < 0, is_upside_down=d < 0)


def upright(planes: Planes, turn: Turn) -> Planes:
    """The planes turned, as a copy whose rows are whole; themselves where nothing is to be done."""
    if not any(turn):
        return planes

    def turned(plane: Plane) -> Plane:
        plane = plane.T if turn.is_transposed else plane
        rows, columns = -1 if turn.is_upside_down else 1, -1 if turn.is_mirrored else 1
        return np.ascontiguousarray(plane[::rows, ::columns])

    return (turned(planes[0]), turned(planes[1]), turned(planes[2]))
