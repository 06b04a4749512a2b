"""The whole program stands still for a while: another one takes the machine, a laptop's lid is closed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import started
from tests.rtsp_camera import camera, needs_gstreamer

STANDSTILL_S = 4.0
DEADLINE_S = 60.0

pytestmark = needs_gstreamer()


def until_larger(recording: Path, size: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not recording.exists() or recording.stat().st_size < size:
        if process.poll() is not None or time.monotonic() > deadline_s:
            pytest.fail(f"{recording.name} had not {size} bytes within {DEADLINE_S:g} s")
        time.sleep(0.02)


def test_after_a_standstill_the_picture_goes_on_at_once_not_at_the_next_keyframe(
    tmp_path: Path,
) -> None:
    recording, report = tmp_path / "kept.mkv", tmp_path / "report.json"
    with camera("--size", "320x240", "--gop", "3000") as source:
        process = started(
            *("run", source.url, "--to", str(recording), "--report", str(report)),
            *("--scale", "1", "--backend", "reference", "--duration", "10", "--port", "0"),
        )
        try:
            until_larger(recording, 20_000, process)
            process.send_signal(signal.SIGSTOP)
            # More pictures than the packet link holds.
            time.sleep(STANDSTILL_S)
            process.send_signal(signal.SIGCONT)
            _, said = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0, said.decode()
    told = json.loads(report.read_text())
    assert "packet_link.full" not in told["frames"]["dropped"]
    # None came as a keyframe after the first: what followed the standstill was decoded.
    assert told["frames"]["decoded"] > 150
