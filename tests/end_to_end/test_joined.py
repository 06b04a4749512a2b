"""Recordings put one behind another, as ``cat`` does: all of both, on one timeline."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.clips import FLASHES_S, Clips, h264, moving
from tests.command import RunHere
from tests.measure import flash_and_beep_times, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

PLAIN = ("--tier", "plain", "--scale", "1", "--crf", "30")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")
CODERS = {
    "h264": h264(),
    "no-b-frames": h264("-bf", "0"),
    "open-gop": h264("-x264-params", "open-gop=1"),
    "hevc": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "mpeg2": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "4"),
}


def joined(folder: Path, *parts: Path) -> Path:
    whole = folder / "joined.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    return whole


@pytest.mark.parametrize("coder", CODERS)
def test_all_of_both_is_in_the_output_and_nothing_is_called_damaged(
    coder: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    picture = moving()[:4]
    coded = (*CODERS[coder], "-c:a", "aac")
    first = clips.made(f"part-{coder}.ts", *picture, *TONE, "-t", "1", *coded)
    # Another number of pictures, so that the packets' counters do not go on by chance.
    second = clips.made(f"short-{coder}.ts", *picture, *TONE, "-t", "0.7", *coded)
    source, output = joined(tmp_path, first, second), tmp_path / "out.mkv"
    done = streamer("run", source, "--to", output, *PLAIN)
    assert (done.code, done.err.count("\n")) == (0, 1), done
    for kind in "va":
        before = [times_of(part, kind) for part in (first, second)]
        after = times_of(output, kind)
        assert len(after) == sum(map(len, before))
        assert all(a < b for a, b in pairwise(after))


@pytest.mark.parametrize("to", [".mp4", ".mkv", ".ts"])
def test_sound_stays_with_its_picture_in_both(
    to: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.flash_and_beep(".ts")
    source, output = joined(tmp_path, clip, clip), tmp_path / f"out{to}"
    assert streamer("run", source, "--to", output, *PLAIN).code == 0
    flashes, beeps = flash_and_beep_times(output)
    assert len(flashes) == len(beeps) == 2 * len(FLASHES_S)
    for flash, beep in zip(flashes, beeps, strict=True):
        assert abs(beep - flash) < 0.045
    # Two seconds each; the sound of the first is a little longer than its picture.
    for first, second in zip(flashes[: len(FLASHES_S)], flashes[len(FLASHES_S) :], strict=True):
        assert 2.0 <= round(second - first, 2) < 2.15


def test_a_picture_that_was_cut_off_before_the_second_is_said(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    large = h264("-bf", "0", "-crf", "4")
    whole = clips.made("large.ts", *moving(), "-vf", "noise=alls=20:allf=t", *large)
    cut, output = tmp_path / "cut.ts", tmp_path / "out.mkv"
    cut.write_bytes(whole.read_bytes()[: -40 * 188])
    sentence = streamer("run", joined(tmp_path, cut, whole), "--to", output, *PLAIN).sentence
    assert "joined.ts is damaged: 1 of its packets could not be decoded in full" in sentence
    assert len(times_of(output)) == len(times_of(cut)) + len(times_of(whole))
