from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.conv_weights import (
    GAIN,
    PHASES,
    TOP_BYTE,
    TOP_CODE,
    TOP_DIFFERENCE,
    TOP_STEP,
    ConvLayer,
    laid_out,
    top_taken,
)
from kernels.errors import KernelError
from tests.kernels.cpu_convs import extreme, layer, reaching

MOST = 2**31 - 1
LEAST = -(2**31)


def one(weight: int, *, ins: int = 64, bias: float = 0.0, **changes: Any) -> ConvLayer:
    """One out, of which one weight of each channel is something."""
    weights = np.zeros((1, ins, 3, 3), np.int64)
    weights[:, :, 1, 2] = weight
    made = ConvLayer(weights, np.full(1, 1e-4), np.full(1, bias), top=TOP_BYTE)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("fits", "leaves"),
    [
        # 576 * 255 * 64 * 227 is 2133872640.
        (one(227, bias=(MOST - 2133872640) / GAIN), one(227, bias=(MOST + 1 - 2133872640) / GAIN)),
        (
            one(-227, bias=(LEAST + 2133872640) / GAIN),
            one(-227, bias=(LEAST - 1 + 2133872640) / GAIN),
        ),
        # A bias by itself, which nothing that comes in takes from.
        (one(-227, bias=MOST / GAIN), one(-227, bias=(MOST + 1) / GAIN)),
        (one(227, bias=LEAST / GAIN), one(227, bias=(LEAST - 1) / GAIN)),
        # Where what comes in has both signs, each weight counts for both: 576 * 239 * 6 * 227.
        (
            one(-227, ins=6, top=TOP_CODE, bottom=-TOP_CODE, bias=(MOST - 187498368) / GAIN),
            one(-227, ins=6, top=TOP_CODE, bottom=-TOP_CODE, bias=(MOST + 1 - 187498368) / GAIN),
        ),
        # Of two pictures up to 255 in each: 576 * 255 * 12 * 227.
        (
            one(-227, ins=12, top=255, bottom=-255, bias=(LEAST + 400101120) / GAIN),
            one(-227, ins=12, top=255, bottom=-255, bias=(LEAST - 1 + 400101120) / GAIN),
        ),
        (one(1, scale=np.array([1.0])), one(1, scale=np.array([TOP_STEP / 255 / 64 * 1.001]))),
        (one(-227), one(-228)),
        (one(0, low=-128, high=127, zero=128), one(0, low=-129, high=127, zero=128)),
        (one(0, low=0, high=0), one(0, low=1, high=0)),
        (one(0, high=200, zero=55), one(0, high=200, zero=56)),
    ],
)
def test_what_fits_into_the_kernels_numbers_is_taken_and_nothing_beyond(
    fits: ConvLayer, leaves: ConvLayer
) -> None:
    fits.check()
    with pytest.raises(KernelError, match=r"a layer.*; allowed "):
        leaves.check()


def test_the_reach_of_sums_is_what_the_worst_pictures_reach() -> None:
    for seed in range(20):
        numbers = np.random.default_rng(seed)
        it = layer(numbers, 6 * (1 + seed // 2 % 2), 3, is_first=bool(seed % 2))
        for n in range(3):
            weights = it.weights[n]
            for row, value in enumerate((it.bottom, it.top)):
                worst = np.where(weights > 0, value, it.top + it.bottom - value)
                total = GAIN * int((weights * worst).sum()) + int(it.gained_bias[n])
                assert it._reach()[row, n] == total


def test_a_layer_may_reach_the_last_of_32_bits() -> None:
    for it in extreme(96, layers=2).layers:
        it.check()
    assert extreme(96, layers=2).layers[1]._reach().max() == MOST


def test_first_layers_of_two_pictures_reach_the_ends_of_32_bits_and_none_beyond() -> None:
    for up, end in ((True, MOST), (False, LEAST)):
        it = reaching(up=up)[0].layers[0]
        it.check()
        reach = it._reach()
        assert (reach.max() if up else reach.min()) == end
        beyond = replace(it, bias=it.bias + (1 if up else -1) / GAIN)
        with pytest.raises(KernelError, match=r"its sums .*; allowed are 227, 32 bits"):
            beyond.check()


def test_first_layers_take_codes_and_of_a_second_picture_what_lies_between_two() -> None:
    codes = np.arange(256)
    assert top_taken(PHASES) == TOP_CODE == np.abs(codes - 16).max()
    assert top_taken(2 * PHASES) == TOP_DIFFERENCE == np.abs(codes[:, None] - codes).max()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("name", ["scale", "bias"])
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(KernelError, match="32 bits"):
        replace(one(1), **{name: np.array([value])}).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": np.ones((1, 64, 1, 1), np.int64)},
        {"weights": np.ones((1, 64, 5, 5), np.int64)},
        {"weights": np.ones((64, 3, 3), np.int64)},
        {"weights": np.ones((0, 64, 3, 3), np.int64), "scale": np.ones(0), "bias": np.ones(0)},
        {"weights": np.ones((1, 0, 3, 3), np.int64)},
        {"scale": np.ones(2)},
        {"bias": np.ones((1, 1))},
    ],
)
def test_arrays_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(
        KernelError, match=r"a layer has weights .*; allowed are \(outs, ins, 3, 3\)"
    ):
        replace(one(1), **changes).check()


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize(("ins", "outs"), [(1, 1), (6, 24), (33, 40), (96, 17)])
def test_weights_are_laid_out_whole(lanes: int, ins: int, outs: int) -> None:
    """The first and the last place of a line stand for its first and its last weight alone, six times."""
    it = layer(np.random.default_rng(lanes), ins, outs)
    flat, filled = laid_out(it, lanes), -(-outs // lanes) * lanes
    pairs = -(-ins // 2)
    whole = np.zeros((36, filled, 2 * pairs), np.int16)
    first = 0
    while first < filled:
        left = (filled - first) // lanes
        wide = lanes * (3 if left == 3 else min(left, 2))
        block, flat = np.split(flat, [36 * pairs * wide * 2])
        block = block.reshape(36, pairs, wide, 2).swapaxes(1, 2)
        whole[:, first : first + wide] = block.reshape(36, wide, 2 * pairs)
        first += wide
    assert not flat.size
    np.testing.assert_array_equal(whole[35, :outs, :ins], 36 * it.weights[:, :, 2, 2])
    np.testing.assert_array_equal(whole[0, :outs, :ins], 36 * it.weights[:, :, 0, 0])
    assert not whole[:, outs:].any()
    assert not whole[:, :, ins:].any()
