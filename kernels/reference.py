"""The NumPy twins: each kernel's definition.

Every step is float32 in the order that the kernels have, and where they fuse a product and a sum, so
that both are rounded once, ``_fused`` does; a twin and its kernel agree in every bit. Pictures are
lists of planes as a layout has them: (H, W) luma, then (h, w, 2) pairs, or (h, w) U and (h, w) V;
uint8, or uint16 with 10 bits in the upper ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.conv_weights import GAIN, PHASES, ConvLayer, ConvModel, top_taken

Samples = NDArray[Any]
"""uint8, or uint16 with 10 bits in the upper ones."""
Floats = NDArray[np.float32]

F32 = np.float32
BINS = 64

RESIDUAL_ZERO = 128
"""What stands for nothing in a residual of uint8, as int8 models give them on the processor."""

DARK = -128
"""Residual values from here down make a pixel black, whatever was under it."""

_GAUSSIAN = np.exp(-(np.arange(-2, 3) ** 2) / 2)
GAUSSIAN = (_GAUSSIAN / _GAUSSIAN.sum()).astype(F32)
"""5 taps, sigma 1, as OpenCV's ``getGaussianKernel``."""


def codes(samples: Samples) -> Floats:
    """The code values that samples hold."""
    return (samples >> 6 if samples.dtype == np.uint16 else samples).astype(F32)


def samples_of(values: Floats, dtype: np.dtype[Any]) -> Samples:
    """The nearest samples, halves to even, inside the range; NaN becomes 0."""
    whole = _rounded(values, dtype).astype(dtype)
    return whole << 6 if dtype == np.uint16 else whole


