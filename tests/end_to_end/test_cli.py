"""The commands around ``run``: what they answer, on standard output and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import Clips, h264, moving
from tests.command import ROOT, RunHere
from tests.programs import needs


@pytest.mark.parametrize("command", ["run", "demo", "probe", "describe"])
def test_every_command_explains_itself(command: str, streamer: RunHere) -> None:
    done = streamer(command, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: streamer {command}")
    assert done.err == ""


def test_without_a_command_all_of_them_are_listed_in_whole_sentences(streamer: RunHere) -> None:
    done = streamer()
    assert (done.code, done.err) == (0, "")
    assert done.out == streamer("--help").out
    for command in ("run", "demo", "serve", "probe", "describe", "engines"):
        assert f"\n  {command} " in done.out
    assert "..." not in done.out.partition("Commands:")[2]


@needs("ffmpeg")
def test_probe_says_what_comes_in_and_what_each_tier_costs(clips: Clips, streamer: RunHere) -> None:
    done = streamer("probe", clips.with_sound(), "--json")
    assert done.code == 0
    found = json.loads(done.out)
    source = found["source"]
    assert (source["codec"], source["width"], source["height"]) == ("h264", 320, 180)
    assert source["fps"] == 30.0
    assert source["live"] is False
    assert found["duration_s"] == pytest.approx(1.0, abs=0.1)
    assert found["audio"] == {"codec": "aac", "rate_hz": 44100, "channels": 1}
    plain = [tier for tier in found["tiers"] if tier["tier"] == "plain"]
    assert [tier["scale"] for tier in plain] == [1, 2, 3, 4]
    assert {tier["backend"] for tier in plain} == {"reference"}, (
        "no network, so nothing that runs one"
    )
    assert all(tier["p95_ms"] > 0 for tier in found["tiers"])


@needs("ffmpeg")
def test_probe_says_in_words_what_is_changed_on_the_way_in(clips: Clips, streamer: RunHere) -> None:
    rgb = clips.made("rgb.mkv", *moving(frames=3), "-c:v", "ffv1", "-pix_fmt", "bgr0")
    done = streamer("probe", rgb)
    assert done.code == 0
    assert "video   ffv1 320x180 30 fps bgr0, bt601 limited" in done.out
    assert "audio   none" in done.out
    assert "bgr0 is converted to 8-bit 4:2:0 with the bt601 matrix, limited range" in done.out


def test_probe_of_nothing_is_refused(streamer: RunHere) -> None:
    assert "missing.mp4 does not exist" in streamer("probe", "missing.mp4").sentence
    assert "use it under streamer serve" in streamer("probe", "whip:").sentence


def test_describe_says_the_chain_and_its_budget(streamer: RunHere) -> None:
    done = streamer("describe", "--scale", 3, "--tier", "plain", "--budget-ms", 60)
    assert done.code == 0
    assert "scale    x3" in done.out
    assert "bicubic-x3, uint8 on reference" in done.out
    assert "tiers    plain" in done.out
    assert "60 ms from arrival to outputs; late frames step down" in done.out


def test_describe_reads_streams_from_a_file_and_hides_passwords(
    streamer: RunHere, tmp_path: Path
) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text(
        "streams:\n"
        "  door: {source: clip.mp4, to: ['null:'], backend: reference}\n"
        "  yard: {source: 'synthetic:', to: ['webrtc:'], scale: 4, backend: reference}\n"
    )
    done = streamer("describe", config)
    assert done.code == 0
    assert "stream door: clip.mp4 to null" in done.out
    assert "nothing is dropped, the links wait" in done.out
    assert "stream yard: synthetic: to webrtc" in done.out
    assert "scale    x4" in done.out


def test_options_next_to_a_settings_file_are_refused(streamer: RunHere, tmp_path: Path) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text("streams: {door: {source: clip.mp4, to: ['null:'], backend: reference}}\n")
    # 2 is what --scale is by default, and was asked for here all the same.
    said = streamer("describe", config, "--scale", 2, "--tier", "plain").sentence
    assert "streams.yaml says --scale, --tier of each stream; leave the options out" in said


def test_a_settings_file_that_is_wrong_is_refused(streamer: RunHere, tmp_path: Path) -> None:
    config = tmp_path / "streams.yaml"
    config.write_text("streams: {door: {source: clip.mp4, to: ['null:'], size: 2}}\n")
    assert "unknown key 'size'" in streamer("describe", config).sentence


@needs("ffmpeg")
def test_several_outputs_of_every_kind_are_written_at_once(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    names = ("a.mp4", "b.MKV", "c.ts", "d.y4m")
    to = [part for name in names for part in ("--to", tmp_path / name)]
    source = clips.made("few.mp4", *moving(frames=4), *h264())
    done = streamer("run", source, *to, "--to", "null:", "--tier", "plain")
    assert done.code == 0
    assert done.out == ""
    assert done.err == "streamer: 4 frames sent, 0 dropped\n"
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)


OPENING = "from streamer.infer.backends import BACKENDS; BACKENDS['ort-cpu'].is_installed()"
EXPORTING = "import export.cli, export.cost"


@pytest.mark.parametrize(
    "arguments",
    [("-m", "streamer", "describe", "--backend", "ort-cpu"), ("-c", OPENING), ("-c", EXPORTING)],
    ids=["program", "package", "export"],
)
def test_a_library_that_reports_to_its_maker_is_kept_from_it(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    without = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**without, "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    # Where it may report, it keeps a number of this device there, and what it has not sent yet.
    assert [found.name for found in tmp_path.iterdir() if found.name != "streamer"] == []
