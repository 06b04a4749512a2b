"""The convolutions' code for sixteen lanes on processors that have eight: all but the instructions."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference
from kernels.native import Native
from kernels.native_build import FLAGS, SOURCES
from tests.kernels.cpu_convs import (
    SIZES,
    extreme,
    hostile,
    made,
    model,
    reaching,
    taken_by,
    wrapping,
)

HEADER = Path(__file__).parent / "host" / "avx512.h"

STACKS = {
    "six": model(1, [6, 6]),
    "odd ones": model(2, [7, 31, 24]),
    "nano": model(3, [16, 16, 16, 24]),
    "lite with a skip": model(4, [32, 32, 32, 24], has_skip=True),
    "two pictures": model(6, [16, 64, 16, 12], phases=12, has_skip=True, repeats_edge=True),
    "three blocks": model(5, [48, 33, 54], repeats_edge=True),
    "extreme": extreme(96, layers=3),
}


class Emulated(Native):
    """What was compiled with plain arithmetic for instructions."""

    def __init__(self, path: Path) -> None:
        self.level = 4
        self._library = ctypes.CDLL(str(path))


@pytest.fixture(scope="module", params=["AVX-512", "AVX-512 VNNI"])
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Native:
    if shutil.which("g++") is None or platform.machine() != "x86_64":
        pytest.skip("needs g++ for x86-64")
    path = tmp_path_factory.mktemp("wide") / "conv.so"
    vnni = ("-DEMULATES_VNNI",) if request.param == "AVX-512 VNNI" else ()
    # The same code in a third of the time; less does not inline what has to be.
    options = (*FLAGS, "-O2", "-Wno-psabi", *vnni, "-include", str(HEADER))
    source = str(SOURCES / "conv_stack.cpp")
    subprocess.run(["g++", *options, "-o", str(path), source], check=True, timeout=600)
    return Emulated(path)


@cache
def twin(name: str, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A hostile picture, and what a stack makes of it; the same for both."""
    packed = hostile(len(name), rows, columns, phases=taken_by(STACKS[name]))
    return packed, reference.convolve(packed, STACKS[name])


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_its_twin(wide: Native, name: str) -> None:
    assert wide.ask("conv_lanes") == 16
    for rows, columns in SIZES:
        packed, expected = twin(name, rows, columns)
        np.testing.assert_array_equal(made(wide, STACKS[name], packed), expected)


@pytest.mark.parametrize("up", [True, False])
def test_differences_may_reach_the_ends_of_32_bits(wide: Native, *, up: bool) -> None:
    stack, packed = reaching(up=up)
    expected = reference.convolve(packed, stack)
    np.testing.assert_array_equal(made(wide, stack, packed), expected)


def test_sums_may_leave_32_bits_on_the_way(wide: Native) -> None:
    stack, packed = wrapping()
    expected = reference.convolve(packed, stack)
    np.testing.assert_array_equal(made(wide, stack, packed), expected)
