"""A file pushed to where nobody answers: the command says so, and what else it writes is whole."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clips import Clips
from tests.command import RunHere
from tests.measure import pictures_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")


def test_a_push_that_reached_nobody_is_a_failure_and_a_file_beside_it_is_whole(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output, report = tmp_path / "out.mp4", tmp_path / "run.json"
    to = ("--to", "rtmp://127.0.0.1:1/live/my-key", "--to", output, "--report", report)
    done = streamer("run", clips.plain(), *to, "--tier", "plain", "--scale", 1)
    last = done.err.splitlines()[-1]
    assert done.code == 2
    assert last.startswith("streamer: rtmp://127.0.0.1:1 was never reached and got none of the 30 ")
    assert "my-key" not in done.err
    assert len(pictures_of(output)) == 30
    dropped = json.loads(report.read_text())["frames"]["dropped"]
    assert dropped == {"sink.rtmp://127.0.0.1:1": 30}
