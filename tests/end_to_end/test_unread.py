"""Nobody reads what is said any more: the video goes on, and the exit code tells of it alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.clips import Clips, h264, moving
from tests.command import ROOT
from tests.measure import times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")


def test_a_reader_of_the_messages_that_goes_away_ends_nothing(clips: Clips) -> None:
    """As in ``streamer run … 2>&1 | head``: the last line finds nobody."""
    read, write = os.pipe()
    running = _started("run", clips.plain(), "--to", "y4m:-", "--tier", "plain", says_to=write)
    os.close(read)
    out, _ = running.communicate(timeout=180)
    assert running.returncode == 0
    assert out.count(b"FRAME\n") == len(times_of(clips.plain()))


def test_a_terminal_that_is_closed_is_no_failure_of_the_run(clips: Clips, tmp_path: Path) -> None:
    """As of a run that its shell let go (``disown``)."""
    clip = clips.made("unread.mp4", *moving(size="160x90", frames=1800), *h264())
    output = tmp_path / "out.mp4"
    terminal, end = os.openpty()
    arguments = ("--tier", "plain", "--scale", "1", "--preset", "medium")
    running = _started("run", clip, "--to", output, *arguments, says_to=end)
    assert os.read(terminal, 1)  # the bar is drawn
    _wait_for(output, running)
    os.close(terminal)
    running.communicate(timeout=180)
    assert running.returncode == 0
    assert len(times_of(output)) == 1800


def test_pictures_that_nobody_reads_hold_up_no_other_output(tmp_path: Path) -> None:
    """As with ``… | ffplay -`` while that is paused."""
    output = tmp_path / "out.mkv"
    both = ("--to", "y4m:-", "--to", output, "--duration", "3", "--port", "0")
    plain = ("--tier", "plain", "--scale", "1", "--preset", "ultrafast")
    says_to = os.open(os.devnull, os.O_WRONLY)
    running = _started("run", "synthetic:320x180@25", *both, *plain, says_to=says_to)
    try:
        assert running.wait(timeout=120) == 2  # the one output lacks its end
    finally:
        running.kill()
        running.communicate()
    assert times_of(output)[-1] > 2


def _started(*arguments: str | Path, says_to: int) -> subprocess.Popen[bytes]:
    """``streamer`` with ``arguments``; its messages go to a descriptor, which is closed here."""
    command = [sys.executable, "-m", "streamer", *map(str, arguments)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=says_to)
    os.close(says_to)
    return running


def _wait_for(path: Path, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
