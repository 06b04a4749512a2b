from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.frame import RTP_TIME_BASE
from streamer.sources.rtsp.picture import measured_fps, picture_header


def keyframe(codec: str, size: int, shade: int) -> bytes:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width = encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(30)
    if codec == "libx265":
        encoder.options = {"x265-params": "repeat-headers=1:log-level=none"}
    frame = av.VideoFrame.from_ndarray(
        np.full((size * 3 // 2, size), shade, np.uint8), format="yuv420p"
    )
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx"])
def test_a_header_changes_with_the_size_and_not_with_the_picture(codec: str) -> None:
    name = {"libx264": "h264", "libx265": "hevc", "libvpx": "vp8"}[codec]
    dark, light, large = (keyframe(codec, *kind) for kind in ((64, 40), (64, 200), (128, 40)))
    assert dark != light
    assert picture_header(name, dark) == picture_header(name, light) != b""
    assert picture_header(name, dark) != picture_header(name, large)


@given(st.sampled_from(["h264", "hevc", "vp8"]), st.binary(max_size=100))
def test_any_bytes_have_a_header_or_none(codec: str, data: bytes) -> None:
    assert len(picture_header(codec, data)) <= len(data)


@pytest.mark.parametrize(
    ("steps", "rate"),
    [
        ([3000, 3000, 3000], Fraction(30)),
        ([3003, 3003, 3003, 3003], Fraction(30)),
        ([3600, 3590, 3612, 3600], Fraction(25)),
        ([3000, 3000, 9000, 3000], Fraction(30)),
        ([7200, 7200], Fraction(25, 2)),
        ([90_000, 90_000], Fraction(1)),
        ([3000], None),
        ([], None),
        ([1, 1, 1], None),
    ],
)
def test_a_rate_is_the_median_step(steps: list[int], rate: Fraction | None) -> None:
    pts = [sum(steps[:count]) for count in range(len(steps) + 1)]
    assert measured_fps(pts, RTP_TIME_BASE) == rate
    assert measured_fps(pts[::-1], RTP_TIME_BASE) == rate
