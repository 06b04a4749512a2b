"""Files in, files out: every picture in its place, at its time, in its size."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from streamer.frame import Planes
from tests.clips import HEIGHT, WIDTH, Clips, h264, moving
from tests.command import RunHere, started
from tests.measure import pictures_of, psnr, split_pictures, stream_of, tick_of, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

CONTAINERS = (".mp4", ".mkv", ".ts")


def constant(clips: Clips) -> Path:
    return clips.plain(".mp4")


def film(clips: Clips) -> Path:
    return clips.made("film.mkv", *moving(rate="24000/1001", frames=24), *h264())


def variable(clips: Clips) -> Path:
    some = ("-vf", "select='not(between(mod(n,7),2,4))'", "-fps_mode", "vfr")
    return clips.made("variable.mkv", *moving(frames=16), *some, *h264())


def broadcast(clips: Clips) -> Path:
    """Its first picture is shown at 1.4 s and more, as FFmpeg writes MPEG-TS."""
    return clips.plain(".ts")


@pytest.mark.parametrize("clip", [constant, film, variable, broadcast])
def test_every_picture_keeps_its_time_in_every_container(
    clip: Callable[[Clips], Path], clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source = clip(clips)
    outputs = [tmp_path / f"out{suffix}" for suffix in CONTAINERS]
    to = [part for output in outputs for part in ("--to", output)]
    assert streamer("run", source, *to, "--tier", "plain", "--scale", "1").code == 0
    before = times_of(source)
    for output in outputs:
        after = times_of(output)
        assert len(after) == len(before)
        # Matroska and MPEG-TS count in ticks of their own; what they can say exactly, they do.
        half = tick_of(output) / 2
        assert all(abs(a - b) <= half for a, b in zip(after, before, strict=True)), output.name


def test_a_transport_stream_that_starts_late_stays_late(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.ts"
    assert streamer("run", broadcast(clips), "--to", output, "--tier", "plain").code == 0
    assert times_of(output)[0] == times_of(broadcast(clips))[0] > Fraction(7, 5)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_of_a_transport_stream_whose_clock_wraps_nothing_is_lost(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    # Its clock of 33 bits begins anew in the middle; read on, the time before that lies below zero.
    clip = clips.made(
        "wraps.ts",
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", *moving()[:4]),
        *("-t", "2", *h264(), "-c:a", "aac", "-muxdelay", "0", "-output_ts_offset", "95442.7"),
    )
    assert times_of(clip)[0] < -1 < 0 < times_of(clip)[-1]
    output = tmp_path / f"out{suffix}"
    assert streamer("run", clip, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    assert len(pictures_of(output)) == 60
    sound, picture = (times_of(output, kind)[0] for kind in "av")
    before = times_of(clip, "a")[0] - times_of(clip)[0]
    assert abs(sound - picture - before) < Fraction(1, 500)
    assert Fraction(stream_of(output).get("duration", 2)) == 2


def smooth(clips: Clips) -> Path:
    """Blurred, so that kernels agree on it, while a shift by half a pixel costs 10 dB."""
    return clips.made("smooth.mp4", *moving(frames=4), "-vf", "gblur=sigma=4", *h264("-crf", "4"))


def upscaled_by_ffmpeg(source: Path, scale: int) -> list[Planes]:
    return pictures_of(source, "-vf", f"scale=iw*{scale}:ih*{scale}:flags=bicubic")


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_picture_grows_by_the_scale_and_stays_where_it_is(
    scale: int, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = smooth(clips), tmp_path / "out.mkv"
    done = streamer("run", source, "--to", output, "--tier", "plain", "--scale", scale, "--crf", 4)
    assert done.code == 0
    seen = stream_of(output)
    assert (seen["width"], seen["height"]) == (WIDTH * scale, HEIGHT * scale)
    theirs, ours = upscaled_by_ffmpeg(source, scale), pictures_of(output)
    assert len(ours) == 4
    assert min(psnr(a, b) for a, b in zip(ours, theirs, strict=True)) > 44


def test_the_output_holds_no_b_frames_and_the_pictures_are_in_order(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = clips.plain(), tmp_path / "out.mp4"
    assert stream_of(source)["has_b_frames"] > 0
    assert streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    assert stream_of(output)["has_b_frames"] == 0
    theirs, ours = pictures_of(source), pictures_of(output)
    assert min(psnr(a, b) for a, b in zip(ours, theirs, strict=True)) > 30


def test_a_trained_network_takes_the_place_of_the_plain_upscale(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    assert streamer("run", clips.plain(), "--to", output, "--report", report).code == 0
    numbers = json.loads(report.read_text())
    engine = numbers["engines"][0]
    best = "plain" if engine["backend"] == "reference" else engine["model"]
    assert list(numbers["tiers"].values()) == [30], best
    assert ("plain" in numbers["tiers"]) == (engine["backend"] == "reference")
    assert len(pictures_of(output)) == 30


@pytest.mark.parametrize("frames", [1, 8, 9, 10, 15])
def test_duration_stops_a_file_at_its_own_time(
    frames: int, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    arguments = ("--tier", "plain", "--scale", 1, "--duration", (frames - 0.5) / 30)
    assert streamer("run", clips.plain(), "--to", output, *arguments).code == 0
    # B-frames are coded after the frame that they precede, and are not lost for it.
    assert times_of(output) == times_of(clips.plain())[:frames]


def test_raw_video_goes_into_a_pipe(clips: Clips) -> None:
    running = started("run", str(smooth(clips)), "--to", "y4m:-", "--tier", "plain")
    out, said = running.communicate(timeout=180)
    assert running.returncode == 0, said
    header, _, data = out.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W640 H360 F30:1 Ip A1:1 C420jpeg")
    ours = split_pictures(data, width=640, height=360)
    assert len(ours) == 4
    theirs = upscaled_by_ffmpeg(smooth(clips), 2)
    assert min(psnr(a, b) for a, b in zip(ours, theirs, strict=True)) > 44


@pytest.mark.parametrize("is_file", [True, False], ids=["file", "pipe"])
def test_a_dash_is_standard_input(is_file: bool, clips: Clips, tmp_path: Path) -> None:  # noqa: FBT001
    clip, output = clips.plain(".mkv"), tmp_path / "out.mkv"
    with clip.open("rb") as file:
        given = file.fileno() if is_file else subprocess.PIPE
        process = started("run", "-", "--to", str(output), "--tier", "plain", stdin=given)
        _, said = process.communicate(None if is_file else clip.read_bytes(), timeout=120)
    assert process.returncode == 0, said
    assert times_of(output) == times_of(clip)


def test_a_reader_that_leaves_early_ends_the_run_in_one_sentence(clips: Clips) -> None:
    running = started("run", str(clips.plain()), "--to", "y4m:-", "--tier", "plain")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.read(100_000)
    running.stdout.close()
    said = running.stderr.read().decode()
    running.stderr.close()
    assert running.wait(timeout=180) == 2
    assert said.count("\n") == 1
    assert said.startswith("streamer: y4m:- takes no more (Broken pipe)")
    assert said.endswith("; see why its reader ended, or write to a file\n")


def test_a_reader_that_goes_away_does_not_end_the_other_outputs(
    clips: Clips, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.mp4"
    both = ("--to", str(whole), "--to", "y4m:-")
    running = started("run", str(clips.plain()), *both, "--tier", "plain")
    assert running.stdout is not None
    running.stdout.read(100_000)
    running.stdout.close()
    assert running.stderr is not None
    said = running.stderr.read().decode()
    running.stderr.close()
    assert running.wait(timeout=180) == 2
    assert "y4m:- takes no more" in said
    assert "Traceback" not in said
    assert len(times_of(whole)) == len(times_of(clips.plain()))


def test_the_report_has_the_promised_keys(clips: Clips, streamer: RunHere, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    source = clips.with_sound()
    assert streamer("run", source, "--to", "null:", "--tier", "plain", "--report", report).code == 0
    numbers = json.loads(report.read_text())
    assert set(numbers) == {
        *("frames", "fps", "latency_ms", "tiers", "stepped", "engines", "source", "machine"),
        *("notice", "copied"),
    }
    assert numbers["copied"] == {}
    assert numbers["frames"] == {
        "decoded": 30,
        "interpolated": 0,
        "predicted": 0,
        "repeated": 0,
        "sent": 30,
        "left_out": 0,
        "cleaned": 0,
        "concealed": {},
        "dropped": {},
    }
    assert numbers["notice"] == ""
    assert numbers["fps"] == {"in": 30.0, "out": 30.0}
    for name in ("arrived_to_sent", "decode", "super_resolve", "encode"):
        assert set(numbers["latency_ms"][name]) == {"n", "p50", "p95", "p99", "max"}
        assert numbers["latency_ms"][name]["n"] == 30
    assert numbers["tiers"] == {"plain": 30}
    assert numbers["engines"] == [
        {"model": "bicubic-x2", "backend": "reference", "precision": "uint8", "device": "cpu"}
    ]
    source_keys = {"codec", "width", "height", "fps", "pix_fmt", "color", "notes", "loss_ratio"}
    assert set(numbers["source"]) == source_keys
    assert set(numbers["source"]["color"]) == {"matrix", "range", "primaries", "transfer"}
    assert set(numbers["machine"]) == {"cpu", "cores", "gpu", "versions"}
    assert "av" in numbers["machine"]["versions"]
