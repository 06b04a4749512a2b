"""What is said of planes and numbers that the sharpening compiled for processors cannot take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import native_sharpen
from kernels.errors import KernelError
from kernels.native import Native
from tests.kernels.cpu_sharpens import blank, noise


def test_what_the_kernel_cannot_take_is_refused(levels: list[Native]) -> None:
    luma = noise(7, 9)
    good, wide = blank(luma), np.full((7, 18), 99, np.uint8)
    locked = blank(luma)
    locked.flags.writeable = False

    def refused(said: str, **changes: Any) -> None:
        given: dict[str, Any] = {"luma": luma, "out": good, "rows": range(7)}
        given |= {"strength": 0.5, "black": 16, "white": 235}
        with pytest.raises(KernelError, match=said):
            native_sharpen.sharpen(levels[-1], **{**given, **changes})

    for sides in ((9,), (7, 9, 1), (0, 9), (7, 0), (2**16 + 1, 1), (1, 2**16 + 1)):
        refused(
            "a plane is .*; allowed are two sides of 1 to 65536", luma=np.zeros(sides, np.uint8)
        )
    lumas: list[Any] = [
        luma.astype(np.int8),
        luma.repeat(2, 1)[:, ::2],
        luma[:, ::-1],
        luma.T.copy().T,
    ]
    outs: list[Any] = [good[1:], good[:, 1:], good.astype(np.int8), wide[:, ::2], good[:, ::-1]]
    for name, planes in (("luma", lumas), ("out", outs)):
        for plane in planes:
            refused(r"a plane is .*; allowed is \(7, 9\) uint8, contiguous along", **{name: plane})
    room = np.zeros((8, 9), np.uint8)
    refused("cannot be written, or shares storage", luma=room[1:], out=room[:7])
    refused("give it storage of its own", out=locked)
    refused("shares storage with itself", out=np.lib.stride_tricks.as_strided(good, (7, 9), (1, 1)))
    for rows in (range(8), range(-1, 4), range(5, 4), range(0, 6, 2), range(6, 0, -1)):
        refused(r"range\(.*\) of rows is asked for; allowed are steps of 1 in 0\.\.7", rows=rows)
    for strength in (-0.01, 1.01, np.nan, np.inf, -np.inf):
        refused(r"strength .* is asked for; allowed are 0\.\.1", strength=strength)
    for black, white in ((-1, 235), (16, 256), (16, 16), (235, 16)):
        refused("black .* and white .* is asked for; allowed", black=black, white=white)
    assert (good == 99).all()
