from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.infer import copying
from streamer.infer.copying import copy


@pytest.fixture(params=["as it is here", "by NumPy alone"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by NumPy alone":
        monkeypatch.setattr(copying, "_BY_OPENCV", False)


def every_half() -> NDArray[np.float16]:
    """All there are, infinities and what is not a number among them."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(1, 4, 128, 128)


def test_every_half_float_is_the_same_as_float32_and_back() -> None:
    wide = np.empty(every_half().shape, np.float32)
    copy(every_half(), wide)
    assert np.array_equal(wide, every_half().astype(np.float32), equal_nan=True)
    back = np.zeros_like(every_half())
    copy(wide, back)
    assert np.array_equal(back, every_half(), equal_nan=True)


def test_floats_between_two_halves_are_rounded_to_the_nearer_or_the_even_one() -> None:
    halves = np.linspace(-3, 3, 999, dtype=np.float16).astype(np.float32)
    wide = np.stack(
        [halves, np.nextafter(halves, np.float32(9)), (halves + np.roll(halves, 1)) / 2]
    )
    narrow = np.empty(wide.shape, np.float16)
    copy(wide, narrow)
    assert np.array_equal(narrow, wide.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_the_same_type_is_copied_as_it_is(dtype: type) -> None:
    array: NDArray[Any] = np.arange(24, dtype=dtype).reshape(1, 2, 3, 4)
    out = np.zeros_like(array)
    copy(array, out)
    assert np.array_equal(out, array)


def test_a_view_with_gaps_is_filled_too() -> None:
    array = np.arange(24, dtype=np.float16).reshape(1, 2, 3, 4)
    wide = np.zeros((1, 2, 3, 8), np.float32)
    copy(array, wide[..., ::2])
    assert np.array_equal(wide[..., ::2], array.astype(np.float32))
    assert not wide[..., 1::2].any()


def test_what_is_no_float_does_not_become_one_of_the_other_kind() -> None:
    with pytest.raises(TypeError, match="same_kind"):
        copy(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        copy(np.zeros((2, 6), np.float16), np.zeros((3, 4), np.float32))
