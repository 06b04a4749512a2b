"""A time and a number burnt into the picture, to be read back after any encoder or enlarger.

Note [Counter geometry]
All lengths are fractions of the picture's width, so a reader needs to know nothing but the picture:
an enlarged, recompressed or slightly padded one reads the same. 96 square blocks, one bit each,
light (186) for 1 and dark (36) for 0, stand in the top left corner, row by row, high bit first:

    bits 0-31   milliseconds, low 32 bits
    bits 32-63  frame number, low 32 bits
    bits 64-67  reference 1010
    bits 68-91  low 24 bits of CRC-32 over the eight bytes above
    bits 92-95  reference 0110

No block may have a side under 8 pixels, an encoder's transform, so the layout follows the width:

    from 640   2 rows of 48 blocks, each width / 80 a side
    from 320   3 rows of 32 blocks, each width / 40 a side
    from 160   5 rows of 20 blocks, each width / 20 a side, with four dark blocks at the end

Block edges are rounded to even pixels, so that chroma covers whole blocks too; it is neutral there.

A reader looks at the middle of each block only. Every block must be clearly light or clearly dark,
and even; one that is neither, because it was damaged or blended with another frame, spoils the
reading. An in-between frame therefore mostly reads as ``None``: it has no number of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane

Indices: TypeAlias = NDArray[np.intp]

MIN_WIDTH = 160
"""Below it a block would be smaller than 8 pixels, an encoder's transform."""

_DARK, _LIGHT = 36, 186
_NEUTRAL = 128
_REFERENCE_HEAD = (1, 0, 1, 0)
_REFERENCE_TAIL = (0, 1, 1, 0)
_BITS = 96
_SAMPLES = 8
"""Sampled rows and columns per block; 64 pixels average out an encoder's noise."""
_MIN_CONTRAST = 48.0
"""A third of what is burnt; less is a picture that faded, or none of ours."""
_MAX_OFFSET = 0.3
"""How far a block's mean may lie from its reference, as a share of the contrast."""
_MAX_SPREAD = 0.25
"""The largest standard deviation inside a block, as a share of the contrast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a picture's counter says; both values are modulo 2**32."""

    milliseconds: int
    frame_number: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Blocks across and down, and how many of them would fill the picture's width."""

    columns: int
    rows: int
    per_width: int

    def edges(self, count: int, width: int) -> Indices:
        """Where ``count`` blocks begin and the last one ends, in even pixels."""
        return 2 * np.rint(np.arange(count + 1) * width / (2 * self.per_width)).astype(np.intp)


_SLIM = _Layout(48, 2, 80)
_WIDE = _Layout(32, 3, 40)
_NARROW = _Layout(20, 5, 20)


def burn(planes: tuple[Plane, Plane, Plane], *, milliseconds: int, frame_number: int) -> None:
    """Write both values, modulo 2**32, over the top left corner of a YUV 4:2:0 picture.

    Raises ``ValueError`` where the picture is too small; see Note [Counter geometry].
    """
    luma, *chroma = planes
    height, width = luma.shape
    layout, block_of_row, block_of_column = _painted(width)
    bottom, right = len(block_of_row), len(block_of_column)
    if width < MIN_WIDTH or height < bottom:
        raise ValueError(
            f"the counter does not fit a {width}x{height} picture; it takes {MIN_WIDTH} columns "
            f"or more, and {bottom} rows at this width"
        )
    levels = np.full(layout.rows * layout.columns, _DARK, np.uint8)
    levels[:_BITS][_encode(milliseconds, frame_number)] = _LIGHT
    blocks = levels.reshape(layout.rows, layout.columns)
    luma[:bottom, :right] = blocks[:, block_of_column][block_of_row]
    for plane in chroma:
        plane[: bottom // 2, : right // 2] = _NEUTRAL


def read(luma: Plane) -> Reading | None:
    """The values burnt into this picture, or ``None`` where they are absent or damaged."""
    # Enlarged pictures keep the layout that they were burnt with.
    return _read_as(_SLIM, luma) or _read_as(_WIDE, luma) or _read_as(_NARROW, luma)


def _read_as(layout: _Layout, luma: Plane) -> Reading | None:
    rows, columns = _sampled(layout, luma.shape[1])
    if rows[-1] >= luma.shape[0]:
        return None
    samples = luma[rows[:, None], columns].astype(np.float32)
    samples = samples.reshape(layout.rows, _SAMPLES, layout.columns, _SAMPLES)
    means = samples.mean(axis=(1, 3)).ravel()[:_BITS]
    spreads = samples.std(axis=(1, 3)).ravel()[:_BITS]

    is_light = np.array(_REFERENCE_HEAD + _REFERENCE_TAIL, bool)
    references = np.concatenate((means[64:68], means[92:96]))
    dark, light = references[~is_light].mean(), references[is_light].mean()
    contrast = light - dark
    if contrast < _MIN_CONTRAST:
        return None
    bits = means > (dark + light) / 2
    offsets = np.abs(means - np.where(bits, light, dark))
    if offsets.max() > _MAX_OFFSET * contrast or spreads.max() > _MAX_SPREAD * contrast:
        return None
    return _decode(bits)


def _encode(milliseconds: int, frame_number: int) -> NDArray[np.bool_]:
    """All 96 bits, in the order of the blocks."""
    values = (milliseconds & 0xFFFFFFFF) << 32 | frame_number & 0xFFFFFFFF
    payload = values.to_bytes(8, "big")
    check = (zlib.crc32(payload) & 0xFFFFFF).to_bytes(3, "big")
    return np.concatenate(
        (
            np.unpackbits(np.frombuffer(payload, np.uint8)),
            np.array(_REFERENCE_HEAD, np.uint8),
            np.unpackbits(np.frombuffer(check, np.uint8)),
            np.array(_REFERENCE_TAIL, np.uint8),
        )
    ).astype(np.bool_)


def _decode(bits: NDArray[np.bool_]) -> Reading | None:
    payload = np.packbits(bits[:64]).tobytes()
    milliseconds = int.from_bytes(payload[:4], "big")
    frame_number = int.from_bytes(payload[4:], "big")
    if not np.array_equal(bits, _encode(milliseconds, frame_number)):
        return None
    return Reading(milliseconds=milliseconds, frame_number=frame_number)


@lru_cache(maxsize=8)
def _painted(width: int) -> tuple[_Layout, Indices, Indices]:
    """The layout of a picture this wide, and the block of each of its rows and columns."""
    layout = _SLIM if width >= 4 * MIN_WIDTH else _WIDE if width >= 2 * MIN_WIDTH else _NARROW
    down = np.diff(layout.edges(layout.rows, width))
    across = np.diff(layout.edges(layout.columns, width))
    return layout, np.arange(layout.rows).repeat(down), np.arange(layout.columns).repeat(across)


@lru_cache(maxsize=16)
def _sampled(layout: _Layout, width: int) -> tuple[Indices, Indices]:
    """The rows and columns a reader looks at: the middle half of every block."""
    side = width / layout.per_width
    offsets = 0.25 + 0.5 * (np.arange(_SAMPLES) + 0.5) / _SAMPLES

    def positions(count: int) -> Indices:
        return ((np.arange(count)[:, None] + offsets) * side).astype(np.intp).ravel()

    return positions(layout.rows), positions(layout.columns)
