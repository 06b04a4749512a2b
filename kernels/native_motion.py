"""Calls what is compiled for processors about motion (``kernels/cpu``), with checked arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

SHORTEST_SIDE, LONGEST_SIDE = 8, 8192
"""Pixels of a small picture: a square that is searched, and what 32-bit places hold."""


class _Flow(ctypes.Structure):
    """As in ``flow_fields.h``."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("flow", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("start_stride", ctypes.c_int64),
        ("end_stride", ctypes.c_int64),
        ("scratch_bytes", ctypes.c_int64),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


class _Guide(ctypes.Structure):
    """As in ``guide_fields.h``."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("forward", ctypes.c_void_p),
        ("backward", ctypes.c_void_p),
        ("maps", ctypes.c_void_p),
        ("motion", ctypes.c_void_p),
        ("pictures", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("start_stride", ctypes.c_int64),
        ("end_stride", ctypes.c_int64),
        ("scratch_bytes", ctypes.c_int64),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("out_rows", ctypes.c_int32),
        ("out_columns", ctypes.c_int32),
        ("part", ctypes.c_int32),
        ("time", ctypes.c_float),
    )


class FlowCalls:
    """Flow from one small picture to another; its storage is made once per size. Belongs to one
    thread, and several of them run at once."""

    def __init__(self, native: Native) -> None:
        self._lent = _Scratch(native)

    def search(self, start: Plane, end: Plane) -> Floats:
        """From each pixel of one (h, w) uint8 picture to its place in the other, (h, w, 2) pixels.

        Finite whatever the pictures are. Raises ``KernelError`` where they are not what the kernel
        can take.
        """
        fields = _Flow(**_pair(start, end))
        flow = np.empty((*start.shape, 2), np.float32)
        fields.flow = flow.ctypes.data
        self._lent.call("flow_search", fields)
        return flow

    def complete(self, flow: Floats, start: Plane, end: Plane) -> None:
        """``motion_global.complete``: puts the camera's motion into a (h, w, 2) flow, in place.

        Raises ``KernelError`` as ``search`` does.
        """
        fields = _Flow(**_pair(start, end))
        fields.flow = _flow(flow, start.shape)
        self._lent.call("flow_complete", fields)


Halves = Callable[[Callable[[], None], Callable[[], None]], object]
"""Does both, in any order or at once."""


class GuideCalls:
    """Guides straight from small pictures and flows; storage is made once per size. Belongs to one
    thread."""

    def __init__(self, native: Native, both: Halves) -> None:
        self._lent = _Scratch(native)
        self._both = both

    def make(
        self,
        pair: tuple[Plane, Plane],
        flows: tuple[Floats, Floats],
        time: float,
        *,
        maps: Floats,
        pictures: Floats | None = None,
        motion: Floats | None = None,
    ) -> None:
        """What ``pack_motion`` and ``ReferenceMotionEngine`` make of two (h, w) uint8 pictures and
        their (h, w, 2) flows, forward and backward.

        ``maps`` (6, rows, columns), of (h + 1) // 2 rows and (w + 1) // 2 columns or more, is filled
        with flow (4), mask and softness; what lies beyond repeats the edge. ``pictures`` (6, 2 * rows,
        2 * columns) and ``motion`` (5, rows, columns) as ``pack_motion`` fills them, for who wants
        them. Raises ``KernelError`` where the arrays are not what the kernel can take.
        """
        fields = _Guide(**_pair(*pair), time=time)
        fields.forward, fields.backward = (_flow(flow, pair[0].shape) for flow in flows)
        rows, columns = (fields.height + 1) // 2, (fields.width + 1) // 2
        if maps.ndim == 3:
            rows, columns = max(rows, maps.shape[1]), max(columns, maps.shape[2])
        fields.out_rows, fields.out_columns = rows, columns
        fields.maps = _planes(maps, (6, rows, columns))
        if pictures is not None:
            fields.pictures = _planes(pictures, (6, 2 * rows, 2 * columns))
        if motion is not None:
            fields.motion = _planes(motion, (5, rows, columns))
        self._lent.lend("guide_carry", fields)
        halves = [type(fields).from_buffer_copy(fields) for _ in range(2)]
        for part, half in enumerate(halves):
            half.part = part
        for step in ("guide_carry", "guide_compare", "guide_choose"):
            self._both(*(partial(self._lent.native.call, step, half) for half in halves))


class _Scratch:
    """What a kernel works in, as large as the largest call so far asked for."""

    def __init__(self, native: Native) -> None:
        self.native = native
        self._bytes = np.empty(0, np.uint8)
        self._needed: dict[tuple[str, int, int], int] = {}

    def call(self, function: str, fields: _Flow | _Guide) -> None:
        self.lend(function, fields)
        self.native.call(function, fields)

    def lend(self, function: str, fields: _Flow | _Guide) -> None:
        """Makes room for what the function asks for, and for all that work in the same."""
        size = function, fields.height, fields.width
        if size not in self._needed:
            # Few sizes follow each other; whoever changes them for ever must not fill memory.
            if len(self._needed) >= 8:
                self._needed.clear()
            fields.scratch = None
            self.native.call(function, fields)
            self._needed[size] = fields.scratch_bytes
        if self._bytes.nbytes < self._needed[size]:
            self._bytes = np.empty(self._needed[size], np.uint8)
        fields.scratch = self._bytes.ctypes.data


def _pair(start: Plane, end: Plane) -> dict[str, int]:
    if start.shape != end.shape:
        raise KernelError(
            f"one picture is {start.shape}, the other {end.shape}; give two of one size"
        )
    for picture in (start, end):
        if (
            picture.ndim != 2
            or picture.dtype != np.uint8
            or picture.strides[1] != 1
            or not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in picture.shape)
        ):
            raise KernelError(
                f"a picture is {picture.shape} {picture.dtype} with strides {picture.strides}; "
                f"allowed is (h, w) uint8, contiguous along columns, {SHORTEST_SIDE} to "
                f"{LONGEST_SIDE} on each side"
            )
    height, width = start.shape
    return {
        "start": start.ctypes.data,
        "end": end.ctypes.data,
        "start_stride": start.strides[0],
        "end_stride": end.strides[0],
        "height": height,
        "width": width,
    }


def _flow(flow: Floats, shape: tuple[int, ...]) -> int:
    """The address of a flow of pictures of this shape."""
    if flow.shape != (*shape, 2) or flow.dtype != np.float32 or not flow.flags.c_contiguous:
        raise KernelError(
            f"a flow is {flow.shape} {flow.dtype} with strides {flow.strides}; allowed is "
            f"{(*shape, 2)} float32 in one piece"
        )
    return int(flow.ctypes.data)


def _planes(planes: Floats, shape: tuple[int, ...]) -> int:
    if planes.shape != shape or planes.dtype != np.float32 or not planes.flags.c_contiguous:
        raise KernelError(
            f"planes are {planes.shape} {planes.dtype} with strides {planes.strides}; allowed is "
            f"{shape} float32 in one piece"
        )
    return int(planes.ctypes.data)
