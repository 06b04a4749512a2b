"""Each kernel that a stream runs, tried on a small picture beside its definition in NumPy.

Drivers, compilers and cards differ, and a wrong kernel shows as a wrong picture and nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import launch, reference
from kernels.arguments import Grid, Health, Layout, Picture, Plane, Precision, Tensor
from kernels.launch import Call
from streamer.errors import EngineError
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.gpu.pictures import CODES, laid_out, size_bytes
from streamer.infer.device import ours

WIDTH, HEIGHT = 150, 22
"""Of the picture: more than a row of threads, and no multiple of what one of them does."""

CELL = 4
ROWS, COLUMNS = -(-HEIGHT // CELL), -(-WIDTH // CELL)
"""Of a guide."""

DTYPES: dict[Precision, type[np.generic]] = {
    Precision.FLOAT16: np.float16,
    Precision.FLOAT32: np.float32,
}

Array = NDArray[Any]
Try = tuple[Call, int, Array]
"""A call, where its result is, and what that has to be."""

_passed: set[tuple[Any, ...]] = set()
_one_at_a_time = Lock()


def check_kernels(
    gpu: Gpu, *, scale: int, inputs: set[Precision], residuals: set[Precision]
) -> None:
    """Tries all that a stream of this ``scale`` may run, once per process; ``inputs`` and
    ``residuals`` are what its networks take and give.

    Raises ``EngineError`` that names the kernel which gives something else than its definition. The
    first time ever, this is where they are compiled.
    """
    with _one_at_a_time, ours():
        gpu.enter()
        told = (gpu.device.name, scale, frozenset(inputs), frozenset(residuals))
        if told in _passed:
            return
        for call, address, expected in _Tries(gpu).all(scale, inputs, residuals):
            gpu.launch(call)
            gpu.compute.wait()
            seen = np.empty(expected.shape, expected.dtype)
            gpu.device.download(seen.ctypes.data, address, seen.nbytes)
            # In bytes, for what is not a number equals nothing.
            if seen.tobytes() != expected.tobytes():
                raise EngineError(
                    f"the kernel {call.entry} computes something else on {gpu.device.name} than it "
                    "should; update the driver, or use --backend ort-cpu, and please report it"
                )
        _passed.add(told)


class _Tries:
    """Builds the calls; its memory goes back with it."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._leases: list[Lease] = []
        self._numbers = np.random.default_rng(1)

    def all(self, scale: int, inputs: set[Precision], residuals: set[Precision]) -> Iterator[Try]:
        """In the order in which a picture meets them."""
        yield from self._decoded()
        for precision in sorted(inputs):
            yield self._pack(precision)
        for precision in sorted({*residuals, Precision.FLOAT16}):
            yield self._watch(precision)
            yield self._add_residual(precision, scale)
        yield from self._made()
        yield self._interleave()

    def _decoded(self) -> Iterator[Try]:
        for layout in (Layout.NV12, Layout.P010):
            planes = self._planes(layout)
            out = self._empty(size_bytes(Layout.YUV420P, WIDTH, HEIGHT))
            made = laid_out(out, Layout.YUV420P, WIDTH, HEIGHT)
            call = launch.planar(self._picture(planes, layout), made)
            yield call, out, _flat(reference.planar(planes))
        first, second = (self._planes(Layout.YUV420P)[0] for _ in range(2))
        apart, _ = reference.difference(first, second)
        expected = np.array([apart], np.uint64)
        out = self._empty(expected.nbytes)
        yield launch.difference(self._plane(first), self._plane(second), out=out), out, expected

    def _pack(self, precision: Precision) -> Try:
        planes, rows, columns = self._planes(Layout.YUV420P), HEIGHT // 2 + 1, WIDTH // 2 + 3
        dtype: Any = DTYPES[precision]
        expected = reference.pack(planes, rows=rows, columns=columns, dtype=dtype)
        out = self._empty(expected.nbytes)
        to = Tensor(address=out, rows=rows, columns=columns, precision=precision)
        return launch.pack(self._picture(planes, Layout.YUV420P), to), out, expected

    def _residual(self, precision: Precision, scale: int) -> Array:
        shape = (6 * scale**2, HEIGHT // 2, WIDTH // 2)
        values = self._numbers.normal(0, 40, shape).astype(DTYPES[precision])
        values[0, 0, :3] = np.nan, np.inf, -np.inf
        return values

    def _watch(self, precision: Precision) -> Try:
        residual = self._residual(precision, 1)
        out = self._empty(ctypes.sizeof(Health))
        call = launch.watch(
            self._there(residual), count=residual.size, precision=precision, out=out
        )
        return call, out, np.array(reference.watch(residual), np.uint32)

    def _add_residual(self, precision: Precision, scale: int) -> Try:
        planes, residual = self._planes(Layout.YUV420P), self._residual(precision, scale)
        width, height = scale * WIDTH, scale * HEIGHT
        out = self._empty(size_bytes(Layout.YUV420P, width, height))
        rows, columns = residual.shape[1:]
        call = launch.add_residual(
            self._picture(planes, Layout.YUV420P),
            Tensor(address=self._there(residual), rows=rows, columns=columns, precision=precision),
            laid_out(out, Layout.YUV420P, width, height),
            scale=scale,
        )
        return call, out, _flat(reference.add_residual(planes, residual, scale=scale))

    def _made(self) -> Iterator[Try]:
        first, second = (self._planes(Layout.YUV420P)[0] for _ in range(2))
        flow = self._numbers.normal(0, 2, (4, ROWS, COLUMNS)).astype(np.float32)
        mask, residual, softness = self._numbers.uniform(-0.1, 1, (3, ROWS, COLUMNS)).astype(
            np.float32
        )
        guide = np.stack((*flow, mask))
        grid = Grid(rows=ROWS, columns=COLUMNS, cell=CELL)
        ends = self._plane(first), self._plane(second)
        at = self._there(guide)
        for is_sharp in (False, True):
            how: dict[str, Any] = {"cell": CELL, "is_sharp": is_sharp}
            out = self._plane(np.zeros_like(first))
            two = launch.warp(*ends, out, guide=at, grid=grid, is_sharp=is_sharp)
            yield two, out.address, reference.warp(first, second, flow=flow, mask=mask, **how)
            out = self._plane(np.zeros_like(first))
            one = launch.warp_one(ends[0], out, guide=at, grid=grid, is_sharp=is_sharp)
            yield one, out.address, reference.warp_one(first, flow=flow[:2], **how)
        out = self._plane(np.zeros_like(first))
        there = self._there(np.stack((residual, softness)))
        finish = launch.finish(ends[0], out, guide=there, grid=grid)
        maps: dict[str, Any] = {"residual": residual, "softness": softness, "cell": CELL}
        yield finish, out.address, reference.finish(first, **maps)
        covers = (self._numbers.random(first.shape) < 0.5).astype(np.uint8) * 255
        out = self._plane(second)
        cover = launch.cover(ends[0], out, mask=self._plane(covers))
        yield cover, out.address, reference.cover(second, first, covers)

    def _interleave(self) -> Try:
        planes = self._planes(Layout.YUV420P)
        out = self._empty(size_bytes(Layout.NV12, WIDTH, HEIGHT))
        made = laid_out(out, Layout.NV12, WIDTH, HEIGHT)
        call = launch.interleave(self._picture(planes, Layout.YUV420P), made)
        return call, out, _flat(reference.interleave(planes))

    def _planes(self, layout: Layout) -> list[Array]:
        """Noise of all codes."""
        rows, columns = HEIGHT // 2, WIDTH // 2
        chroma = [(rows, columns, 2)] if layout.has_pairs else [(rows, columns)] * 2
        dtype: Any = CODES[layout]
        top = 1 << 8 * np.dtype(dtype).itemsize
        return [
            self._numbers.integers(0, top, shape, dtype) for shape in ((HEIGHT, WIDTH), *chroma)
        ]

    def _picture(self, planes: Sequence[Array], layout: Layout) -> Picture:
        return laid_out(self._there(_flat(planes)), layout, WIDTH, HEIGHT)

    def _plane(self, values: Array) -> Plane:
        height, width = values.shape
        return Plane(address=self._there(values), stride=width, width=width, height=height)

    def _empty(self, size: int) -> int:
        return self._there(np.zeros(size, np.uint8))

    def _there(self, values: Array) -> int:
        """The address of a copy on the device."""
        lease = self._gpu.memory.lease(values.nbytes, self._gpu.compute)
        self._leases.append(lease)
        whole = np.ascontiguousarray(values)
        self._gpu.device.upload(lease.address, whole.ctypes.data, whole.nbytes)
        return lease.address


def _flat(planes: Sequence[Array]) -> Array:
    return np.concatenate([plane.reshape(-1) for plane in planes])
