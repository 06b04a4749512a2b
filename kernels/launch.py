"""Calls of the kernels, described before anything runs: which entry, which arguments, how many threads.

Nothing here touches a device: ``driver.Module`` runs a ``Call`` on one. Each function checks that
the shapes fit each other, and raises ``KernelError`` where they do not; that the addresses are good
is the caller's word. What the kernels compute is defined in ``kernels/reference.py``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from kernels import arguments as c
from kernels import units
from kernels.arguments import Grid, Picture, Plane, Precision, Tensor
from kernels.errors import KernelError
from kernels.units import Unit

BLOCK = (32, 8)
"""Threads of a block: a warp is 32 neighbours of one row."""

REDUCTION_BLOCKS = 512
"""Of a difference at most; each ends in atomics on the same addresses. Three for each of the 170
multiprocessors of the largest device so far."""

WATCH_BLOCKS = 2048
"""At most; a thread waits for 16 bytes before it asks for the next, so many have to be asking."""


@dataclass(frozen=True, slots=True)
class Call:
    """One launch: an entry of a unit, its only argument, and blocks of ``BLOCK`` threads."""

    unit: Unit
    entry: str
    fields: ctypes.Structure
    blocks: tuple[int, int]


def pack(picture: Picture, out: Tensor) -> Call:
    """The networks' input (6, rows, columns) of a picture; what is beyond it repeats its edge."""
    _need_cells(picture, out, "a packed input")
    fields = c.PackFields(c.surface(picture), out.address, out.rows, out.columns)
    entry = f"pack_{picture.layout}_{out.precision}"
    columns = 16 // out.precision.size_bytes
    return Call(units.PACK, entry, fields, _blocks(_over(out.columns, columns), out.rows))


def add_residual(picture: Picture, residual: Tensor, out: Picture, *, scale: int) -> Call:
    """The bicubic upscale of a picture plus (6 * scale**2, rows, columns) of residual."""
    if scale not in units.SCALES:
        raise KernelError(f"pictures are enlarged by 1, 2, 3 or 4, not by {scale}; choose one")
    wanted = (scale * picture.width, scale * picture.height, picture.layout)
    if (out.width, out.height, out.layout) != wanted:
        raise KernelError(
            f"the output is {out.width}x{out.height} {out.layout}, x{scale} of "
            f"{picture.width}x{picture.height} {picture.layout} is {wanted[0]}x{wanted[1]} "
            f"{wanted[2]}; lease an output of that size"
        )
    _need_cells(picture, residual, "a residual")
    fields = c.AddResidualFields(
        c.surface(picture), c.surface(out), residual.address, residual.rows, residual.columns
    )
    cell_rows, cell_columns = _cells(picture)
    return Call(
        units.ADD_RESIDUAL[scale],
        f"add_residual_{picture.layout}_{residual.precision}",
        fields,
        _blocks(_over(cell_columns, 4), 3 * cell_rows),
    )


def planar(picture: Picture, out: Picture) -> Call:
    """A decoder's picture, whose U and V lie in pairs, as three planes of 8 bits."""
    seen = (picture.layout.has_pairs, out.width, out.height, out.layout)
    if seen != (True, picture.width, picture.height, c.Layout.YUV420P):
        raise KernelError(
            f"{picture.width}x{picture.height} {picture.layout} cannot become {out.width}x"
            f"{out.height} {out.layout}; give pairs and lease yuv420p of the same size"
        )
    fields = c.PlanarFields(c.surface(picture), c.surface(out))
    rows, columns = _cells(picture)
    return Call(units.PLANAR, f"planar_{picture.layout}", fields, _blocks(_over(columns, 8), rows))


def interleave(picture: Picture, out: Picture) -> Call:
    """Three planes of 8 bits as luma and pairs, which encoders of a device take."""
    seen = (picture.layout, out.width, out.height, out.layout)
    if seen != (c.Layout.YUV420P, picture.width, picture.height, c.Layout.NV12):
        raise KernelError(
            f"{picture.width}x{picture.height} {picture.layout} cannot become {out.width}x"
            f"{out.height} {out.layout}; give yuv420p and lease nv12 of the same size"
        )
    fields = c.InterleaveFields(c.surface(picture), c.surface(out))
    rows, columns = _cells(picture)
    return Call(units.INTERLEAVE, "interleave_nv12", fields, _blocks(_over(columns, 8), rows))


def warp(
    first: Plane, second: Plane, out: Plane, *, guide: int, grid: Grid, is_sharp: bool
) -> Call:
    """Both planes looked up along a flow and mixed by a mask: ``guide`` (5, rows, columns).

    ``is_sharp`` looks up bicubically, else bilinearly, which is enough for what was enlarged.
    """
    _need_alike(first, second)
    return _warp("two", (first, second), out, guide=guide, grid=grid, is_sharp=is_sharp)


def warp_one(plane: Plane, out: Plane, *, guide: int, grid: Grid, is_sharp: bool) -> Call:
    """One plane looked up along a flow, ``guide`` (2, rows, columns), as a prediction needs it."""
    return _warp("one", (plane, plane), out, guide=guide, grid=grid, is_sharp=is_sharp)


