"""Sharpening of an enlarged luma, as far as the contrast around each pixel leaves room.

By what is compiled for this processor where that is there, otherwise by its twin in NumPy: the same
bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal

from kernels import native_sharpen, reference_sharpen
from kernels.native import native
from streamer.frame import Plane
from streamer.ops.both import both

Range = Literal["limited", "full"]

ENDS: Mapping[Range, tuple[int, int]] = MappingProxyType({"limited": (16, 235), "full": (0, 255)})
"""Luma codes of black and white."""

ROWS = 16
"""Of a picture, that NumPy sharpens at once: its arrays stay in the cache, and 1280x720 takes 8 ms; all
rows at once 59."""


def sharpen(luma: Plane, out: Plane, *, strength: float, range: Range) -> None:
    """Fills ``out`` with ``luma`` sharpened; both (H, W), rows contiguous, without shared storage.

    ``strength`` is 0 (nothing changes) to 1 (all that RCAS does). Flat areas stay as they are, and
    nothing becomes darker than black or lighter than white of the ``range``.
    """
    half = len(luma) // 2
    fill = partial(_fill, luma, out, strength, ENDS[range])
    both(partial(fill, 0, half), partial(fill, half, len(luma)))


def _fill(
    luma: Plane, out: Plane, strength: float, ends: tuple[int, int], begin: int, end: int
) -> None:
    black, white = ends
    compiled = native()
    if compiled is not None:
        rows = range(begin, end)
        native_sharpen.sharpen(
            compiled, luma, out, rows, strength=strength, black=black, white=white
        )
        return
    for top in range(begin, end, ROWS):
        rows = range(top, min(top + ROWS, end))
        reference_sharpen.sharpen(luma, out, rows, strength=strength, black=black, white=white)
