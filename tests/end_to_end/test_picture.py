"""What a player must know beside the pictures: colour, shape of pixels, which way is up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import Clips, ffmpeg, h264, interlaced, moving, turned
from tests.command import RunHere
from tests.measure import pictures_of, psnr, stream_of, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

PLAIN = ("--tier", "plain", "--scale", "1")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("name", ["bt709", "smpte170m"])
def test_stated_colour_is_stated_in_the_output(
    name: str, suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    state = ("-colorspace", name, "-color_primaries", name, "-color_trc", name)
    source = clips.made(f"colour-{name}.mp4", *moving(frames=2), *h264(), *state)
    output = tmp_path / f"out{suffix}"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    seen = stream_of(output)
    assert seen["color_space"] == name
    assert seen["color_primaries"] == name
    assert seen["color_transfer"] == name
    assert seen["color_range"] == "tv"


@pytest.mark.parametrize(
    ("matrix", "primaries", "transfer"),
    [
        ("bt709", "bt709", "iec61966-2-4"),
        ("bt2020c", "bt2020", "bt2020-12"),
        ("ycgco", "film", "log100"),
        ("bt2020nc", "bt2020", "smpte2084"),
    ],
)
def test_rare_colour_is_stated_as_it_came(
    matrix: str, primaries: str, transfer: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    state = ("-colorspace", matrix, "-color_primaries", primaries, "-color_trc", transfer)
    source = clips.made(f"rare-{matrix}.mp4", *moving(frames=2), *h264(), *state)
    output = tmp_path / "out.mp4"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    seen, asked = stream_of(output), stream_of(source)
    for key in ("color_space", "color_primaries", "color_transfer"):
        assert seen[key] == asked[key] != "unknown"


@pytest.mark.parametrize(("height", "matrix"), [(180, "smpte170m"), (720, "bt709")])
def test_untagged_colour_follows_the_rule_and_is_stated(
    height: int, matrix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source = clips.made(f"untagged{height}.mp4", *moving(size=f"320x{height}", frames=2), *h264())
    output = tmp_path / "out.mp4"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    assert stream_of(source).get("color_space") is None
    assert stream_of(output)["color_space"] == matrix


def test_full_range_is_stated_in_the_output(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    full = ("-pix_fmt", "yuvj420p", "-c:v", "mjpeg")
    source, output = clips.made("full.avi", *moving(frames=2), *full), tmp_path / "out.mp4"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    assert stream_of(output)["color_range"] == "pc"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_the_shape_of_pixels_is_stated_in_the_output(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source = clips.made("anamorphic.mp4", *moving(frames=2), "-vf", "setsar=16/11", *h264())
    output = tmp_path / f"out{suffix}"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    assert stream_of(output)["sample_aspect_ratio"] == "16:11"


def test_a_turned_picture_is_written_upright(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = turned(clips, tmp_path, 90), tmp_path / "out.mp4"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    seen = stream_of(output)
    assert (seen["width"], seen["height"]) == (180, 320)
    assert seen["sample_aspect_ratio"] == "1:2"
    assert "side_data_list" not in seen
    theirs = pictures_of(source)
    assert min(psnr(a, b) for a, b in zip(pictures_of(output), theirs, strict=True)) > 30


@pytest.mark.parametrize(
    ("stated", "filters"),
    [
        ("flip=horizontal", "hflip"),
        ("flip=vertical", "vflip"),
        ("rotate=90:flip=horizontal", "transpose=cclock_flip"),
    ],
)
def test_a_mirrored_picture_is_written_as_it_is_to_be_seen(
    stated: str, filters: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    # Said with the keyframe, for all that follow it.
    flat = clips.made("one-gop.mp4", *moving(frames=9), *h264("-g", "99"))
    source, output = tmp_path / "mirrored.mp4", tmp_path / "out.mp4"
    orientation = f"h264_metadata=display_orientation=insert:{stated}"
    ffmpeg("-i", str(flat), "-c", "copy", "-bsf:v", orientation, str(source))
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    theirs = pictures_of(flat, "-vf", filters)
    assert min(psnr(a, b) for a, b in zip(pictures_of(output), theirs, strict=True)) > 30


def test_a_single_pixel_is_refused(clips: Clips, streamer: RunHere, tmp_path: Path) -> None:
    dot = ("-vf", "scale=1:1", "-pix_fmt", "yuv444p", "-c:v", "ffv1")
    source, output = clips.made("dot.mkv", *moving(frames=2), *dot), tmp_path / "out.mp4"
    sentence = streamer("run", source, "--to", output, *PLAIN).sentence
    assert "dot.mkv is 1x1" in sentence
    assert not output.exists()


def test_a_broadcast_of_fields_is_written_frame_by_frame_at_its_times(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = interlaced(clips), tmp_path / "out.mp4"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    assert times_of(output) == times_of(source)
    assert stream_of(output)["field_order"] == "progressive"


@pytest.mark.parametrize("suffix", [".h264", ".avi"])
def test_input_without_good_time_stamps_loses_no_picture(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert streamer("run", clips.plain(suffix), "--to", output, *PLAIN).code == 0
    times = times_of(output)
    assert len(times) == 30
    assert times[-1] - times[-2] == Fraction(1, 30)


def test_a_picture_of_odd_size_is_cut_to_even_ones(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    odd = ("-vf", "format=yuv444p,crop=161:91:7:7", "-c:v", "ffv1")
    source, output = clips.made("odd.mkv", *moving(frames=2), *odd), tmp_path / "out.mp4"
    arguments = ("--tier", "plain", "--scale", 2)
    assert streamer("run", source, "--to", output, *arguments).code == 0
    assert (stream_of(output)["width"], stream_of(output)["height"]) == (320, 180)
