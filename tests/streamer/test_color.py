from __future__ import annotations

import pytest

from streamer.color import (
    FULL,
    LIMITED,
    MATRICES,
    MATRIX_CODES,
    PRIMARIES,
    PRIMARIES_CODES,
    TRANSFER_CODES,
    TRANSFERS,
    UNSPECIFIED,
    is_rgb,
    stated_color,
)
from streamer.media import Color

RGB = 0
"""H.273's matrix code of RGB."""


@pytest.mark.parametrize(
    ("matrix", "color_range", "pix_fmt", "height", "expected"),
    [
        (1, LIMITED, "yuv420p", 180, ("bt709", "limited")),
        (6, LIMITED, "yuv420p", 1080, ("bt601", "limited")),
        (5, LIMITED, "yuv420p", 1080, ("bt601", "limited")),
        (9, LIMITED, "yuv420p10le", 2160, ("bt2020nc", "limited")),
        (1, FULL, "yuv420p", 720, ("bt709", "full")),
        (UNSPECIFIED, 0, "yuv420p", 719, ("bt601", "limited")),
        (UNSPECIFIED, 0, "yuv420p", 720, ("bt709", "limited")),
        (UNSPECIFIED, 0, "yuvj420p", 180, ("bt601", "full")),
        (UNSPECIFIED, LIMITED, "yuvj422p", 180, ("bt601", "full")),
        (RGB, FULL, "gbrp", 180, ("bt601", "limited")),
        (RGB, FULL, "rgb24", 1080, ("bt709", "limited")),
        (1, 0, "bgra", 180, ("bt601", "limited")),
        (UNSPECIFIED, 0, "gray", 180, ("bt601", "limited")),
    ],
)
def test_what_is_stated_is_kept_and_the_rest_follows_the_rule(
    matrix: int, color_range: int, pix_fmt: str, height: int, expected: tuple[str, str]
) -> None:
    color = stated_color(
        matrix=matrix,
        color_range=color_range,
        primaries=UNSPECIFIED,
        transfer=UNSPECIFIED,
        pix_fmt=pix_fmt,
        height=height,
    )
    assert color == Color(matrix=expected[0], range=expected[1])  # type: ignore[arg-type]


def test_primaries_and_transfer_are_named() -> None:
    color = stated_color(
        matrix=9, color_range=LIMITED, primaries=9, transfer=16, pix_fmt="yuv420p", height=2160
    )
    assert (color.primaries, color.transfer) == ("bt2020", "smpte2084")


def test_every_name_leads_back_to_a_code_of_its_own() -> None:
    for names, codes in (
        (MATRICES, MATRIX_CODES),
        (PRIMARIES, PRIMARIES_CODES),
        (TRANSFERS, TRANSFER_CODES),
    ):
        assert {names[code] for code in codes.values()} == set(names.values())
    # What HD and SD video are written as is fixed.
    assert (MATRIX_CODES["bt709"], MATRIX_CODES["bt601"]) == (1, 6)


@pytest.mark.parametrize("name", ["rgb24", "bgra", "gbrp10le", "0rgb", "argb", "pal8", "x2rgb10le"])
def test_rgb_formats_are_known(name: str) -> None:
    assert is_rgb(name)
    assert not is_rgb("yuv444p")
    assert not is_rgb("gray10le")
