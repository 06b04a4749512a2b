"""The stacks of convolutions that are compiled for processors: their twin, at every level."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference
from kernels.conv_weights import ConvModel
from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_conv import ConvPart, ConvStack
from tests.kernels.cpu_convs import (
    SIZES,
    codes,
    extreme,
    hostile,
    made,
    model,
    reaching,
    scratch,
    taken_by,
    wrapping,
)
from tests.kernels.cpu_warps import runnable
from tests.kernels.pictures import Guarded

ROOT = Path(__file__).parent.parent.parent

STACKS = {
    "two of six": model(1, [6, 6]),
    "odd ones": model(2, [7, 31, 24]),
    "growing": model(3, [13, 40, 11], repeats_edge=True),
    "large": model(10, [16, 16, 16, 24], has_skip=True),
    "wide": model(4, [96, 95, 96]),
    "over one layer": model(5, [33, 33, 24], has_skip=True),
    "over five": model(6, [32, 9, 17, 64, 48, 32, 54], has_skip=True, repeats_edge=True),
    "sixteen": model(7, [17, *[6, 25] * 7, 6]),
    "sixteen with a skip": model(8, [*[17] * 15, 24], has_skip=True),
    "single channels": model(9, [1, 1, 1, 1], has_skip=True, repeats_edge=True),
    "two pictures": model(11, [16, 12], phases=12),
    "two with a skip": model(12, [16, 64, 16, 12], phases=12, has_skip=True, repeats_edge=True),
    "two of odd ones": model(13, [7, 31, 24], phases=12, repeats_edge=True),
    "extreme": extreme(96, layers=3),
    "extreme with a skip": replace(extreme(33, layers=5), skip=(-1.5, 2.5)),
}


@pytest.fixture(params=runnable(), ids=lambda level: level.name)
def compiled(request: pytest.FixtureRequest) -> Native:
    level: Native = request.param
    return level


@cache
def twin(name: str, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A hostile picture, and what a stack makes of it; the same for all levels."""
    packed = hostile(len(name), rows, columns, phases=taken_by(STACKS[name]))
    return packed, reference.convolve(packed, STACKS[name])


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_its_twin(compiled: Native, name: str) -> None:
    for rows, columns in SIZES:
        packed, expected = twin(name, rows, columns)
        np.testing.assert_array_equal(made(compiled, STACKS[name], packed), expected)


@pytest.mark.parametrize("name", ["growing", "large", "two with a skip"])
def test_a_large_picture_is_its_twin(compiled: Native, name: str) -> None:
    packed, expected = twin(name, 181, 323)
    np.testing.assert_array_equal(made(compiled, STACKS[name], packed), expected)


def test_sums_may_leave_32_bits_on_the_way(compiled: Native) -> None:
    stack, packed = wrapping()
    expected = reference.convolve(packed, stack)
    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(made(compiled, stack, packed), expected)


@pytest.mark.parametrize("up", [True, False])
def test_differences_may_reach_the_ends_of_32_bits(compiled: Native, *, up: bool) -> None:
    stack, packed = reaching(up=up)
    expected = reference.convolve(packed, stack)
    assert expected[0, 1, 1] == (255 if up else 0)
    np.testing.assert_array_equal(made(compiled, stack, packed), expected)
    # Less than 255 of each would be another residual.
    assert reference.convolve(packed * np.float32(239 / 438), stack)[0, 1, 1] == (240 if up else 15)


@pytest.mark.parametrize(("phases", "top"), [(6, 239), (12, 255)])
def test_what_lies_beyond_the_codes_there_are_is_the_last_of_them(
    compiled: Native, phases: int, top: int
) -> None:
    stack = model(14, [7, 12], phases=phases)
    packed = codes(3, 21, 34, phases=phases)
    units = np.array(([219] * 4 + [224] * 2) * 2, np.float32)[:phases, None, None]
    chance = np.random.default_rng(3).random(packed.shape)
    signs = np.where(chance < 0.15, -1, 1)
    beyond, last = ((signs * code / units).astype(np.float32) for code in (top + 40, top))
    within = np.where(chance < 0.3, last, packed)
    expected = reference.convolve(within, stack)
    np.testing.assert_array_equal(made(compiled, stack, within), expected)
    seen = made(compiled, stack, np.where(chance < 0.3, beyond, packed))
    np.testing.assert_array_equal(seen, expected)
    less = np.where(chance < 0.3, last - np.float32(0.9) * signs / units, packed)
    assert (made(compiled, stack, less.astype(np.float32)) != expected).any()


