"""Whatever comes in leaves as upright 8-bit 4:2:0 of the same picture and the same colour."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamer.frame import Frame
from streamer.media import Color
from tests.clips import Clips, ffmpeg, moving
from tests.measure import as_planes, pictures_of, psnr
from tests.programs import needs
from tests.streamer.decoding import decoded, decoder_of, opened

pytestmark = needs("ffmpeg")

MJPEG = ("-pix_fmt", "yuvj422p", "-c:v", "mjpeg")

BARS_RGB = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0))
BARS_601 = ((81, 90, 240), (145, 54, 34), (41, 240, 110), (235, 128, 128), (16, 128, 128))
BARS_709 = ((63, 102, 240), (173, 42, 26), (32, 240, 118), (235, 128, 128), (16, 128, 128))


def lossless(clips: Clips, pix_fmt: str, *, height: int = 180) -> Path:
    """Two pictures, stored without loss in ``pix_fmt``; soft, so that all kernels agree."""
    codec = "rawvideo" if pix_fmt in ("nv12", "gbrp", "yuyv422", "bgr24", "rgb24") else "ffv1"
    return clips.made(
        f"{pix_fmt}{height}.nut",
        *moving(size=f"320x{height}", frames=2),
        *("-vf", f"gblur=sigma=3,format={pix_fmt}", "-c:v", codec),
    )


@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuyv422", "yuv420p10le", "yuv422p10le", "gray"],
)
def test_every_yuv_format_becomes_the_same_picture_in_420(pix_fmt: str, clips: Clips) -> None:
    clip = lossless(clips, pix_fmt)
    frames = decoded(clip)
    assert len(frames) == 2
    for frame, theirs in zip(frames, pictures_of(clip), strict=True):
        assert psnr(frame.planes, theirs) > 45
        assert frame.color == Color(matrix="bt601")


@pytest.mark.parametrize("pix_fmt", ["bgr24", "rgb24", "bgr0", "gbrp"])
def test_rgb_becomes_neither_darker_nor_of_another_colour(pix_fmt: str, clips: Clips) -> None:
    clip = lossless(clips, pix_fmt)
    exactly = "scale=out_color_matrix=bt601:out_range=limited:flags=area+accurate_rnd+bitexact"
    theirs = pictures_of(clip, "-vf", f"format=gbrp16,{exactly}")
    for frame, expected in zip(decoded(clip), theirs, strict=True):
        for plane, wanted in zip(frame.planes, expected, strict=True):
            assert abs(plane.mean() - wanted.mean()) < 0.15


@pytest.mark.parametrize("pix_fmt", ["gbrp", "bgr0", "rgb48le"])
@pytest.mark.parametrize(("height", "matrix"), [(180, "bt601"), (720, "bt709")])
def test_rgb_gets_the_matrix_of_its_height(
    pix_fmt: str, height: int, matrix: str, clips: Clips
) -> None:
    clip = lossless(clips, pix_fmt, height=height)
    conversion = f"scale=out_color_matrix={matrix}:out_range=limited:flags=bicubic+accurate_rnd"
    for frame, theirs in zip(decoded(clip), pictures_of(clip, "-vf", conversion), strict=True):
        assert psnr(frame.planes, theirs) > 45
        assert (frame.color.matrix, frame.color.range) == (matrix, "limited")


@pytest.mark.parametrize(
    "pix_fmt",
    ["rgb24", "bgr0", "gbrp", "rgb48le", "pal8", "yuv444p", "yuv422p10le", "yuv411p", "gray"],
)
@pytest.mark.parametrize(("width", "height"), [(171, 101), (170, 101), (171, 100), (3, 3)])
def test_colours_stay_where_they_are_where_a_side_is_odd(
    pix_fmt: str, width: int, height: int, clips: Clips
) -> None:
    """A picture without its odd last line and column is the picture that is cut there."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=0.2")
    whole = f"crop={width}:{height}:40:20:exact=1,format={pix_fmt}"
    cut = f"crop={width & ~1}:{height & ~1}:0:0:exact=1"
    coded = ("-c:v", "rawvideo")
    odd = clips.made(f"odd{pix_fmt}{width}x{height}.nut", *source, "-vf", whole, *coded)
    even = clips.made(f"even{pix_fmt}{width}x{height}.nut", "-i", str(odd), "-vf", cut, *coded)
    for frame, expected in zip(decoded(odd), decoded(even), strict=True):
        for plane, wanted in zip(frame.planes, expected.planes, strict=True):
            assert np.array_equal(plane, wanted)


def bars(clips: Clips, *, height: int) -> Path:
    """Columns of 64 pixels in ``BARS_RGB``, as PNG."""
    picture = np.repeat(np.array([BARS_RGB], np.uint8), 64, axis=1).repeat(height, axis=0)
    path = clips.made(f"seed{height}.txt", "-f", "lavfi", "-i", "anullsrc", "-t", "0", "-f", "md5")
    path = path.with_name(f"bars{height}.png")
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{picture.shape[1]}x{height}", "-i", "-")
    ffmpeg(*raw, "-frames:v", "1", str(path), given=picture.tobytes())
    return path


