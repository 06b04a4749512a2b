"""More frames, or fewer, from file to file: what leaves, when, and how it came to be."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.frame import Plane
from tests.clips import Clips, ffmpeg, h264, moving
from tests.command import RunHere
from tests.measure import stream_of

PAN = "testsrc2=size=640x360:rate=25,crop=320:180:'4*n':40"
"""A picture that moves by four pixels a frame."""


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
    return sorted(Fraction(each.pts or 0) * Fraction(each.time_base or 0) for each in found)


def rate_of(path: Path) -> Fraction | None:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate


def lumas(path: Path, *, width: int = 320, height: int = 180) -> list[Plane]:
    raw = ffmpeg("-i", str(path), "-pix_fmt", "gray", "-f", "rawvideo", "-")
    return list(np.frombuffer(raw, np.uint8).reshape(-1, height, width))


def pan_and_half(clips: Clips) -> tuple[Path, Path]:
    """A moving picture, and every second frame of it."""
    whole = clips.made(
        "pan.y4m", "-f", "lavfi", "-i", PAN, "-frames:v", "21", "-pix_fmt", "yuv420p"
    )
    half = clips.made(
        "pan_half.mkv",
        "-i",
        str(whole),
        "-vf",
        "select='not(mod(n,2))'",
        "-fps_mode",
        "passthrough",
        "-c:v",
        "ffv1",
    )
    return whole, half


def run(streamer: RunHere, clip: Path, out: Path, *options: str) -> dict[str, Any]:
    """The report of an enhancing that leaves the size as it is."""
    report = out.with_suffix(".json")
    done = streamer("run", clip, "--to", out, "--scale", 1, "--report", report, *options)
    assert done.code == 0, done.err
    numbers: dict[str, Any] = json.loads(report.read_text())
    return numbers


def difference(one: Plane, other: Plane) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_doubled_frames_lie_halfway_and_real_ones_keep_their_times(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.plain(suffix)
    numbers = run(streamer, clip, tmp_path / f"out{suffix}", "--fps", "x2")
    before, after = times(clip), times(tmp_path / f"out{suffix}")
    tick = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 90_000)
    # The last real frame is there for two slots, as it would be without the others.
    ends = before[-1] + Fraction(1, 30)
    wanted = sorted([*before, *((one + other) / 2 for one, other in pairwise([*before, ends]))])
    shift = wanted[0] - after[0]
    assert len(after) == len(wanted) == 60
    assert all(abs(seen + shift - time) <= tick for seen, time in zip(after, wanted, strict=True))
    assert numbers["frames"]["interpolated"] == 29
    assert numbers["frames"]["repeated"] == 1
    assert numbers["frames"]["sent"] == 60
    assert numbers["frames"]["dropped"] == {}


@pytest.mark.parametrize("suffix", [".y4m", ".mkv"])
def test_a_file_says_the_rate_its_pictures_leave_at(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    run(streamer, clips.plain(), tmp_path / f"out{suffix}", "--fps", "x2")
    assert rate_of(tmp_path / f"out{suffix}") == 60


@pytest.mark.parametrize("suffix", [".y4m", ".mkv"])
def test_a_multiple_that_would_be_too_many_is_said_as_what_it_becomes(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made("fifty.mp4", *moving(rate="50", frames=6), *h264())
    numbers = run(streamer, clip, tmp_path / f"out{suffix}", "--fps", "x8")
    # 240 at most leave, and each interval is divided evenly.
    assert numbers["fps"]["out"] == 200
    assert rate_of(tmp_path / f"out{suffix}") == 200


def test_where_no_frames_are_made_a_higher_rate_leaves_real_ones_at_their_times(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    run(streamer, clips.plain(), tmp_path / "out.mp4", "--fps", "60", "--between", "none")
    before, after = times(clips.plain()), times(tmp_path / "out.mp4")
    assert [time - after[0] for time in after] == [time - before[0] for time in before]


def test_a_fixed_rate_is_a_grid_that_begins_with_the_first_frame(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made("pan25.mp4", "-f", "lavfi", "-i", PAN, "-frames:v", "25", *h264())
    run(streamer, clip, tmp_path / "out.mkv", "--fps", "60")
    seen = times(tmp_path / "out.mkv")
    assert len(seen) == 60  # until the last real frame has ended, after a second
    # Matroska keeps whole milliseconds.
    assert all(
        abs(time - seen[0] - Fraction(n, 60)) <= Fraction(1, 1000) for n, time in enumerate(seen)
    )


@pytest.mark.parametrize("rate", ["x2", "x8", "60", "45"])
def test_the_end_is_as_long_and_as_even_as_all_before(
    rate: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip, out = clips.plain(), tmp_path / "out.mp4"
    run(streamer, clip, out, "--fps", rate, "--backend", "reference")
    fps = 30 * int(rate[1:]) if rate.startswith("x") else int(rate)
    said = stream_of(out)
    assert Fraction(said["avg_frame_rate"]) == fps
    assert abs(Fraction(said["duration"]) - 1) < Fraction(1, fps)
    seen = times(out)
    assert {later - time for time, later in pairwise(seen)} == {Fraction(1, fps)}


def test_a_lower_rate_leaves_frames_out_and_makes_none(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    numbers = run(streamer, clips.plain(), tmp_path / "out.mp4", "--fps", "15", "--between", "none")
    seen = times(tmp_path / "out.mp4")
    assert len(seen) == 15
    assert {one - other for other, one in pairwise(seen)} == {Fraction(1, 15)}
    assert numbers["frames"]["interpolated"] == numbers["frames"]["repeated"] == 0
    assert sum(numbers["tiers"].values()) == 15, "no other one was enhanced"
    assert numbers["frames"]["dropped"] == {}


def test_frames_between_real_ones_show_what_lies_between(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    whole, half = pan_and_half(clips)
    run(streamer, half, tmp_path / "out.y4m", "--fps", "x2")
    truth, seen = lumas(whole), lumas(tmp_path / "out.y4m")
    assert len(seen) == 21
    for n in range(3, 21, 2):
        made = difference(seen[n], truth[n])
        mean = difference(
            ((truth[n - 1].astype(int) + truth[n + 1]) // 2).astype(np.uint8), truth[n]
        )
        assert made < 0.6 * mean
        assert made < 0.6 * difference(truth[n - 1], truth[n])


def test_predicted_frames_follow_real_ones_that_stay_as_they_are(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    _, half = pan_and_half(clips)
    numbers = run(streamer, half, tmp_path / "out.mkv", "--between", "predict")
    assert numbers["frames"]["predicted"] > 0
    assert numbers["frames"]["interpolated"] == 0
    assert numbers["frames"]["sent"] == 11 + numbers["frames"]["predicted"]
    assert set(times(half)) <= set(times(tmp_path / "out.mkv"))


def test_nothing_is_blended_across_a_cut(clips: Clips, streamer: RunHere, tmp_path: Path) -> None:
    cut = clips.made(
        "cut.y4m",
        *("-f", "lavfi", "-i", PAN, "-f", "lavfi", "-i", "mandelbrot=size=320x180:rate=25"),
        "-filter_complex",
        "[0:v]trim=end_frame=12,format=yuv420p[a];[1:v]trim=end_frame=12,format=yuv420p[b];"
        "[a][b]concat=n=2",
        *("-frames:v", "24"),
    )
    numbers = run(streamer, cut, tmp_path / "out.y4m", "--fps", "x2")
    before, seen = lumas(cut), lumas(tmp_path / "out.y4m")
    assert len(seen) == 48
    across, shot, next_shot = seen[23], before[11], before[12]
    # What a blend would be: as far from either shot.
    assert difference(across, shot) < 0.25 * difference(next_shot, shot)
    assert numbers["frames"]["predicted"] == 1
    assert numbers["frames"]["interpolated"] + numbers["frames"]["repeated"] == 23


def test_a_still_picture_is_repeated(clips: Clips, streamer: RunHere, tmp_path: Path) -> None:
    still = clips.made(
        "still.mkv",
        *moving(frames=1),
        "-vf",
        "loop=9:1",
        "-frames:v",
        "10",
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "yuv420p",
    )
    numbers = run(streamer, still, tmp_path / "out.mkv", "--fps", "x3")
    assert numbers["frames"]["repeated"] == 20
    assert numbers["frames"]["interpolated"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fps", "500"), "--fps 500 is not possible; use 1 to 240"),
        (("--fps", "x99"), "--fps x99 is not possible"),
        (("--fps", "fast"), "--fps fast is not possible"),
        (("--between", "guess"), "--between 'guess' is not possible; use interpolate, predict"),
    ],
)
def test_what_is_no_rate_is_said(
    options: tuple[str, str], said: str, clips: Clips, streamer: RunHere
) -> None:
    done = streamer("run", clips.plain(), "--to", "null:", *options)
    assert done.code == 2
    assert said in done.sentence