@cache
def random_twins(
    seed: int,
) -> tuple[ConvModel, list[tuple[NDArray[np.float32], NDArray[np.uint8]]]]:
    """A stack, pictures, and what it makes of each; the same for all levels."""
    numbers = np.random.default_rng(seed)
    channels = list(map(int, numbers.integers(1, 49, numbers.integers(2, 9))))
    has_skip = len(channels) > 2 and seed % 2 == 0
    if has_skip:
        channels[-2] = channels[0]
    phases = 12 if seed % 4 < 2 else 6
    edge = bool(seed % 3)
    stack = model(seed, channels, phases=phases, has_skip=has_skip, repeats_edge=edge)
    rows, columns = map(int, numbers.integers(1, 41, 2))
    pictures = [each(seed, rows, columns, phases=phases) for each in (codes, hostile)]
    return stack, [(packed, reference.convolve(packed, stack)) for packed in pictures]


@pytest.mark.parametrize("seed", range(40))
def test_random_stacks_are_their_twins(compiled: Native, seed: int) -> None:
    stack, pictures = random_twins(seed)
    for packed, expected in pictures:
        np.testing.assert_array_equal(made(compiled, stack, packed), expected)


def test_what_leaves_is_spread_over_its_range() -> None:
    """Else nothing above would say much."""
    for name in STACKS:
        values = np.unique(twin(name, 33, 50)[1])
        assert len(values) > (1 if "extreme" in name else 30), name


@pytest.mark.parametrize("name", ["over five", "sixteen with a skip", "growing", "two with a skip"])
def test_parts_are_what_the_whole_is_wherever_it_is_cut(compiled: Native, name: str) -> None:
    stack, rows = STACKS[name], 37
    packed = codes(4, rows, 21, phases=taken_by(stack))
    expected = made(compiled, stack, packed)
    cuts: list[Sequence[int]] = [(4, 8, 20), (1,), (2, 3, 7, 30, 36), range(1, rows), (5, 5)]
    for cut in cuts:
        seen = np.full_like(expected, 99)
        calls = ConvStack(compiled, stack)
        for begin, end in pairwise([0, *cut, rows]):
            ConvPart(calls, packed, seen, range(begin, end)).make(scratch(calls, 21)[0])
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("name", ["over five", "odd ones", "two of odd ones"])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 38])
def test_from_the_last_row_on_a_part_is_the_same(compiled: Native, name: str, rows: int) -> None:
    stack = STACKS[name]
    packed = codes(5, rows, 14, phases=taken_by(stack))
    expected = made(compiled, stack, packed)
    calls = ConvStack(compiled, stack)
    for begin in range(0, rows, 3):
        for end in range(begin, rows + 1, 4):
            seen = np.full_like(expected, 99)
            ConvPart(calls, packed, seen, range(begin, end)).make(
                scratch(calls, 14)[0], upwards=True
            )
            np.testing.assert_array_equal(seen[:, begin:end], expected[:, begin:end])
            assert (seen[:, :begin] == 99).all()
            assert (seen[:, end:] == 99).all()


def test_two_that_come_from_both_ends_make_all_of_it(compiled: Native) -> None:
    stack, packed = STACKS["over five"], codes(6, 43, 31)
    expected = made(compiled, stack, packed)
    calls = ConvStack(compiled, stack)
    rooms = [scratch(calls, 31)[0] for _ in range(2)]
    with ThreadPoolExecutor(1) as helper:
        for begin in range(12):
            seen = np.full_like(expected, 99)
            part = ConvPart(calls, packed, seen, range(begin, 43 - begin))
            other = helper.submit(part.make, rooms[1], upwards=True)
            part.make(rooms[0])
            other.result()
            kept = np.s_[:, begin : 43 - begin]
            np.testing.assert_array_equal(seen[kept], expected[kept])