def pack(
    planes: Sequence[Samples], *, rows: int, columns: int, dtype: type[np.floating[Any]]
) -> NDArray[Any]:
    """The networks' input (6, rows, columns), in ``dtype``; edges repeat as far as it reaches.

    Four phases of luma in the order (0, 0), (0, 1), (1, 0), (1, 1), then U, then V, as
    ``(code - offset) / gain``: 16 and 219 for luma, 128 and 224 for chroma, times 4 in 10 bits.
    """
    luma, u, v = (codes(plane) for plane in _three(planes))
    unit = _unit(planes[0].dtype)
    luma = _at(luma, np.arange(2 * rows), np.arange(2 * columns))
    chroma = [_at(plane, np.arange(rows), np.arange(columns)) for plane in (u, v)]
    phases = [luma[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    normal = [(phase - F32(16 * unit)) / F32(219 * unit) for phase in phases]
    normal += [(plane - F32(128 * unit)) / F32(224 * unit) for plane in chroma]
    return np.stack(normal).astype(dtype)


def upscale(samples: Samples, *, scale: int, height: int, width: int) -> Samples:
    """The plain upscale of one plane, cut to (height, width).

    Bicubic with a = -0.75, pixel centres aligned, edges repeated, rounded once. OpenCV's
    ``INTER_CUBIC`` rounds its weights to 1/2048 for 8 bits: at x3 one pixel of noise in 300 is another
    by one code value, at x4 one in 200000, at x2 none.
    """
    blended = _stretch(codes(samples), scale=scale, length=height)
    blended = _stretch(blended.T, scale=scale, length=width).T
    return samples_of(np.ascontiguousarray(blended), samples.dtype)


def add_residual(
    planes: Sequence[Samples], residual: NDArray[Any], *, scale: int
) -> tuple[Samples, ...]:
    """The plain upscale plus ``residual`` (6 * scale**2, rows, columns) in 8-bit code values.

    The upscale is rounded and clipped, then the sum. A residual that is not finite counts as
    nothing: where a network fails, the plain picture shows. One of uint8 is around ``RESIDUAL_ZERO``;
    the processor's kernel alone takes it.
    """
    height, width = (scale * side for side in planes[0].shape)
    added = residual_codes(residual)
    added[~np.isfinite(added)] = 0
    added *= F32(_unit(planes[0].dtype))
    squares = (4 * scale**2, scale**2, scale**2)
    sizes = ((height, width), *2 * [((height + 1) // 2, (width + 1) // 2)])
    made, begin = [], 0
    for plane, square, size in zip(_three(planes), squares, sizes, strict=True):
        base = upscale(plane, scale=scale, height=size[0], width=size[1])
        detail = _interleaved(added[begin : begin + square])[: size[0], : size[1]]
        made.append(samples_of(codes(base) + detail, plane.dtype))
        begin += square
    return _as(planes, made)


def residual_codes(residual: NDArray[Any]) -> Floats:
    """In code values, whichever way a model gives it."""
    codes_of = residual.astype(F32)
    return codes_of - F32(RESIDUAL_ZERO) if residual.dtype == np.uint8 else codes_of


def planar(planes: Sequence[Samples]) -> tuple[NDArray[np.uint8], ...]:
    """A picture as Y, U and V of 8 bits; 10 bits become the nearest, halves up."""
    unit = _unit(planes[0].dtype)
    whole = [codes(plane).astype(np.int32) for plane in _three(planes)]
    return tuple(np.minimum((plane + unit // 2) // unit, 255).astype(np.uint8) for plane in whole)


def interleave(planes: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], ...]:
    """Y, U and V of 8 bits as luma and (h, w, 2) pairs."""
    luma, u, v = planes
    return luma.copy(), np.stack((u, v), axis=-1)


@dataclass(frozen=True, slots=True)
class Maps:
    """Where the pixels of a plane look into maps of low resolution, bilinearly.

    Cell j lies ``cell`` pixels behind cell j - 1 and has its centre at ``cell * (j + 0.5) - 0.5``
    of the plane; outside the first and last centres the maps go on unchanged.
    """

    height: int
    width: int
    cell: float

    def enlarge(self, part: NDArray[Any]) -> Floats:
        """A (rows, columns) map at the plane's pixels, (height, width)."""
        top, bottom, down = self._line(self.height, part.shape[0])
        left, right, across = self._line(self.width, part.shape[1])
        rows = _along(part[top], part[bottom], down[:, None])
        return _along(rows[:, left], rows[:, right], across)

    def moved(self, flow: NDArray[Any]) -> tuple[Floats, Floats]:
        """Places (x, y) that a (2, rows, columns) flow in cells points at, in pixels."""
        cell = F32(self.cell)
        x, y = np.arange(self.width, dtype=F32), np.arange(self.height, dtype=F32)[:, None]
        return _fused(cell, self.enlarge(flow[0]), x), _fused(cell, self.enlarge(flow[1]), y)

    def _line(self, length: int, cells: int) -> tuple[NDArray[Any], NDArray[Any], Floats]:
        share = F32(1 / self.cell)
        place = (np.arange(length, dtype=F32) + F32(0.5)) * share - F32(0.5)
        place = np.clip(place, F32(0), F32(cells - 1))
        first = place.astype(np.int64)
        return first, np.minimum(first + 1, cells - 1), place - first.astype(F32)


def warp(
    first: Samples,
    second: Samples,
    *,
    flow: NDArray[Any],
    mask: NDArray[Any],
    cell: float,
    is_sharp: bool,
) -> Samples:
    """Both planes looked up along ``flow`` (4, rows, columns) and mixed, rounded once.

    ``flow`` is x and y into the first plane, then x and y into the second, in cells; ``mask``
    (rows, columns) is the share of the first, clipped to 0..1. Planes are (H, W) or (H, W, 2).
    """
    maps = _maps(first, cell)
    one = _looked_up(first, maps.moved(flow[:2]), is_sharp=is_sharp)
    other = _looked_up(second, maps.moved(flow[2:]), is_sharp=is_sharp)
    share = _clipped(maps.enlarge(mask), 0, 1)
    share = share.reshape(*share.shape, *(1,) * (one.ndim - 2))
    return samples_of(_along(other, one, share), first.dtype)


def warp_one(plane: Samples, *, flow: NDArray[Any], cell: float, is_sharp: bool) -> Samples:
    """One plane looked up along ``flow`` (2, rows, columns) in cells."""
    maps = _maps(plane, cell)
    return samples_of(_looked_up(plane, maps.moved(flow), is_sharp=is_sharp), plane.dtype)


def finish(
    made: Samples, *, residual: NDArray[Any], softness: NDArray[Any], cell: float
) -> Samples:
    """A made (H, W) plane, blurred by its share of softness, plus the residual, rounded once.

    Both maps are (rows, columns); ``residual`` is in code values of 8 bits / 255, and nothing where
    it is not finite. The blur is a Gaussian of 5x5 and sigma 1.
    """
    maps = _maps(made, cell)
    share = _clipped(maps.enlarge(softness), 0, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        added = maps.enlarge(residual) * F32(255)
    added[~np.isfinite(added)] = 0
    plain = codes(made)
    height, width = plain.shape
    rows, columns = np.arange(height), np.arange(width)
    down = soft = np.zeros_like(plain)
    for n, weight in enumerate(GAUSSIAN):
        down = _fused(weight, _at(plain, rows + n - 2, columns), down)
    for n, weight in enumerate(GAUSSIAN):
        soft = _fused(weight, _at(down, rows, columns + n - 2), soft)
    return samples_of(_fused(F32(_unit(made.dtype)), added, _along(plain, soft, share)), made.dtype)


def difference(first: Samples, second: Samples) -> tuple[int, NDArray[np.int64]]:
    """The sum of absolute differences in code values, and both (2, 64) histograms."""
    whole = [codes(plane).astype(np.int64) for plane in (first, second)]
    width = 4 * _unit(first.dtype)
    bins = [np.bincount((plane // width).ravel(), minlength=BINS) for plane in whole]
    return int(np.abs(whole[0] - whole[1]).sum()), np.stack(bins)


def cover(under: Samples, over: Samples, mask: NDArray[np.uint8]) -> Samples:
    """``over`` where the (H, W) mask is not zero, ``under`` elsewhere; planes of (H, W) or (H, W, 2)."""
    is_over = (mask != 0).reshape(*mask.shape, *(1,) * (under.ndim - 2))
    return np.where(is_over, over, under)


def convolve(packed: Floats, model: ConvModel) -> NDArray[np.uint8]:
    """The residual (outs, rows, columns) that a stack makes of packed pictures (6 or 12, rows, columns).

    Whole numbers go from layer to layer: code values less their zero first, NaN being the least.
    """
    pictures, top = len(packed) // PHASES, top_taken(len(packed))
    units = np.array(([219] * 4 + [224] * 2) * pictures, F32)[:, None, None]
    with np.errstate(over="ignore"):
        given = np.rint(_clipped(packed * units, -top, top)).astype(np.int64)
    first = given
    for n, layer in enumerate(model.layers):
        steps = _convolved(given, layer, repeats_edge=model.repeats_edge and n == 0)
        if model.skip is not None and n == len(model.layers) - 2:
            share, kept_share = (F32(part) for part in model.skip)
            bounded = np.clip(steps, layer.low, layer.high)
            steps = np.rint(bounded * share + first.astype(F32) * kept_share)
        given = np.clip(steps, layer.low, layer.high).astype(np.int64) + layer.zero
        first = given if n == 0 else first
    return given.astype(np.uint8)


def _convolved(given: NDArray[np.int64], layer: ConvLayer, *, repeats_edge: bool) -> Floats:
    """What a layer gives before it is bounded, (outs, rows, columns)."""
    rows, columns = given.shape[1:]
    wide = np.pad(given, ((0, 0), (1, 1), (1, 1)), mode="edge" if repeats_edge else "constant")
    sums = np.zeros((len(layer.weights), rows, columns))
    # Whole numbers are exact in float64, which can be multiplied fast.
    for y, x in np.ndindex(3, 3):
        under = wide[:, y : y + rows, x : x + columns]
        sums += np.tensordot(layer.weights[:, :, y, x].astype(float), under, 1)
    gained = GAIN * sums.astype(np.int64) + layer.gained_bias[:, None, None]
    steps: Floats = np.rint(gained.astype(F32) * layer.gained_scale[:, None, None])
    return steps


def watch(residual: NDArray[Any]) -> tuple[int, int, int]:
    """How many values are NaN, infinite, and finite but ``DARK`` or below."""
    residual = residual_codes(residual)
    finite = np.isfinite(residual)
    dark = finite & (residual <= DARK)
    return int(np.isnan(residual).sum()), int(np.isinf(residual).sum()), int(dark.sum())


def cubic_weights(place: Floats) -> tuple[Floats, ...]:
    """Weights of four samples for places 0..1 behind the second (Keys 1981, a = -0.75)."""
    a, one = F32(-0.75), F32(1)
    before, behind = place + one, one - place
    first = ((a * before - 5 * a) * before + 8 * a) * before - 4 * a
    second = ((a + 2) * place - (a + 3)) * place * place + one
    third = ((a + 2) * behind - (a + 3)) * behind * behind + one
    return first, second, third, one - first - second - third


def _stretch(plane: Floats, *, scale: int, length: int) -> Floats:
    """Rows blended to ``length`` of them."""
    phases = (np.arange(scale, dtype=F32) + F32(0.5)) / F32(scale) - F32(0.5)
    before = np.where(phases < 0, -1, 0)
    weights = cubic_weights(phases - before.astype(F32))
    row, phase = np.divmod(np.arange(length), scale)
    first = row + before[phase] - 1
    last = len(plane) - 1
    return _sum(
        weights[tap][phase, None] * plane[np.clip(first + tap, 0, last)] for tap in range(4)
    )


def _maps(plane: Samples, cell: float) -> Maps:
    return Maps(height=plane.shape[0], width=plane.shape[1], cell=cell)


def _looked_up(samples: Samples, places: tuple[Floats, Floats], *, is_sharp: bool) -> Floats:
    """Codes at places (x, y), bicubic and clipped to the range, or bilinear; edges repeat."""
    plane = codes(samples)
    height, width = plane.shape[:2]
    # Two pixels outside is all that four samples can tell apart.
    x, y = _clipped(places[0], -3, width + 2), _clipped(places[1], -3, height + 2)
    left, top = np.floor(x), np.floor(y)
    shape = (*left.shape, *(1,) * (plane.ndim - 2))
    across, down = (x - left).reshape(shape), (y - top).reshape(shape)
    column, row = left.astype(np.int64), top.astype(np.int64)

    def at(dy: int, dx: int) -> Floats:
        rows, columns = np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)
        return np.asarray(plane[rows, columns])

    if not is_sharp:
        upper, lower = _along(at(0, 0), at(0, 1), across), _along(at(1, 0), at(1, 1), across)
        return _along(upper, lower, down)
    lines = [
        _blended(cubic_weights(across), [at(dy, n - 1) for n in range(4)]) for dy in range(-1, 3)
    ]
    return _clipped(_blended(cubic_weights(down), lines), 0, _top(samples.dtype))


def _interleaved(phases: Floats) -> Floats:
    """(step * step, rows, columns) phases, row by row, as one (step * rows, step * columns) plane."""
    step = round(len(phases) ** 0.5)
    rows, columns = phases.shape[1:]
    grid = phases.reshape(step, step, rows, columns).transpose(2, 0, 3, 1)
    return grid.reshape(step * rows, step * columns)


def _three(planes: Sequence[Samples]) -> tuple[Samples, Samples, Samples]:
    if len(planes) == 3:
        return planes[0], planes[1], planes[2]
    return planes[0], planes[1][..., 0], planes[1][..., 1]


def _as(planes: Sequence[Samples], made: Sequence[Samples]) -> tuple[Samples, ...]:
    """Three planes in the layout of ``planes``."""
    return tuple(made) if len(planes) == 3 else (made[0], np.stack(made[1:], axis=-1))


def _at(plane: Floats, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
    """Rows and columns of a plane; those outside repeat the edge."""
    height, width = plane.shape
    return np.asarray(plane[np.clip(rows, 0, height - 1)][:, np.clip(columns, 0, width - 1)])


def _along(a: Floats, b: Floats, share: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        return _fused(b - a, share, a)


def _blended(weights: Sequence[Floats], values: Sequence[Floats]) -> Floats:
    code = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        code = _fused(weight, value, code)
    return code


def _fused(a: Floats | np.float32, b: Floats, c: Floats) -> Floats:
    """``a * b + c``, rounded once.

    The product is exact in float64. Their sum is rounded to odd there (Boldo and Melquiond 2008), so
    that rounding it to float32 is as if it had not been rounded before.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        product = np.multiply(a, b, dtype=np.float64)
        total = np.asarray(product + c)
        # What the sum leaves over (Knuth's TwoSum).
        other = total - product
        rest = (product - (total - other)) + (c - other)
        is_cut = np.isfinite(total) & (rest != 0)
        bits = total.view(np.int64) - (is_cut & ((rest < 0) != (total < 0)))
        return np.asarray((bits | is_cut).view(np.float64).astype(F32))


def _sum(terms: Any) -> Floats:
    """In the order given: float32 sums depend on it."""
    return np.asarray(sum(terms, start=F32(0)), dtype=F32)


def _clipped(values: Floats, low: float, high: float) -> Floats:
    """NaN becomes ``low``."""
    return np.fmin(np.fmax(values, F32(low)), F32(high))


def _rounded(values: Floats, dtype: np.dtype[Any]) -> Floats:
    return _clipped(np.rint(values), 0, _top(dtype))


def _unit(dtype: np.dtype[Any]) -> int:
    return 4 if dtype == np.uint16 else 1


def _top(dtype: np.dtype[Any]) -> int:
    return 1023 if dtype == np.uint16 else 255
