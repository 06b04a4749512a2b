"""Picture arithmetic on the host: upscale, pack, residual add.

By what is compiled for this processor where that can, otherwise by OpenCV. The twins of the CUDA
kernels: the same list, the same meaning. See ``ModelManifest`` for the packed layout.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kernels import native_pack, native_residual
from kernels.native import native
from streamer.frame import Planes
from streamer.ops import host_opencv


def upscale(planes: Planes, out: Planes) -> None:
    """The plain upscale: bicubic (a = -0.75), each plane by itself, pixel centres aligned."""
    compiled = native()
    if compiled is not None and _is_doubled(planes, out):
        native_residual.upscale(compiled, planes, out)
    else:
        host_opencv.upscale(planes, out)


def fit(planes: Planes, out: Planes, *, black: int) -> None:
    """The whole picture at another size, centred; where its shape differs, between black bars.

    ``black`` is the luma code of black: 16, or 0 in full range. Areas are averaged when it
    shrinks, bicubic otherwise.
    """
    height, width = planes[0].shape
    space_height, space_width = out[0].shape
    ratio = min(space_height / height, space_width / width)
    # However thin a strip is, there is something to be shown of it.
    inner_height = min(space_height, max(2, 2 * round(height * ratio / 2)))
    inner_width = min(space_width, max(2, 2 * round(width * ratio / 2)))
    top, left = (space_height - inner_height) // 4 * 2, (space_width - inner_width) // 4 * 2
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    for plane, target, step, empty in zip(planes, out, (1, 2, 2), (black, 128, 128), strict=True):
        rows = slice(top // step, (top + inner_height) // step)
        columns = slice(left // step, (left + inner_width) // step)
        if (inner_height, inner_width) != (space_height, space_width):
            target[:] = empty
        inner = target[rows, columns]
        cv2.resize(plane, (inner.shape[1], inner.shape[0]), dst=inner, interpolation=how)


def copy(planes: Planes, out: Planes) -> None:
    """The same picture in other memory."""
    for plane, target in zip(planes, out, strict=True):
        np.copyto(target, plane)


def part(planes: Planes, number: int, *, of: int) -> Planes:
    """One of the pictures that stand one below the other in planes ``of`` times as high."""
    y, u, v = (
        plane[number * len(plane) // of : (number + 1) * len(plane) // of] for plane in planes
    )
    return y, u, v


def pack(planes: Planes, out: NDArray[np.float32]) -> None:
    """Planes of a picture, or whole rows of them, to the networks' input (1, 6, H/2, W/2), float32."""
    compiled = native()
    if compiled is not None and _are_rows(planes):
        native_pack.pack(compiled, planes, out[0])
    else:
        host_opencv.pack(planes, out)


def enhance(planes: Planes, residual: NDArray[Any], out: Planes) -> None:
    """``upscale`` + ``residual`` (1, 6 * scale**2, H/2, W/2) in code values, clipped to 0..255.

    ``residual`` is float32, or uint8 around ``RESIDUAL_ZERO``; H and W are those of ``planes``.
    Compiled, which is for x2, it takes a third of the time; a float32 residual of exact halves is
    then rounded with the sum, not before.
    """
    compiled = native()
    if (
        compiled is not None
        and residual.dtype in (np.uint8, np.float32)
        and _is_doubled(planes, out)
    ):
        native_residual.add_residual(compiled, planes, residual[0], out)
    else:
        host_opencv.enhance(planes, residual, out)


def _are_rows(planes: Planes) -> bool:
    """Whether the pixels of a row lie side by side, which compiled code asks for."""
    return all(plane.strides[1] == 1 for plane in planes)


def _is_doubled(planes: Planes, out: Planes) -> bool:
    return (
        _are_rows(planes)
        and _are_rows(out)
        and all(
            target.shape == (2 * plane.shape[0], 2 * plane.shape[1])
            for plane, target in zip(planes, out, strict=True)
        )
    )