def spaced(values: NDArray[Any], *, rows: int = 1, gap: int = 0) -> NDArray[Any]:
    """The same in memory whose rows lie apart; upside down where ``rows`` is -1."""
    planes, height, width = values.shape
    whole: NDArray[Any] = np.zeros((planes, height + 3, width + gap), values.dtype)
    view = whole[:, 3:, :width][:, ::rows]
    view[:] = values
    return view


@pytest.mark.parametrize("rows", [1, -1])
@pytest.mark.parametrize("name", ["over five", "two pictures"])
def test_planes_and_rows_may_lie_anywhere(compiled: Native, name: str, rows: int) -> None:
    stack = STACKS[name]
    packed = codes(7, 18, 35, phases=taken_by(stack))
    expected = made(compiled, stack, packed)
    calls = ConvStack(compiled, stack)
    for planes in (spaced(packed, rows=rows, gap=5), spaced(packed[::-1], rows=rows)[::-1]):
        # One byte off, with seven between rows.
        out = Guarded(np.zeros((18, calls.outs, 35), np.uint8), padding=7, offset=1)
        turned = out.array.transpose(1, 0, 2)[:, ::rows]
        ConvPart(calls, planes, turned, range(18)).make(scratch(calls, 35)[0])
        np.testing.assert_array_equal(turned, expected)
        assert out.is_intact()


