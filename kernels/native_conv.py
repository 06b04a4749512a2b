"""Calls the convolutions compiled for processors (``kernels/cpu/conv_stack.cpp``), with checked
arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.conv_weights import (
    PHASES,
    TOP_BYTE,
    TOP_STEP,
    ConvLayer,
    ConvModel,
    laid_out,
    padded,
    top_taken,
)
from kernels.errors import KernelError
from kernels.native import Native

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MOST_LAYERS = 16
SIDE = 4
"""Rows that are made at once: parts of a picture begin at multiples of it."""

LINE = 64
"""Bytes of a line of cache, where scratch begins."""

CHANNELS = 16
"""Of a pixel, in so many steps."""

LONGEST_SIDE = 2**15


class _Layer(ctypes.Structure):
    """As ``ConvLayer`` in ``conv_tiles.h``."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("channels", ctypes.c_int32),
        ("pairs", ctypes.c_int32),
        ("outs", ctypes.c_int32),
        ("low", ctypes.c_int32),
        ("high", ctypes.c_int32),
        ("zero", ctypes.c_int32),
    )


class _Fields(ctypes.Structure):
    """As ``ConvFields``."""

    _fields_ = (
        ("layers", _Layer * MOST_LAYERS),
        ("packed", ctypes.c_void_p),
        ("packed_plane", ctypes.c_int64),
        ("packed_row", ctypes.c_int64),
        ("residual", ctypes.c_void_p),
        ("residual_plane", ctypes.c_int64),
        ("residual_row", ctypes.c_int64),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_int64),
        ("skip_share", ctypes.c_float),
        ("kept_share", ctypes.c_float),
        ("layers_count", ctypes.c_int32),
        ("outs", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("begin", ctypes.c_int32),
        ("first", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("left", ctypes.c_void_p),
        ("repeats_edge", ctypes.c_int32),
        ("phases", ctypes.c_int32),
        ("top", ctypes.c_int32),
    )


class ConvStack:
    """A model at one level of processor."""

    def __init__(self, native: Native, model: ConvModel) -> None:
        """Raises ``KernelError`` where the kernel cannot run the model."""
        _check_model(model)
        self.native = native
        self.outs = len(model.layers[-1].weights)
        self.phases = model.layers[0].weights.shape[1]
        # The addresses among the fields keep nothing alive.
        self._kept: list[NDArray[np.generic]] = []
        self._down, self._up = (self._fields(model, is_upside_down=up) for up in (False, True))

    def fields(self, *, upwards: bool) -> _Fields:
        """For a call that fills rows from the first on, or from the last."""
        return _Fields.from_buffer_copy(self._up if upwards else self._down)

    def scratch_bytes(self, columns: int) -> int:
        """Storage that a part of a picture so wide needs, beginning at a multiple of ``LINE``.

        Raises ``KernelError`` where no picture may be so wide.
        """
        if not 0 < columns <= LONGEST_SIDE:
            raise KernelError(f"a plane has {columns} columns; allowed are 1 to {LONGEST_SIDE}")
        fields = self.fields(upwards=False)
        fields.columns = columns
        self.native.call("conv_plan", fields)
        return int(fields.scratch_bytes)

    def _fields(self, model: ConvModel, *, is_upside_down: bool) -> _Fields:
        fields = _Fields(layers_count=len(model.layers), outs=self.outs, phases=self.phases)
        fields.top = top_taken(self.phases)
        fields.repeats_edge = model.repeats_edge
        if model.skip is not None:
            fields.skip_share, fields.kept_share = model.skip
        for n, layer in enumerate(model.layers):
            if is_upside_down:
                layer = replace(layer, weights=layer.weights[:, :, ::-1])
            fields.layers[n] = self._taken(layer)
        return fields

    def _taken(self, layer: ConvLayer) -> _Layer:
        lanes = self.native.ask("conv_lanes")
        outs, ins = layer.weights.shape[:2]
        scale = np.zeros(padded(outs, lanes), np.float32)
        bias = np.zeros(padded(outs, lanes), np.int32)
        scale[:outs], bias[:outs] = layer.gained_scale, layer.gained_bias
        laid = laid_out(layer, lanes)
        # A vector that lies in two lines of cache takes two loads.
        weights = aligned(laid.nbytes).view(np.int16)
        weights[:] = laid
        self._kept += [weights, scale, bias]
        return _Layer(
            weights=weights.ctypes.data,
            scale=scale.ctypes.data,
            bias=bias.ctypes.data,
            channels=padded(ins, CHANNELS),
            pairs=padded(ins, 2) // 2,
            outs=len(scale),
            low=layer.low,
            high=layer.high,
            zero=layer.zero,
        )


class ConvPart:
    """Rows of a picture that two threads make from both ends towards each other: wherever they meet,
    neither has waited for the other. It serves once."""

    def __init__(self, stack: ConvStack, packed: Floats, residual: Bytes, rows: range) -> None:
        """These rows of ``residual`` (outs, h, w) from ``packed`` (phases, h, w).

        Raises ``KernelError`` where the arrays are not what the kernel can take.
        """
        height, width = packed.shape[-2:] if packed.ndim == 3 else (0, 0)
        _check_planes(packed, (stack.phases, height, width), np.float32)
        _check_planes(residual, (stack.outs, height, width), np.uint8)
        if not 0 <= rows.start <= rows.stop <= height or rows.step != 1:
            raise KernelError(f"{rows} of rows is asked for; allowed are steps of 1 in 0..{height}")
        if not residual.flags.writeable:
            raise KernelError("the residual cannot be written; give it storage of its own")
        self._stack = stack
        self._packed, self._residual, self._rows = packed, residual, rows
        self._left = np.array([-(-len(rows) // SIDE)], np.int32)

    def make(self, scratch: Bytes, *, upwards: bool = False) -> None:
        """Fills rows from the first on, or from the last, until none are left that nobody has begun.

        ``scratch``: ``ConvStack.scratch_bytes``, beginning at a multiple of ``LINE``, for this call
        alone while it runs.
        """
        height, width = self._packed.shape[1:]
        needed = self._stack.scratch_bytes(width)
        if scratch.ctypes.data % LINE or not scratch.flags.c_contiguous or scratch.nbytes < needed:
            raise KernelError(
                f"scratch has {scratch.nbytes} bytes from byte {scratch.ctypes.data % LINE} of {LINE} on; "
                f"{needed} in one piece from byte 0 on are needed"
            )
        fields = self._stack.fields(upwards=upwards)
        packed, residual, rows = self._packed, self._residual, self._rows
        fields.begin, fields.first, fields.end = rows.start, rows.start, rows.stop
        if upwards:
            packed, residual = packed[:, ::-1], residual[:, ::-1]
            fields.first, fields.end = height - rows.stop, height - rows.start
            # Steps of rows are the same for both.
            fields.begin = fields.end - padded(len(rows), SIDE)
        fields.packed, fields.residual = packed.ctypes.data, residual.ctypes.data
        fields.packed_plane, fields.packed_row = packed.strides[:2]
        fields.residual_plane, fields.residual_row = residual.strides[:2]
        fields.rows, fields.columns = height, width
        fields.scratch, fields.left = scratch.ctypes.data, self._left.ctypes.data
        self._stack.native.call("conv_stack", fields)


def aligned(size: int) -> Bytes:
    """Storage that begins at a multiple of ``LINE``."""
    whole = np.empty(size + LINE, np.uint8)
    first = -whole.ctypes.data % LINE
    return whole[first : first + size]


def _check_model(model: ConvModel) -> None:
    layers = model.layers
    if not 2 <= len(layers) <= MOST_LAYERS:
        raise KernelError(f"a stack has {len(layers)} layers; allowed are 2 to {MOST_LAYERS}")
    for layer in layers:
        layer.check()
    gives, takes = zip(*(layer.weights.shape[:2] for layer in layers), strict=True)
    if takes[0] not in (PHASES, 2 * PHASES) or takes[1:] != gives[:-1]:
        raise KernelError(
            f"layers give {gives} channels and take {takes}; each takes what the one before gives, "
            f"the first {PHASES} or {2 * PHASES}"
        )
    top = top_taken(takes[0])
    given = [(-top, top), *((it.low + it.zero, it.high + it.zero) for it in layers)]
    for (low, high), layer in zip(given, layers, strict=False):
        if not layer.bottom <= min(low, 0) <= high <= layer.top:
            raise KernelError(
                f"a layer is given {low}..{high} and nothing around it, and is made for "
                f"{layer.bottom}..{layer.top}; allowed is what holds both"
            )
    if model.skip is not None:
        _check_skip(model.skip, gives)


def _check_skip(skip: tuple[float, float], gives: Sequence[int]) -> None:
    share, kept_share = skip
    if len(gives) < 3 or gives[0] != gives[-2]:
        raise KernelError(
            f"a skip goes over layers that give {gives} channels; allowed are three and more, of which "
            "the first and the last but one give as many"
        )
    # 0 and 0 tell the kernel that there is none.
    if not 0 < TOP_BYTE * (abs(share) + abs(kept_share)) <= TOP_STEP:
        raise KernelError(
            f"a skip takes shares of {share} and {kept_share}; allowed are some, up to "
            f"{TOP_STEP // TOP_BYTE} together"
        )


def _check_planes(array: NDArray[np.generic], shape: tuple[int, ...], dtype: type) -> None:
    is_in_rows = array.ndim == 3 and (array.shape[2] == 1 or array.strides[2] == array.itemsize)
    if array.shape != shape or array.dtype != dtype or not (is_in_rows and array.flags.aligned):
        raise KernelError(
            f"planes are {array.shape} {array.dtype} with strides {array.strides}; allowed are {shape} "
            f"{np.dtype(dtype)}, aligned and contiguous along columns"
        )
    if not 0 < min(shape) <= max(shape) <= LONGEST_SIDE:
        raise KernelError(f"planes are {shape}; allowed are sides of 1 to {LONGEST_SIDE}")
