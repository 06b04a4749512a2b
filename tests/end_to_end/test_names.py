"""Names of files: any that the system allows are taken, and nothing is ever overwritten by mistake."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import Clips
from tests.command import RunHere
from tests.measure import pictures_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

PLAIN = ("--tier", "plain", "--scale", "1")


@pytest.fixture
def clip(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip of the test's own, in the folder where it runs."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(clips.plain(), tmp_path / "clip.mp4"))


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "pipe:1.mkv", "a b'\"ü.ts", "100%d.mp4", "two\nlines.mkv", "Y.Y4M"]
)
def test_any_name_is_written_and_read(name: str, clip: Path, streamer: RunHere) -> None:
    assert streamer("run", clip, "--to", name, *PLAIN).code == 0
    assert streamer("run", name, "--to", "again.mkv", *PLAIN).code == 0
    assert len(pictures_of(Path("again.mkv"))) == 30


def test_a_name_that_begins_with_a_dash_is_written_and_read(clip: Path, streamer: RunHere) -> None:
    assert streamer("run", clip, "--to=-out.mp4", *PLAIN).code == 0
    assert streamer("run", "--to", "again.mkv", *PLAIN, "--", "-out.mp4").code == 0
    assert len(pictures_of(Path("again.mkv"))) == 30


@pytest.mark.parametrize("name", ["no\nsuch.mp4", "no\x1b[2Jsuch.mp4", "no\rsuch.mp4"])
def test_a_name_cannot_write_to_the_terminal(name: str, clip: Path, streamer: RunHere) -> None:
    sentence = streamer("run", name, "--to", "null:").sentence
    assert "does not exist; check the path" in sentence
    assert sentence.isprintable()


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_input_under_another_name_is_not_overwritten(
    link: Callable[[Path, Path], None], clip: Path, streamer: RunHere
) -> None:
    whole = clip.read_bytes()
    link(clip, Path("other.mp4"))
    for source, output in ((clip, "other.mp4"), ("other.mp4", clip)):
        said = streamer("run", source, "--to", output, *PLAIN).sentence
        assert "the input as well as the output" in said
    assert clip.read_bytes() == whole


def test_from_standard_input_to_standard_output_is_no_file_twice(clip: Path) -> None:
    Path("-").write_bytes(b"precious")
    with clip.open("rb") as given:
        done = subprocess.run(
            [sys.executable, "-m", "streamer", "run", "-", "--to", "y4m:-", *PLAIN],
            stdin=given,
            capture_output=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"YUV4MPEG2")
    assert done.stdout.count(b"FRAME\n") == 30
    assert Path("-").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["loop.mp4", "x" * 300 + ".mp4", "x" * 300 + "/out.mp4"])
def test_a_name_that_cannot_be_is_refused(name: str, clip: Path, streamer: RunHere) -> None:
    Path("loop.mp4").symlink_to("loop.mp4")
    said = streamer("run", clip, "--to", name, *PLAIN).sentence
    assert "; choose another file" in said or "; make it, or write somewhere else" in said
    assert "what is in it" not in said


def test_a_report_overwrites_neither_input_nor_output(clip: Path, streamer: RunHere) -> None:
    whole = clip.read_bytes()
    os.link(clip, "other.json")
    Path("out.mkv").write_bytes(b"precious")
    for report in (clip, "other.json", "out.mkv"):
        said = streamer("run", clip, "--to", "out.mkv", "--report", report, *PLAIN).sentence
        assert "write --report to another file" in said
    assert clip.read_bytes() == whole
    assert Path("out.mkv").read_bytes() == b"precious"


@pytest.mark.parametrize("report", [".", "", "-", "x" * 300, "/proc/run.json", "clip.mp4/run.json"])
def test_a_report_that_cannot_be_written_is_said_before_anything_is_done(
    report: str, clip: Path, streamer: RunHere
) -> None:
    said = streamer("run", clip, "--to", "out.mkv", "--report", report, *PLAIN).sentence
    assert "report" in said
    assert os.listdir() == ["clip.mp4"]


def test_a_report_on_a_full_disk_costs_no_output(clip: Path, streamer: RunHere) -> None:
    said = streamer("run", clip, "--to", "out.mkv", "--report", "/dev/full", *PLAIN).sentence
    assert "the report /dev/full could not be written (No space left on device)" in said
    assert len(pictures_of(Path("out.mkv"))) == 30


def test_a_report_is_not_left_behind_by_a_run_that_never_began(
    clip: Path, streamer: RunHere
) -> None:
    assert streamer("run", "missing.mp4", "--to", "out.mkv", "--report", "run.json").code == 2
    assert os.listdir() == ["clip.mp4"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ("--port", str(taken.getsockname()[1]), "--report", "run.json", *PLAIN)
        said = streamer("run", clip, "--to", "webrtc:", *options)
    assert "address already in use" in said.sentence
    assert os.listdir() == ["clip.mp4"]
