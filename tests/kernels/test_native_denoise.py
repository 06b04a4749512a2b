"""What is said of arrays that the denoising compiled for processors cannot take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import native_denoise
from kernels.errors import KernelError
from kernels.native import Native
from tests.kernels.cpu_denoises import Plane, changed, moved


def bad_planes(good: Sequence[Plane]) -> list[list[Any]]:
    """What no kernel may take for a picture."""
    y, u, v = good
    return [
        [y[:-2], u, v],
        [y[:, 2:], u, v],
        [y, u[:-1], v],
        [y, u, v[:, 1:]],
        [y, y, v],
        [y[None], u, v],
        [y.astype(np.int8), u, v],
        [y, u.astype(np.float32), v],
        [y.repeat(2, axis=1)[:, ::2], u, v],
        [y, u, v[:, ::-1]],
        [np.asfortranarray(y), u, v],
    ]


def locked(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


ROWS = [range(8), range(-1, 4), range(5, 4), range(0, 6, 2), range(6, 0, -1)]


def beside(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The same one byte beside where its numbers may lie."""
    room = np.zeros(array.nbytes + 1, np.uint8)
    moved: NDArray[np.generic] = np.ndarray(array.shape, array.dtype, room[1:].data)
    moved[...] = array
    return moved


def test_a_following_the_kernel_cannot_take_is_refused(levels: list[Native]) -> None:
    it = moved(7, 9, flow="moderate")
    good, wide = it.empty(), np.zeros((12, 7, 18), np.float32)

    def refused(said: str, **changes: Any) -> None:
        given = {"before": it.before, "now": it.now, "flow": it.flow, "out": good, "rows": range(7)}
        with pytest.raises(KernelError, match=said):
            native_denoise.follow(levels[-1], **{**given, **changes})

    outs: list[Any] = [
        *(good[:6], good[0], good.astype(np.float64), good.astype(">f4"), locked(good)),
        *(wide[:, :, ::2], wide[:, :, 8::-1], good[:, :0], good[:, :, :0]),
        np.zeros((12, 8193, 1), np.float32),
        np.zeros((12, 1, 8193), np.float32),
    ]
    for out in outs:
        refused(
            r"what is filled is .*; allowed is \(12, rows, columns\) float32, .* 1 to 8192$",
            out=out,
        )
    steps: list[Any] = [
        *(it.flow[:6], it.flow[:, :8], it.flow[..., :1], it.flow[..., 0]),
        *(it.flow.astype(np.float64), it.flow.astype(">f4"), it.flow[::-1]),
        it.flow.repeat(2, axis=1)[:, ::2],
        beside(it.flow),
    ]
    for flow in steps:
        refused(r"the flow is .*; allowed is \(7, 9, 2\) float32 in one piece", flow=flow)
    for name, planes in (("before", it.before), ("now", it.now)):
        for bad in bad_planes(planes):
            refused(r"a plane is .*; allowed is \(\d+, \d+\) uint8, contiguous", **{name: bad})
        refused("a picture has 2 planes; allowed are three, Y, U and V", **{name: planes[:2]})
    for rows in ROWS:
        refused(r"range\(.*\) of rows is asked for; allowed are steps of 1 in 0\.\.7", rows=rows)
    assert np.isnan(good).all()


def test_a_mixing_the_kernel_cannot_take_is_refused(levels: list[Native]) -> None:
    it = changed(7, 9)
    good = it.empty()

    def refused(said: str, **changes: Any) -> None:
        given = {
            "now": it.now,
            "difference": it.difference,
            "change": it.change,
            "out": good,
            "rows": range(7),
        }
        with pytest.raises(KernelError, match=said):
            native_denoise.mix(levels[-1], **{**given, **changes})

    for name, told, array, others in (
        ("difference", r"\(6, rows, columns\) float32", it.difference, (np.float64, ">f4")),
        ("change", r"\(12, rows, columns\) uint8", it.change, (np.int8, np.float32)),
    ):
        bad: list[Any] = [array[:-1], array[0], *(array.astype(kind) for kind in others)]
        bad += [
            array.repeat(2, axis=2)[:, :, ::2],
            array[:, :, ::-1],
            array[:, :0],
            array[:, :, :0],
        ]
        bad += [beside(array)] if array.itemsize > 1 else []
        for each in bad:
            refused(rf"the {name} is .*; allowed is {told}, contiguous along", **{name: each})
    for cut in (np.s_[:, 1:], np.s_[:, :, 1:]):
        refused(r"the change is .*, the difference .*; allowed are the same", change=it.change[cut])
        refused(r"the change is .*, the difference .*; all", difference=it.difference[cut])
    for name in ("now", "out"):
        for planes in bad_planes(it.now):
            refused(r"a plane is .*; allowed is \(\d+, \d+\) uint8, contiguous", **{name: planes})
    for n in range(3):
        out: list[Any] = [locked(plane) if k == n else plane for k, plane in enumerate(good)]
        refused("a plane cannot be written; give it storage of its own", out=out)
    for rows in ROWS:
        refused(r"range\(.*\) of rows is asked for; allowed are steps of 1 in 0\.\.7", rows=rows)
    assert all((plane == 99).all() for plane in good)
