"""Colour code points (ITU-T H.273) and the rule for what an input does not state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from streamer.media import Color

# Two code points stand for the one BT.601 matrix (625 and 525 lines); it is written as 6.
MATRICES = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    14: "ictcp",
}
MATRIX_CODES = {name: code for code, name in MATRICES.items()}
UNSPECIFIED = 2

PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
PRIMARIES_CODES = {name: code for code, name in PRIMARIES.items()}

TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
TRANSFER_CODES = {name: code for code, name in TRANSFERS.items()}

LIMITED, FULL = 1, 2
"""libav's codes for the two ranges."""


def is_rgb(pix_fmt: str) -> bool:
    """Whether a libav pixel format holds RGB, which needs a matrix chosen for it."""
    return pix_fmt.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "x2"))


def color_of(described: Any, pix_fmt: str) -> Color:
    """That of a frame or a codec context of libav; what it does not state follows the rule."""
    return stated_color(
        matrix=described.colorspace,
        color_range=described.color_range,
        primaries=described.color_primaries,
        transfer=described.color_trc,
        pix_fmt=pix_fmt,
        height=described.height,
    )


@lru_cache(maxsize=64)
def stated_color(
    *, matrix: int, color_range: int, primaries: int, transfer: int, pix_fmt: str, height: int
) -> Color:
    """The colour of 4:2:0 made from such an input; what it does not state follows the rule.

    Codes are H.273's, ``color_range`` libav's. RGB becomes limited range with the matrix of the
    rule, since its own tags say nothing about one.
    """
    rule = Color.untagged(height)
    full = pix_fmt.startswith("yuvj") or color_range == FULL
    value_range: Literal["limited", "full"] = "full" if full and not is_rgb(pix_fmt) else "limited"
    return Color(
        matrix=rule.matrix if is_rgb(pix_fmt) else MATRICES.get(matrix, rule.matrix),
        range=value_range,
        primaries=PRIMARIES.get(primaries, "unspecified"),
        transfer=TRANSFERS.get(transfer, "unspecified"),
    )