@pytest.mark.parametrize(("height", "codes"), [(180, BARS_601), (720, BARS_709)])
def test_colour_bars_have_the_code_values_of_the_standard(
    height: int, codes: tuple[tuple[int, int, int], ...], clips: Clips
) -> None:
    (frame,) = decoded(bars(clips, height=height))
    for number, expected in enumerate(codes):
        column = 64 * number + 32
        seen = (
            int(frame.planes[0][height // 2, column]),
            int(frame.planes[1][height // 4, column // 2]),
            int(frame.planes[2][height // 4, column // 2]),
        )
        assert all(abs(a - b) <= 1 for a, b in zip(seen, expected, strict=True)), (seen, expected)


def test_an_image_sequence_is_a_video(clips: Clips, tmp_path: Path) -> None:
    ffmpeg(*moving(frames=3), str(tmp_path / "%04d.png"))
    frames = decoded(tmp_path / "%04d.png")
    assert [frame.time_s for frame in frames] == [Fraction(n, 25) for n in range(3)]


def test_a_photo_is_held_as_its_exif_says(clips: Clips, tmp_path: Path) -> None:
    jpeg = clips.made("photo.jpg", *moving(frames=1), *MJPEG).read_bytes()
    # One entry: Orientation (0x0112), a short, 6: the first row is at the right.
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg[:2] + exif + jpeg[2:])
    lying, upright = decoded(clips.made("photo.jpg")), decoded(photo)
    assert np.array_equal(upright[0].planes[0], np.rot90(lying[0].planes[0], -1))


def test_full_range_stays_full_range(clips: Clips) -> None:
    clip = clips.made("full.avi", *moving(frames=2), "-pix_fmt", "yuvj420p", "-c:v", "mjpeg")
    full = ("-vf", "scale=out_range=full")
    for frame, theirs in zip(decoded(clip), pictures_of(clip, *full), strict=True):
        assert frame.color.range == "full"
        assert psnr(frame.planes, theirs) == 99


def test_full_range_in_another_format_stays_full_range(clips: Clips) -> None:
    clip = clips.made("full422.avi", *moving(frames=2), "-vf", "gblur=sigma=3", *MJPEG)
    full = ("-vf", "scale=in_range=full:out_range=full")
    for frame, theirs in zip(decoded(clip), pictures_of(clip, *full), strict=True):
        assert frame.color.range == "full"
        assert psnr(frame.planes, theirs) > 45


def test_full_range_that_only_a_tag_states_stays_full_range(clips: Clips) -> None:
    tagged = ("-vf", "gblur=sigma=3,format=yuv422p", "-color_range", "pc", "-c:v", "libx264")
    clip = clips.made("tagged-full.mkv", *moving(frames=2), *tagged)
    same = ("-vf", "scale=in_range=full:out_range=full")
    for frame, theirs in zip(decoded(clip), pictures_of(clip, *same), strict=True):
        assert frame.color.range == "full"
        assert psnr(frame.planes, theirs) > 45


@pytest.mark.parametrize("name", ["bt709", "smpte170m", "bt2020nc"])
def test_the_colour_that_a_stream_states_is_the_frames(name: str, clips: Clips) -> None:
    state = ("-colorspace", name, "-color_primaries", "bt709", "-color_trc", "bt709")
    clip = clips.made(
        f"stated-{name}.mp4", *moving(frames=2), "-pix_fmt", "yuv420p", "-c:v", "libx264", *state
    )
    matrix = {"smpte170m": "bt601"}.get(name, name)
    assert [frame.color for frame in decoded(clip)] == 2 * [
        Color(matrix=matrix, range="limited", primaries="bt709", transfer="bt709")
    ]


def test_a_size_that_is_odd_loses_its_last_line_and_column(clips: Clips) -> None:
    clip = clips.made(
        "odd.mkv", *moving(frames=2), "-vf", "format=yuv444p,crop=161:91:7:7", "-c:v", "ffv1"
    )
    whole = ffmpeg("-i", str(clip), "-f", "rawvideo", "-pix_fmt", "yuv444p", "-")
    luma = np.frombuffer(whole[: 161 * 91], np.uint8).reshape(91, 161)
    for frame in decoded(clip):
        assert (frame.width, frame.height) == (160, 90)
        assert frame.planes[1].shape == frame.planes[2].shape == (45, 80)
    assert np.array_equal(decoded(clip)[0].planes[0], luma[:90, :160])


def test_a_frame_lives_on_when_its_decoder_is_gone(clips: Clips) -> None:
    clip = lossless(clips, "yuv420p")
    first = decoded(clip)[0]
    for _ in range(3):
        decoded(clip)
    raw = ffmpeg("-i", str(clip), "-frames:v", "1", "-f", "rawvideo", "-")
    assert psnr(first.planes, as_planes(raw, width=320, height=180)) == 99


def aspect_of(frames: list[Frame]) -> set[Fraction]:
    return {frame.sample_aspect for frame in frames}


def test_the_shape_of_pixels_is_carried(clips: Clips) -> None:
    wide = ("-vf", "setsar=16/11", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    assert aspect_of(decoded(clips.made("wide.mp4", *moving(frames=2), *wide))) == {
        Fraction(16, 11)
    }
    assert aspect_of(decoded(clips.plain())) == {Fraction(1)}


@pytest.mark.parametrize("low_delay", [False, True])
def test_the_shape_of_pixels_may_change_as_in_a_broadcast(
    low_delay: bool,  # noqa: FBT001
    clips: Clips,
    tmp_path: Path,
) -> None:
    parts = []
    for number, aspect in enumerate(("64/45", "16/15", "1")):
        shape = ("-vf", f"setsar={aspect}", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0")
        offset = ("-output_ts_offset", str(number / 3))
        parts.append(clips.made(f"shape{number}.ts", *moving(frames=10), *shape, *offset))
    path = tmp_path / "broadcast.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    demuxer = opened(path)
    decoder = decoder_of(demuxer, low_delay=low_delay)
    frames = []
    while (packet := demuxer.next_packet()) is not None:
        frames += decoder.decode(packet)
    frames += decoder.flush()
    demuxer.close()
    assert [frame.sample_aspect for frame in frames] == [
        *[Fraction(64, 45)] * 10,
        *[Fraction(16, 15)] * 10,
        *[Fraction(1)] * 10,
    ]
