"""Calls before they run: what is refused, how the work is divided, and that C sees what Python says."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernels import arguments, launch
from kernels.arguments import Grid, Layout, Picture, Plane, Precision, Tensor
from kernels.errors import KernelError
from kernels.units import SOURCES
from tests.kernels.host_build import HOST
from tests.kernels.pictures import Guarded
from tests.kernels.runners import moved, named

PICTURE = Picture(
    layout=Layout.NV12, width=37, height=21, luma=1, chroma=2, luma_stride=64, chroma_stride=64
)
PLANE = Plane(address=64, stride=64, width=37, height=21)
GRID = Grid(rows=6, columns=10, cell=4)

STRUCTURES: dict[str, dict[str, type[ctypes.Structure]]] = {
    "pack": {"Surface": arguments.SurfaceFields, "PackArguments": arguments.PackFields},
    "add_residual": {"AddResidualArguments": arguments.AddResidualFields},
    "planar": {"PlanarArguments": arguments.PlanarFields},
    "warp": {"Grid": arguments.GridFields, "WarpArguments": arguments.WarpFields},
    "cover": {"CoverArguments": arguments.CoverFields},
    "finish": {"FinishArguments": arguments.FinishFields},
    "difference": {
        "Difference": arguments.Difference,
        "DifferenceArguments": arguments.DifferenceFields,
    },
    "interleave": {"InterleaveArguments": arguments.InterleaveFields},
    "watch": {"Health": arguments.Health, "WatchArguments": arguments.WatchFields},
}


def tensor(rows: int, columns: int) -> Tensor:
    return Tensor(address=4, rows=rows, columns=columns, precision=Precision.FLOAT16)


def field_names(kind: type[ctypes.Structure]) -> list[str]:
    return [field[0] for field in kind._fields_]


@pytest.mark.parametrize("file", list(STRUCTURES))
def test_structures_are_laid_out_as_the_kernels_see_them(file: str, tmp_path: Path) -> None:
    """The compiler checks each size and offset; a wrong one is its error."""
    claims = []
    for name, kind in STRUCTURES[file].items():
        claims.append(f"static_assert(sizeof({name}) == {ctypes.sizeof(kind)});")
        for field in field_names(kind):
            offset = getattr(kind, field).offset
            claims.append(f"static_assert(offsetof({name}, {field.rstrip('_')}) == {offset});")
    source = tmp_path / "claims.cpp"
    source.write_text("\n".join(("#include <cstddef>", f'#include "{file}.cu"', *claims)))
    compiler = shutil.which("g++") or pytest.fail("needs g++: apt-get install g++")
    flags = ("-std=c++17", "-fsyntax-only", "-DSCALE=2", f"-I{HOST}", f"-I{SOURCES}")
    done = subprocess.run(
        [compiler, *flags, source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_structure_of_arguments_is_checked() -> None:
    checked = {kind for kinds in STRUCTURES.values() for kind in kinds.values()}
    structures = {
        kind
        for kind in vars(arguments).values()
        if isinstance(kind, type) and issubclass(kind, ctypes.Structure)
    }
    assert structures == checked


@pytest.mark.parametrize(("rows", "columns"), [(10, 19), (11, 18)])
def test_a_tensor_that_does_not_cover_the_picture_is_refused(rows: int, columns: int) -> None:
    with pytest.raises(KernelError, match=r"37x21; it needs at least 11 rows and 19 columns"):
        launch.pack(PICTURE, tensor(rows, columns))
    with pytest.raises(KernelError, match="a residual"):
        launch.add_residual(PICTURE, tensor(rows, columns), PICTURE, scale=1)
    assert launch.pack(PICTURE, tensor(11, 19)).entry == "pack_nv12_f16"


def test_an_output_of_another_size_or_layout_is_refused() -> None:
    for out in (PICTURE, replace(PICTURE, width=74, height=42, layout=Layout.P010)):
        with pytest.raises(KernelError, match="x2 of 37x21 nv12 is 74x42 nv12"):
            launch.add_residual(PICTURE, tensor(11, 19), out, scale=2)
    with pytest.raises(KernelError, match="not by 5"):
        launch.add_residual(PICTURE, tensor(11, 19), PICTURE, scale=5)


@pytest.mark.parametrize("other", [{"width": 36}, {"height": 20}, {"bits": 10}, {"channels": 2}])
def test_planes_that_are_not_alike_are_refused(other: dict[str, int]) -> None:
    odd = replace(PLANE, address=128, **other)
    with pytest.raises(KernelError, match="one size and depth"):
        launch.difference(PLANE, odd, out=8)
    with pytest.raises(KernelError, match="one size and depth"):
        launch.warp_one(PLANE, odd, guide=8, grid=GRID, is_sharp=True)
    with pytest.raises(KernelError, match="one size and depth"):
        launch.warp(PLANE, odd, odd, guide=8, grid=GRID, is_sharp=True)
    with pytest.raises(KernelError, match="one size and depth"):
        launch.finish(PLANE, odd, guide=8, grid=GRID)


def test_a_plane_of_nothing_is_refused() -> None:
    nothing = replace(PLANE, width=0)
    with pytest.raises(KernelError, match="0x21 of 8 bits; give one of a pixel at least"):
        launch.difference(nothing, nothing, out=8)


def test_a_plane_is_not_made_in_the_memory_it_is_made_from() -> None:
    other = replace(PLANE, address=128)
    with pytest.raises(KernelError, match="its own memory"):
        launch.warp_one(PLANE, PLANE, guide=8, grid=GRID, is_sharp=False)
    with pytest.raises(KernelError, match="its own memory"):
        launch.warp(other, PLANE, PLANE, guide=8, grid=GRID, is_sharp=False)
    with pytest.raises(KernelError, match="its own memory"):
        launch.finish(PLANE, PLANE, guide=8, grid=GRID)


def test_a_launch_has_a_thread_for_each_piece_of_work() -> None:
    picture = replace(PICTURE, width=1920, height=1080)
    call = launch.pack(picture, tensor(540, 960))
    # 960 cells of float16, eight to a thread, 32 threads to a block; 540 rows, 8 to a block.
    assert call.blocks == (4, 68)
    large = replace(picture, width=3840, height=2160)
    added = launch.add_residual(picture, tensor(540, 960), large, scale=2)
    assert added.blocks == (8, -(-3 * 540 // 8))
    assert added.unit.name == "add_residual_x2"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 360), (7680, 4320)])
def test_reductions_take_few_blocks_whatever_the_size(width: int, height: int) -> None:
    plane = replace(PLANE, width=width, height=height)
    across, down = launch.difference(plane, plane, out=8).blocks
    assert 1 <= across * down <= launch.REDUCTION_BLOCKS
    watched = launch.watch(8, count=6 * width * height, precision=Precision.FLOAT16, out=8)
    assert 1 <= watched.blocks[0] <= launch.WATCH_BLOCKS


def test_arguments_follow_their_memory_to_a_device() -> None:
    """What the runner on a device does with addresses, as far as it can be seen without one."""
    luma = Guarded(np.zeros((21, 37), np.uint8), padding=5)
    pairs = Guarded(np.zeros((11, 19, 2), np.uint8))
    out = Guarded(np.zeros((6, 11, 19), np.float16))
    picture = replace(PICTURE, luma=luma.address, chroma=pairs.address)
    call = launch.pack(picture, replace(tensor(11, 19), address=out.address))
    assert named(call.fields) == {luma, pairs, out}
    there = moved(call.fields, {luma: 10_000, pairs: 20_000, out: 30_000})
    assert isinstance(there, arguments.PackFields)
    assert there.in_.luma == 10_000 + luma.address - luma.memory.ctypes.data
    assert there.in_.second is None
    assert there.out == 30_000 + out.address - out.memory.ctypes.data
    assert (there.rows, there.columns) == (11, 19)
