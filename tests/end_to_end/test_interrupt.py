"""Ctrl-C, a second one, and a kill: what is in the file by then plays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clips import Clips, h264, moving
from tests.command import started
from tests.measure import pictures_of, plane_psnr, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

FRAMES = 3000
"""Far more than are enhanced before the signal comes."""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``streamer`` in a process group of its own, and leaves nothing of it behind."""
    running: list[subprocess.Popen[bytes]] = []

    def run(*arguments: object) -> subprocess.Popen[bytes]:
        process = started(*map(str, arguments), process_group=0)
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def long_clip(clips: Clips) -> Path:
    picture = moving(size="160x90", frames=FRAMES)
    return clips.made("long.mp4", *picture, *h264("-preset", "ultrafast"))


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def holds(path: Path, size_bytes: int) -> Callable[[], bool]:
    return lambda: path.exists() and path.stat().st_size > size_bytes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_file_is_finished_and_plays(
    number: signal.Signals, clips: Clips, start: Start, tmp_path: Path
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests run under nohup, and so would what they start")
    source, output, report = long_clip(clips), tmp_path / "out.mp4", tmp_path / "r.json"
    process = start(
        "run", source, "--to", output, "--tier", "plain", "--scale", 1, "--report", report
    )
    wait_until(holds(output, 50_000), process)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert out == b""
    assert said.count(b"\n") == 1
    assert b"frames sent, 0 dropped" in said
    sent = json.loads(report.read_text())["frames"]["sent"]
    ours = pictures_of(output)
    assert 0 < len(ours) == sent < FRAMES
    assert times_of(output) == times_of(source)[:sent]
    theirs = pictures_of(source, "-frames:v", str(sent))
    assert min(plane_psnr(a[0], b[0]) for a, b in zip(ours, theirs, strict=True)) > 28
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_an_interrupted_live_run_ends_well(start: Start, tmp_path: Path) -> None:
    output = tmp_path / "out.ts"
    process = start("run", "synthetic:320x180@30", "--to", output, "--tier", "plain")
    wait_until(holds(output, 10_000), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert b"Traceback" not in said
    assert len(pictures_of(output)) > 0


def test_signals_that_come_together_are_one(start: Start, tmp_path: Path) -> None:
    """``timeout`` tells the program and then its whole group, a closed terminal and its shell both do."""
    output, report = tmp_path / "out.mp4", tmp_path / "r.json"
    arguments = ("--to", output, "--tier", "plain", "--report", report)
    process = start("run", "synthetic:320x180@30", *arguments)
    wait_until(holds(output, 10_000), process)
    for number in (signal.SIGINT, signal.SIGTERM):  # two of one kind might become one by themselves
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert b"frames sent" in said
    assert len(pictures_of(output)) == json.loads(report.read_text())["frames"]["sent"] > 0


def test_an_interrupted_probe_tries_no_further_scale(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("these tests run in the background of a shell, and so would what they start")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "streamer" / "trials.json"
    process = start("probe", "synthetic:1920x1080@30")
    wait_until(kept.exists, process)
    process.send_signal(signal.SIGINT)
    tried = len(json.loads(kept.read_text()))
    assert process.communicate(timeout=120) == (b"", b"")
    assert process.returncode == 130
    # Those of the scale that it was at are finished: three at most. All four have nine or more.
    assert len(json.loads(kept.read_text())) <= tried + 3


def test_a_second_interrupt_ends_a_run_that_waits_for_a_reader(clips: Clips, start: Start) -> None:
    process = start("run", long_clip(clips), "--to", "y4m:-", "--tier", "plain")
    assert process.stdout is not None
    assert process.stdout.read(9) == b"YUV4MPEG2"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        # Nobody reads the pictures, so that this one cannot be obeyed.
        process.wait(timeout=1)
    deadline = time.monotonic() + 60
    while process.poll() is None:
        # Two that come while the machine stands still are one: the next is the second.
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.returncode == 130
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_a_killed_run_leaves_a_file_that_plays(clips: Clips, start: Start, tmp_path: Path) -> None:
    source, output = long_clip(clips), tmp_path / "out.mp4"
    process = start("run", source, "--to", output, "--tier", "plain", "--scale", 1)
    wait_until(holds(output, 300_000), process)
    process.kill()
    process.communicate()
    ours = pictures_of(output)
    assert 0 < len(ours) < FRAMES
    assert times_of(output)[: len(ours)] == times_of(source)[: len(ours)]
