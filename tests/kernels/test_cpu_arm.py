"""What is compiled for processors, compiled for ARM's and run on one that QEMU plays."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.conv_weights import ConvModel
from kernels.native import Native
from kernels.native_build import FLAGS, SOURCES
from kernels.native_conv import ConvStack
from tests.kernels.cpu_convs import hostile, made, model, taken_by, wrapping
from tests.kernels.cpu_sharpens import ENDS, KINDS, SIZES, sharpened, twin
from tests.programs import needs

COMPILER, PROCESSOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
HARNESSES = Path(__file__).parent / "arm"

pytestmark = needs(COMPILER, PROCESSOR)

STACKS = {
    "odd ones": model(2, [7, 31, 24]),
    "growing": model(3, [13, 40, 11], repeats_edge=True),
    "wide": model(4, [96, 95, 96]),
    "over five": model(6, [32, 9, 17, 64, 48, 32, 54], has_skip=True, repeats_edge=True),
    "two pictures": model(7, [16, 12], phases=12, repeats_edge=True),
    "single channels": model(9, [1, 1, 1, 1], has_skip=True, repeats_edge=True),
}


def program_of(name: str, folder: Path) -> Path:
    """The program that reads a call and makes a picture."""
    program, harness = folder / name, HARNESSES / f"{name}.cpp"
    flags = [flag for flag in FLAGS if flag not in ("-fPIC", "-shared")]
    command = [COMPILER, *flags, "-Wall", "-Werror", "-static", f"-I{SOURCES}"]
    subprocess.run([*command, str(harness), "-o", str(program)], check=True, timeout=300)
    return program


@pytest.fixture(scope="module")
def convolve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program_of("convolve", tmp_path_factory.mktemp("arm"))


def on_arm(
    program: Path, like: Native, stack: ConvModel, packed: NDArray[Any]
) -> NDArray[np.uint8]:
    """The residual (outs, h, w); ``like`` has vectors as long as ARM's, so that arrays are laid out
    alike."""
    calls = ConvStack(like, stack)
    height, width = packed.shape[1:]
    fields = calls.fields(upwards=False)
    fields.packed_plane, fields.packed_row = packed.strides[:2]
    fields.residual_plane, fields.residual_row = height * width, width
    fields.rows, fields.columns, fields.end = height, width, height
    arrays = [
        *calls._kept[: 3 * fields.layers_count],
        packed,
        np.array([-(-height // 4)], np.int32),
    ]
    told = b"".join(np.int64(each.nbytes).tobytes() + each.tobytes() for each in arrays)
    seen = subprocess.run(
        [PROCESSOR, str(program)],
        input=bytes(fields) + told,
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    return np.frombuffer(seen.stdout, np.uint8).reshape(calls.outs, height, width)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("size", [(33, 50), (1, 1), (7, 129)])
def test_arm_makes_the_same_picture(
    convolve: Path, levels: list[Native], name: str, size: tuple[int, int]
) -> None:
    packed = hostile(len(name), *size, phases=taken_by(STACKS[name]))
    expected = made(levels[0], STACKS[name], packed)
    np.testing.assert_array_equal(on_arm(convolve, levels[0], STACKS[name], packed), expected)


def test_sums_wrap_around_there_as_well(convolve: Path, levels: list[Native]) -> None:
    stack, packed = wrapping()
    expected = made(levels[0], stack, packed)
    np.testing.assert_array_equal(on_arm(convolve, levels[0], stack, packed), expected)


class OnArm(Native):
    """Calls the program that sharpens, with planes without gaps."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def call(self, function: str, fields: ctypes.Structure) -> None:
        size = fields.width * fields.height
        told = bytes(fields) + bytes(ctypes.c_int64(size)) + ctypes.string_at(fields.luma, size)
        seen = subprocess.run(
            [PROCESSOR, str(self._program)],
            input=told,
            stdout=subprocess.PIPE,
            check=True,
            timeout=300,
        )
        ctypes.memmove(fields.out, seen.stdout, size)


def test_arm_sharpens_the_same(tmp_path: Path) -> None:
    on_arm = OnArm(program_of("sharpening", tmp_path))
    for kind in KINDS.values():
        for size in SIZES:
            for black, white in ENDS:
                luma = kind(*size)
                seen = sharpened(on_arm, luma, 0.7, black, white)
                np.testing.assert_array_equal(seen, twin(luma, 0.7, black, white))


def test_everything_compiles_for_arm(tmp_path: Path) -> None:
    # The convolutions need what only -O3 inlines; above they are compiled so.
    sources = sorted(str(one) for one in SOURCES.glob("*.cpp") if one.name != "conv_stack.cpp")
    flags = [*FLAGS, "-O1", "-DSOURCES=1ULL"]
    command = [COMPILER, *flags, "-o", str(tmp_path / "all.so"), *sources]
    subprocess.run(command, check=True, timeout=300)
