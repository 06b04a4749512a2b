"""Picture arithmetic on the host (OpenCV and NumPy): upscale, pack, residual add.

The twins of the CUDA kernels: the same list, the same meaning. See ``ModelManifest`` for the
packed layout.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Planes

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


def add_residual(base: Planes, residual: NDArray[np.float32], out: Planes) -> None:
    """``base`` + ``residual`` (1, 6 * scale**2, H/2, W/2) in code values, clipped to 0..255.

    ``out`` may be ``base`` itself.
    """
    phases = residual[0]
    scale = base[0].shape[0] // (2 * phases.shape[1])
    _add_phases(base[0], phases[: 4 * scale**2], 2 * scale, out[0])
    _add_phases(base[1], phases[4 * scale**2 : 5 * scale**2], scale, out[1])
    _add_phases(base[2], phases[5 * scale**2 :], scale, out[2])


def _add_phases(
    base: NDArray[np.uint8], phases: NDArray[np.float32], step: int, out: NDArray[np.uint8]
) -> None:
    """Interleave ``phases`` (step * step, rows, columns) and add them, one row phase at a time.

    Merging four planes into one row of pixels is what OpenCV does fastest; the straightforward
    transpose in NumPy takes twice as long.
    """
    for i in range(step):
        of_row = cv2.merge([phases[i * step + j] for j in range(step)])
        cv2.add(base[i::step], of_row.reshape(base[i::step].shape), out[i::step], dtype=cv2.CV_8U)
