"""Fewer frames, from file to file: how many, when, and for how long the last one stays."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.rate import parse_rate
from tests.clips import Clips, h264, moving
from tests.command import RunHere
from tests.measure import stream_of, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

VARIABLE = "select='lt(mod(n,12),8)+eq(mod(n,12),10)'"
"""Of 60 frames a second: eight at 60, then two at 20."""


def lowered(streamer: RunHere, clip: Path, out: Path, rate: str, between: str) -> Path:
    done = streamer(
        *("run", clip, "--to", out, "--scale", 1, "--backend", "reference"),
        *("--fps", rate, "--between", between),
    )
    assert done.code == 0, done.err
    return out


@pytest.mark.parametrize("between", ["interpolate", "predict", "none"])
@pytest.mark.parametrize(("rate", "frames"), [("10", 10), ("23.976", 24), ("24", 24), ("1", 1)])
def test_a_lower_rate_is_the_one_of_the_file_which_lasts_as_long_as_before(
    rate: str, frames: int, between: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    out = lowered(streamer, clips.plain(), tmp_path / "out.mp4", rate, between)
    fps = parse_rate(rate).fps
    assert fps is not None
    written = stream_of(out)
    assert int(written["nb_frames"]) == frames
    assert Fraction(written["avg_frame_rate"]) == fps
    assert abs(Fraction(written["duration"]) - 1) < 1 / fps


@pytest.mark.parametrize("between", ["interpolate", "predict", "none"])
def test_a_lower_rate_holds_where_frames_come_unevenly(
    between: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made(
        "uneven.mkv", *moving(rate="60", frames=90), "-vf", VARIABLE, "-fps_mode", "vfr", *h264()
    )
    out = lowered(streamer, clip, tmp_path / "out.mp4", "20", between)
    seen = times_of(out)
    assert len(seen) in (39, 40)  # in two seconds
    assert all(later - time >= Fraction(1, 20) for time, later in pairwise(seen))


@pytest.mark.parametrize("between", ["interpolate", "predict", "none"])
def test_of_four_frames_a_second_one_can_be_kept(
    between: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made("four.mp4", *moving(rate="4", frames=16), *h264())
    out = lowered(streamer, clip, tmp_path / "out.mp4", "1", between)
    assert [time - times_of(out)[0] for time in times_of(out)] == [0, 1, 2, 3]
    assert Fraction(stream_of(out)["duration"]) == 4
