"""What tests of motion share: flows that are the same everywhere, and how near a picture came."""

from __future__ import annotations

import math

import numpy as np

from streamer.frame import Plane
from streamer.ops.motion import Floats

EDGE = 20
"""What moves in from outside was never seen."""


def psnr(seen: Plane | Floats, wanted: Plane, *, edge: int = EDGE) -> float:
    """In dB, without the edges."""
    inner = (slice(edge, -edge), slice(edge, -edge))
    error = seen[inner].astype(np.float64) - wanted[inner]
    return 10 * math.log10(255**2 / max(1e-9, float(np.mean(error**2))))


def everywhere(flow: Floats, *, height: int, width: int) -> Floats:
    """The same (2,) flow at each pixel, (2, h, w)."""
    return np.ascontiguousarray(np.broadcast_to(flow[:, None, None], (2, height, width)))