def cover(over: Plane, out: Plane, *, mask: Plane) -> Call:
    """What of ``over`` the mask, of 8 bits, does not leave out, put into ``out``."""
    _need_alike(over, out)
    if (mask.width, mask.height, mask.bits, mask.channels) != (out.width, out.height, 8, 1):
        raise KernelError(
            f"the mask is {_described(mask)}, the plane {_described(out)}; give a mask of that size "
            "and of 8 bits"
        )
    fields = c.CoverFields(
        over.address,
        mask.address,
        out.address,
        over.stride,
        mask.stride,
        out.stride,
        out.width,
        out.height,
    )
    pixel = out.channels * (1 if out.bits == 8 else 2)
    return Call(units.COVER, f"cover_{pixel}", fields, _blocks(_over(out.width, 8), out.height))


def finish(made: Plane, out: Plane, *, guide: int, grid: Grid) -> Call:
    """A made luma plane plus a residual, and blurred by a softness: ``guide`` (2, rows, columns)."""
    _need_cells_of_pixels(grid)
    _need_alike(made, out)
    _need_other_memory(made, out)
    fields = c.FinishFields(
        made.address,
        out.address,
        guide,
        made.stride,
        out.stride,
        made.width,
        made.height,
        c.grid_fields(grid),
    )
    entry = f"finish_{made.bits}"
    return Call(units.FINISH, entry, fields, _blocks(_over(made.width, 8), made.height))


def difference(first: Plane, second: Plane, *, out: int, with_bins: bool = False) -> Call:
    """Adds to a zeroed ``Difference`` how far two luma planes are apart, and ``with_bins`` their
    histograms; without them its first 8 bytes are enough."""
    _need_alike(first, second)
    fields = c.DifferenceFields(
        first.address, second.address, out, first.stride, second.stride, first.width, first.height
    )
    across, down = _blocks(_over(first.width, 16), first.height)
    blocks = (across, max(1, min(down, REDUCTION_BLOCKS // across)))
    entry = f"difference_{first.bits}_{'bins' if with_bins else 'sum'}"
    return Call(units.DIFFERENCE, entry, fields, blocks)


def watch(residual: int, *, count: int, precision: Precision, out: int) -> Call:
    """Adds to a zeroed ``Health`` what a residual of ``count`` values has that it should not."""
    values = 16 // precision.size_bytes
    blocks = min(WATCH_BLOCKS, _over(count, values * BLOCK[0] * BLOCK[1]))
    fields = c.WatchFields(residual, out, count)
    return Call(units.WATCH, f"watch_{precision}", fields, (max(1, blocks), 1))


def _warp(
    sides: str,
    planes: tuple[Plane, Plane],
    out: Plane,
    *,
    guide: int,
    grid: Grid,
    is_sharp: bool,
) -> Call:
    _need_cells_of_pixels(grid)
    for plane in planes:
        _need_alike(plane, out)
        _need_other_memory(plane, out)
    first, second = planes
    fields = c.WarpFields(
        first.address,
        second.address,
        out.address,
        guide,
        first.stride,
        second.stride,
        out.stride,
        out.width,
        out.height,
        c.grid_fields(grid),
    )
    kind = "plane" if out.channels == 1 else "pairs"
    entry = f"warp_{sides}_{kind}_{out.bits}_{'cubic' if is_sharp else 'linear'}"
    return Call(units.WARP, entry, fields, _blocks(_over(out.width * out.channels, 8), out.height))


def _blocks(across: int, down: int) -> tuple[int, int]:
    """Blocks for this many threads; what exceeds 65535 rows of blocks, each thread strides over."""
    return _over(across, BLOCK[0]), min(65535, _over(down, BLOCK[1]))


def _over(count: int, share: int) -> int:
    return -(-count // share)


def _cells(picture: Picture) -> tuple[int, int]:
    return _over(picture.height, 2), _over(picture.width, 2)


def _need_cells(picture: Picture, tensor: Tensor, name: str) -> None:
    rows, columns = _cells(picture)
    if rows < 1 or columns < 1 or tensor.rows < rows or tensor.columns < columns:
        raise KernelError(
            f"{name} of {tensor.rows}x{tensor.columns} does not cover a picture of "
            f"{picture.width}x{picture.height}; it needs at least {rows} rows and {columns} columns"
        )


def _need_alike(first: Plane, second: Plane) -> None:
    if first.width < 1 or first.height < 1:
        raise KernelError(f"a plane is {_described(first)}; give one of a pixel at least")
    if _kind(first) != _kind(second):
        raise KernelError(
            f"one plane is {_described(first)}, the other {_described(second)}; "
            "give planes of one size and depth"
        )


def _need_cells_of_pixels(grid: Grid) -> None:
    if not grid.cell >= 1:
        raise KernelError(
            f"a cell of the guide is {grid.cell} pixels, a kernel takes 1 or more; make the guide of "
            "a smaller picture"
        )


def _need_other_memory(plane: Plane, out: Plane) -> None:
    if plane.address == out.address:
        raise KernelError(
            "a plane cannot be made in its own memory, its neighbours are read; lease another output"
        )


def _kind(plane: Plane) -> tuple[int, int, int, int]:
    return plane.width, plane.height, plane.bits, plane.channels


def _described(plane: Plane) -> str:
    pairs = " pairs" if plane.channels == 2 else ""
    return f"{plane.width}x{plane.height}{pairs} of {plane.bits} bits"
