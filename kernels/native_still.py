"""Calls what is compiled for processors about what stands still (``kernels/cpu/still.cpp``), with
checked arguments."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

LEAST_SIDE, LONGEST_SIDE = 16, 2**14
"""Pixels of a luma, whose sides are even: four small ones are seen beyond each edge."""

PICTURES = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as standing still; ``streamer/ops/still_limits.py`` says why."""

    least_change: int
    change: int
    """In 1/256 of the contrast."""
    oldest: int
    needed: int
    least_contrast: int
    crowd: int
    doubt: float
    times: float
    pace: float
    enough: float


def can_take(shape: tuple[int, ...]) -> bool:
    """Whether lumas of this shape can be watched."""
    return all(side % 2 == 0 and LEAST_SIDE <= side <= LONGEST_SIDE for side in shape)


class _See(ctypes.Structure):
    """As ``SeeFields``."""

    _fields_ = (
        ("luma", ctypes.c_void_p),
        ("anchor", ctypes.c_void_p),
        ("age", ctypes.c_void_p),
        ("contrast", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("least_change", ctypes.c_uint8),
        ("change", ctypes.c_uint8),
        ("oldest", ctypes.c_uint8),
    )


class _Weigh(ctypes.Structure):
    """As ``WeighFields``."""

    _fields_ = (
        ("age", ctypes.c_void_p),
        ("contrast", ctypes.c_void_p),
        ("pictures", ctypes.c_void_p),
        ("evidence", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("scratch_bytes", ctypes.c_int64),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("doubt", ctypes.c_float),
        ("times", ctypes.c_float),
        ("pace", ctypes.c_float),
        ("enough", ctypes.c_float),
        ("needed", ctypes.c_uint8),
        ("least_contrast", ctypes.c_uint8),
        ("crowd", ctypes.c_uint8),
        ("is_any", ctypes.c_uint8),
    )


class _Copy(ctypes.Structure):
    """As ``CopyFields``."""

    _fields_ = (
        ("mask", ctypes.c_void_p),
        ("source", ctypes.c_void_p),
        ("to", ctypes.c_void_p),
        ("mask_stride", ctypes.c_int64),
        ("source_stride", ctypes.c_int64),
        ("to_stride", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("is_doubled", ctypes.c_int32),
    )


class StillCalls:
    """Storage for lumas of one shape, made once; belongs to one thread.

    ``anchor``, ``age`` and ``contrast`` (H, W) uint8, ``evidence`` (H / 2, W / 2) float32.
    """

    def __init__(self, native: Native, limits: Limits, shape: tuple[int, int]) -> None:
        """Raises ``KernelError`` for a shape that it cannot take, see ``can_take``."""
        if not can_take(shape):
            raise KernelError(
                f"a luma is {shape}; allowed are even sides of {LEAST_SIDE} to {LONGEST_SIDE}"
            )
        self._native = native
        self.anchor, self.age, self.contrast, self._mask = np.zeros((4, *shape), np.uint8)
        self.evidence: Floats = np.zeros((shape[0] // 2, shape[1] // 2), np.float32)
        self._see = _See(
            anchor=self.anchor.ctypes.data,
            age=self.age.ctypes.data,
            contrast=self.contrast.ctypes.data,
            height=shape[0],
            width=shape[1],
            least_change=limits.least_change,
            change=limits.change,
            oldest=limits.oldest,
        )
        self._weigh = _Weigh(
            age=self.age.ctypes.data,
            contrast=self.contrast.ctypes.data,
            evidence=self.evidence.ctypes.data,
            mask=self._mask.ctypes.data,
            height=shape[0],
            width=shape[1],
            doubt=limits.doubt,
            times=limits.times,
            pace=limits.pace,
            enough=limits.enough,
            needed=limits.needed,
            least_contrast=limits.least_contrast,
            crowd=limits.crowd,
        )
        native.call("still_weigh", self._weigh)
        self._scratch = np.empty(self._weigh.scratch_bytes, np.uint8)
        self._weigh.scratch = self._scratch.ctypes.data

    def see(self, luma: Plane) -> None:
        """Compares the next luma with ``anchor``, where what differs is put, and counts ``age``."""
        self._see.luma, self._see.stride = lies(luma, self.anchor.shape)
        self._native.call("still_see", self._see)

    def weigh(self, pictures: Floats) -> Plane | None:
        """255 where something stands still, (H, W), valid until the next call; ``None`` where nothing
        does. Brings ``evidence`` on.

        ``pictures`` (6, H / 2 or more, W / 2 or more), contiguous along columns.
        """
        rows, columns = self.evidence.shape
        if (
            pictures.ndim != 3
            or pictures.shape[0] != PICTURES
            or pictures.shape[1] < rows
            or pictures.shape[2] < columns
            or pictures.dtype != np.float32
            or pictures.strides[2] != pictures.itemsize
        ):
            raise KernelError(
                f"pictures are {pictures.shape} {pictures.dtype} with strides {pictures.strides}; "
                f"allowed is ({PICTURES}, {rows}, {columns}) and larger, float32, contiguous along "
                "columns"
            )
        self._weigh.pictures = pictures.ctypes.data
        self._weigh.plane_stride, self._weigh.row_stride = pictures.strides[:2]
        self._native.call("still_weigh", self._weigh)
        return self._mask if self._weigh.is_any else None


def copy_still(native: Native, mask: Plane, plane: Plane, out: Plane) -> None:
    """Puts what a mask of 0 and 255 marks from one plane into another, both of its size or twice it.

    (h, w) uint8 each, contiguous along columns. Raises ``KernelError`` where they are not.
    """
    is_doubled = plane.shape != mask.shape
    times = 2 if is_doubled else 1
    shape = times * mask.shape[0], times * mask.shape[1]
    fields = _Copy(rows=mask.shape[0], columns=mask.shape[1], is_doubled=is_doubled)
    fields.mask, fields.mask_stride = lies(mask, mask.shape)
    fields.source, fields.source_stride = lies(plane, shape)
    fields.to, fields.to_stride = lies(out, shape)
    if not out.flags.writeable or np.shares_memory(plane, out):
        raise KernelError(
            "the plane to be filled cannot be written, or is the one it is filled from; give it "
            "storage of its own"
        )
    native.call("still_copy", fields)