@pytest.mark.parametrize(
    "name", ["growing", "odd ones", "over five", "sixteen with a skip", "two with a skip"]
)
def test_nothing_is_written_but_scratch_and_the_rows_asked_for(compiled: Native, name: str) -> None:
    calls = ConvStack(compiled, STACKS[name])
    for rows, columns in SIZES:
        packed = hostile(8, rows, columns, phases=calls.phases)
        room, *around = scratch(calls, columns)
        before = [part.copy() for part in around]
        part = range(rows // 3, rows - rows // 4)
        out = Guarded(np.full((rows, calls.outs, columns), 99, np.uint8), padding=3)
        residual = out.array.transpose(1, 0, 2)
        for upwards in (False, True):
            ConvPart(calls, packed, residual, part).make(room, upwards=upwards)
            assert (residual[:, : part.start] == 99).all()
            assert (residual[:, part.stop :] == 99).all()
            assert out.is_intact()
            assert all(map(np.array_equal, before, around))


def test_scratch_may_hold_anything_before(compiled: Native) -> None:
    stack = STACKS["over five"]
    packed = codes(9, 22, 30)
    calls = ConvStack(compiled, stack)
    seen = np.zeros((2, calls.outs, 22, 30), np.uint8)
    for residual, value in zip(seen, (0, 255), strict=True):
        room = scratch(calls, 30)[0]
        room[:] = value
        ConvPart(calls, packed, residual, range(22)).make(room)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_nothing_outside_of_the_arrays_is_touched() -> None:
    """In a process of its own, which a signal ends at the first such access."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cpu_convs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 64


GOOD = model(12, [9, 8, 9, 6], has_skip=True)


def with_layer(n: int, **changes: Any) -> ConvModel:
    layers = list(GOOD.layers)
    layers[n] = replace(layers[n], **changes)
    return replace(GOOD, layers=layers)


def of_two(**changes: Any) -> ConvModel:
    """A stack that takes two pictures, but for its first layer."""
    first, last = model(12, [8, 6], phases=12).layers
    return ConvModel([replace(first, **changes), last])


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (model(1, [6]), "has 1 layers; allowed are 2 to 16"),
        (model(1, [6] * 17), "has 17 layers; allowed are 2 to 16"),
        (replace(GOOD, layers=[]), "has 0 layers"),
        (
            replace(GOOD, layers=GOOD.layers[1:]),
            r"and take \(9, 8, 9\); each takes what the one before gives, the first 6 or 12$",
        ),
        (model(1, [6, 6], phases=7), r"take \(7, 6\); each takes .*, the first 6 or 12$"),
        (model(1, [6, 6], phases=18), r"take \(18, 6\); each takes .*, the first 6 or 12$"),
        (replace(GOOD, layers=[*GOOD.layers[:2], GOOD.layers[0]]), "each takes what"),
        (with_layer(1, bias=np.full(8, 1e9)), "a layer's weights reach"),
        (with_layer(0, bottom=0), "is given -239..239"),
        (with_layer(0, top=238), "is given -239..239"),
        (
            of_two(top=254),
            r"is given -255\.\.255 and nothing around it, and is made for -255\.\.254",
        ),
        (of_two(bottom=-239, top=239), r"is given -255\.\.255 .* is made for -239\.\.239"),
        (with_layer(2, top=254), "is given 0..255"),
        (with_layer(1, low=-3), "a layer gives -3..255"),
        (with_layer(3, bottom=1), "is given 0..255"),
        (model(1, [6, 6], has_skip=True), "allowed are three and more"),
        (model(1, [6, 7, 6], has_skip=True), "the first and the last but one"),
        (replace(GOOD, skip=(0.0, 0.0)), "shares of 0.0 and 0.0; allowed are some"),
        (replace(GOOD, skip=(np.nan, 1.0)), "shares of nan"),
        (replace(GOOD, skip=(1.0, 2.0**15)), "up to 16448 together"),
    ],
)
def test_models_the_kernel_cannot_run_are_refused(
    levels: list[Native], stack: ConvModel, said: str
) -> None:
    with pytest.raises(KernelError, match=said):
        ConvStack(levels[-1], stack)


def test_arrays_the_kernel_cannot_take_are_refused(levels: list[Native]) -> None:
    calls = ConvStack(levels[-1], GOOD)
    packed, residual = codes(1, 8, 12), np.zeros((6, 8, 12), np.uint8)
    room = scratch(calls, 12)[0]
    wide = np.zeros((6, 8, 24), np.float32)
    off = np.zeros(6 * 8 * 12 * 4 + 2, np.uint8)[2:].view(np.float32).reshape(6, 8, 12)
    fixed = residual.copy()
    fixed.flags.writeable = False
    wrong: list[tuple[Any, Any, str]] = [
        (packed[:5], residual, "planes are"),
        (packed[0], residual, "planes are"),
        (packed.astype(np.float64), residual, "float64"),
        (packed.astype(">f4"), residual, "planes are"),
        (wide[:, :, ::2], residual, "contiguous along columns"),
        (wide[:, :, 11::-1], residual, "contiguous along columns"),
        (off, residual, "aligned"),
        (packed, residual[:, :7], "planes are"),
        (packed, residual[:5], "planes are"),
        (packed, residual.view(np.int8), "int8"),
        (packed, fixed, "cannot be written"),
        (packed[:, :0], residual[:, :0], "sides of 1 to"),
        (packed[:, :, :0], residual[:, :, :0], "sides of 1 to|0 columns"),
    ]
    for bad, out, said in wrong:
        with pytest.raises(KernelError, match=said):
            ConvPart(calls, bad, out, range(min(8, out.shape[1]))).make(room)
    for rows in (range(9), range(-1, 4), range(5, 4), range(0, 8, 2), range(8, 0, -1)):
        with pytest.raises(KernelError, match="of rows is asked for"):
            ConvPart(calls, packed, residual, rows).make(room)
    larger = np.zeros(room.nbytes + 64, np.uint8)
    for storage in (room[:-1], larger[-larger.ctypes.data % 64 + 1 :], room[::2], room[:0]):
        with pytest.raises(KernelError, match="scratch has"):
            ConvPart(calls, packed, residual, range(8)).make(storage)
    for columns in (0, -1, 2**15 + 1, 2**32 + 4):
        with pytest.raises(KernelError, match="columns; allowed are 1 to"):
            calls.scratch_bytes(columns)
    of_six, of_twelve = calls, ConvStack(levels[-1], of_two())
    for stack, phases, said in (
        (of_six, 12, r"allowed are \(6, 8"),
        (of_twelve, 6, r"\(12, 8, 12\)"),
    ):
        with pytest.raises(KernelError, match=said):
            ConvPart(stack, codes(1, 8, 12, phases=phases), residual, range(8))
    assert not residual.any()
