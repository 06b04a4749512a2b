"""Picture arithmetic on the host (OpenCV and NumPy): upscale, pack, residual add.

The twins of the CUDA kernels: the same list, the same meaning. See ``ModelManifest`` for the
packed layout.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes
from streamer.model import RESIDUAL_ZERO

_CODES = np.arange(256, dtype=np.float32)
_LUMA = (_CODES - 16) / 219
_CHROMA = (_CODES - 128) / 224


def upscale(planes: Planes, out: Planes) -> None:
    """The plain upscale: bicubic (a = -0.75), each plane by itself, pixel centres aligned."""
    for plane, target in zip(planes, out, strict=True):
        if plane.shape == target.shape:
            np.copyto(target, plane)
        else:
            size = (target.shape[1], target.shape[0])
            cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_CUBIC)


def fit(planes: Planes, out: Planes, *, black: int) -> None:
    """The whole picture at another size, centred; where its shape differs, between black bars.

    ``black`` is the luma code of black: 16, or 0 in full range. Areas are averaged when it
    shrinks, bicubic otherwise.
    """
    height, width = planes[0].shape
    space_height, space_width = out[0].shape
    ratio = min(space_height / height, space_width / width)
    inner_height = min(space_height, 2 * round(height * ratio / 2))
    inner_width = min(space_width, 2 * round(width * ratio / 2))
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


def pack(planes: Planes, out: NDArray[np.float32]) -> None:
    """Planes of a picture to the networks' input (1, 6, H/2, W/2), float32."""
    luma = planes[0]
    rows, columns = luma.shape[0] // 2, luma.shape[1] // 2
    for i in range(2):
        pair = cv2.split(luma[i::2].reshape(rows, columns, 2))
        cv2.LUT(pair[0], _LUMA, out[0, 2 * i])
        cv2.LUT(pair[1], _LUMA, out[0, 2 * i + 1])
    cv2.LUT(planes[1], _CHROMA, out[0, 4])
    cv2.LUT(planes[2], _CHROMA, out[0, 5])


def add_residual(base: Planes, residual: NDArray[Any], out: Planes) -> None:
    """``base`` + ``residual`` (1, 6 * scale**2, H/2, W/2) in code values, clipped to 0..255.

    ``residual`` is float32, or uint8 around ``RESIDUAL_ZERO``; ``out`` may be ``base`` itself.
    """
    phases = residual[0]
    scale = base[0].shape[0] // (2 * phases.shape[1])
    _add_phases(base[0], phases[: 4 * scale**2], 2 * scale, out[0])
    _add_phases(base[1], phases[4 * scale**2 : 5 * scale**2], scale, out[1])
    _add_phases(base[2], phases[5 * scale**2 :], scale, out[2])


def _add_phases(base: Plane, phases: NDArray[Any], step: int, out: Plane) -> None:
    """Interleave ``phases`` (step * step, rows, columns) and add them, one row phase at a time.

    Merging the planes of one row phase is what OpenCV does fastest; a transpose in NumPy is
    slower. On uint8 it takes less than half of the time that it takes on float32.
    """
    for i in range(step):
        of_row = cv2.merge([phases[i * step + j] for j in range(step)])
        under = base[i::step]
        of_row = of_row.reshape(under.shape)
        if phases.dtype == np.uint8:
            cv2.addWeighted(under, 1, of_row, 1, -RESIDUAL_ZERO, dst=out[i::step])
        else:
            cv2.add(under, of_row, out[i::step], dtype=cv2.CV_8U)
