"""Pictures in host memory as kernels meet them: any stride, any alignment, guarded on every side."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Layout, Picture, Plane, Precision, Tensor

FLOATS: dict[Precision, type[np.floating[Any]]] = {
    Precision.FLOAT16: np.float16,
    Precision.FLOAT32: np.float32,
}
GUARD = 96
"""Bytes around an array; more than the widest access."""


class Guarded:
    """A copy of ``values`` whose rows are followed by ``padding`` values, ``offset`` values into memory.

    ``values`` is (H, W) or more; every dimension but the first lies contiguous. Rows are a multiple of
    ``pitch`` bytes apart, as devices lay them.
    """

    alive: ClassVar[WeakSet[Guarded]] = WeakSet()
    """All of them: what a device may be told the address of."""

    def __init__(
        self, values: NDArray[Any], *, padding: int = 0, offset: int = 0, pitch: int = 1
    ) -> None:
        self.alive.add(self)
        width = values[0].nbytes
        self.stride = -(-(width + padding * values.itemsize) // pitch) * pitch
        size = 2 * GUARD + self.stride * len(values)
        noise = np.random.default_rng(values.size).integers(0, 256, size + 64, np.uint8)
        begin = -noise.ctypes.data % 64
        self.memory = noise[begin : begin + size]
        start = GUARD + offset * values.itemsize
        strides = (self.stride, *values.strides[1:])
        self.array: NDArray[Any] = np.ndarray(
            values.shape, values.dtype, self.memory.data, start, strides
        )
        self._rows = np.ndarray(
            (len(values), width), np.uint8, self.memory.data, start, (self.stride, 1)
        )
        self.array[:] = values
        self._before = self._outside()

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def offset_of(self, address: int) -> int | None:
        """How far an address lies inside this memory; nothing for one outside."""
        offset = address - int(self.memory.ctypes.data)
        return offset if 0 <= offset < self.memory.nbytes else None

    def is_intact(self) -> bool:
        """Whether nothing outside the rows has changed."""
        return np.array_equal(self._before, self._outside())

    def _outside(self) -> NDArray[np.uint8]:
        inside = self._rows.copy()
        self._rows[:] = 0
        outside = np.array(self.memory)
        self._rows[:] = inside
        return outside

    def plane(self) -> Plane:
        height, width = self.array.shape[:2]
        return Plane(
            address=self.address,
            stride=self.stride,
            width=width,
            height=height,
            bits=10 if self.array.dtype == np.uint16 else 8,
            channels=2 if self.array.ndim == 3 else 1,
        )


class Counts(Guarded):
    """A zeroed structure that a reduction adds to."""

    def __init__(self, kind: type[ctypes.Structure]) -> None:
        super().__init__(np.zeros((1, ctypes.sizeof(kind)), np.uint8))
        self._kind = kind

    @property
    def told(self) -> Any:
        """The structure as it is now."""
        return self._kind.from_buffer_copy(self.array.tobytes())


class HostPicture:
    """The planes of a 4:2:0 picture, each guarded."""

    def __init__(
        self,
        planes: Sequence[NDArray[Any]],
        layout: Layout,
        *,
        padding: int = 0,
        offset: int = 0,
        pitch: int = 1,
    ) -> None:
        self.layout = layout
        self.guarded = [
            Guarded(plane, padding=padding, offset=offset, pitch=pitch) for plane in planes
        ]

    @property
    def planes(self) -> list[NDArray[Any]]:
        return [guarded.array for guarded in self.guarded]

    def is_intact(self) -> bool:
        return all(guarded.is_intact() for guarded in self.guarded)

    def picture(self) -> Picture:
        height, width = self.planes[0].shape
        return Picture(
            layout=self.layout,
            width=width,
            height=height,
            luma=self.guarded[0].address,
            chroma=self.guarded[1].address,
            second=self.guarded[-1].address,
            luma_stride=self.guarded[0].stride,
            chroma_stride=self.guarded[1].stride,
        )


def noise(layout: Layout, *, width: int, height: int, seed: int = 1) -> list[NDArray[Any]]:
    """Planes of a picture of random codes, both extremes among them."""
    numbers = np.random.default_rng([seed, width, height])
    rows, columns = (height + 1) // 2, (width + 1) // 2
    chroma = [(rows, columns, 2)] if layout.has_pairs else [(rows, columns)] * 2
    return [random_samples(shape, layout.bits, numbers) for shape in ((height, width), *chroma)]


def random_samples(shape: tuple[int, ...], bits: int, numbers: np.random.Generator) -> NDArray[Any]:
    """Random samples, a tenth of them the least and a tenth the greatest code.

    The lower 6 bits of 10-bit samples are noise: they mean nothing.
    """
    top = 2**bits - 1
    codes = numbers.integers(0, top + 1, shape)
    chance = numbers.random(shape)
    codes[chance < 0.1] = 0
    codes[chance > 0.9] = top
    if bits == 8:
        return codes.astype(np.uint8)
    return (codes << 6 | numbers.integers(0, 64, shape)).astype(np.uint16)


def tensor(values: Guarded, precision: Precision) -> Tensor:
    """(n, rows, columns), which must be contiguous, as kernels are told of it."""
    rows, columns = values.array.shape[-2:]
    return Tensor(address=values.address, rows=rows, columns=columns, precision=precision)
