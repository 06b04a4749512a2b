"""One picture of a stream, small, as JPEG: for a list of streams."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Frame

WIDTH: Final = 480
TALLEST: Final = 1080
"""Lines: a camera may state any shape of its pixels, and with it a picture of a million of them."""

QUALITY: Final = 80

LUMA_WEIGHTS: Final = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
"""Of red and blue, by matrix (ITU-T H.273, table 4)."""


def still(frame: Frame) -> bytes:
    """``frame`` as JPEG, ``WIDTH`` wide in its true shape; takes a few milliseconds of a thread."""
    aspect = frame.width * frame.sample_aspect / frame.height
    width = min(WIDTH, frame.width, max(1, round(TALLEST * aspect)))
    size = (width, min(TALLEST, max(1, round(width / aspect))))
    y, u, v = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
        for plane in frame.planes
    )
    is_done, data = cv2.imencode(
        ".jpg", _to_bgr(y, u, v, frame), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    assert is_done, "JPEG takes any 8-bit picture"
    return data.tobytes()


def _to_bgr(
    y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8], frame: Frame
) -> NDArray[np.uint8]:
    """Planes of one size, (height, width), as (height, width, 3), by the frame's own matrix."""
    red, blue = LUMA_WEIGHTS.get(frame.color.matrix, LUMA_WEIGHTS["bt709"])
    is_full = frame.color.range == "full"
    offset, luma_scale, chroma_scale = (0, 1.0, 1.0) if is_full else (16, 255 / 219, 255 / 224)
    luma = (y.astype(np.float32) - offset) * luma_scale
    to_blue = (u.astype(np.float32) - 128) * (chroma_scale * 2 * (1 - blue))
    to_red = (v.astype(np.float32) - 128) * (chroma_scale * 2 * (1 - red))
    green = luma - (red * to_red + blue * to_blue) / (1 - red - blue)
    bgr = np.stack((luma + to_blue, green, luma + to_red), axis=-1)
    return np.asarray(np.clip(np.rint(bgr), 0, 255), np.uint8)
