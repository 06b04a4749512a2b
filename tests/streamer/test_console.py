"""What is said at the terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_made_frames, parse_sink
from streamer.console import (
    ending_signals,
    err,
    expected_frames,
    logging_beside_status,
    say,
    wipe_line,
)
from tests.clips import Clips
from tests.programs import needs


@pytest.mark.parametrize(
    "text",
    [
        "streamer: open http://[fd00::1]:8080/ (Ctrl-C ends it)",
        "streamer: play rtsp://127.0.0.1:8554/" + "long-" * 20,
        "streamer: open http://host:8080:smile:/",
    ],
)
def test_an_address_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    assert capsys.readouterr().err == f"{text}\n"


def test_a_full_disk_behind_the_terminal_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", full)
            say("streamer: all is well")
        with pytest.raises(OSError, match="No space left on device"):
            full.flush()  # it would be said here at the latest


def test_what_could_not_be_said_is_not_kept_for_the_next_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        say("streamer: the first line")
        say("streamer: the second line")
    say("streamer: there is space again")
    assert capsys.readouterr().err == "streamer: there is space again\n"


def test_a_line_of_the_log_does_not_mix_with_the_status_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal, end = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "rb", buffering=0) as shown, os.fdopen(end, "w") as written:
        monkeypatch.setattr(sys, "stderr", written)
        log, handler = logging.getLogger("streamer.sources"), logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("streamer: %(message)s"))
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
        assert err.is_terminal
        with logging_beside_status():
            say("30.0 fps in, 30.0 out, 640x360, latency p95 12.0 ms, tier lite", end="\r")
            log.warning("the camera is lost")
            say("0.0 fps in, 5.0 out, 640x360, latency p95 12.0 ms, tier held", end="\r")
            written.write("^C")  # as a terminal shows it
            wipe_line()
        log.warning("the end")
        text = ""
        while "the end" not in text:  # one reading gives no more than one writing
            text += shown.read(65_536).decode()
    assert _lines(text) == ["streamer: the camera is lost", "streamer: the end", ""]


def _lines(text: str) -> list[str]:
    """What a terminal shows where ``text`` was written to it, without blanks at the ends."""
    lines = []
    for written in text.replace("\r\n", "\n").split("\n"):
        line = ""
        for part in written.split("\r"):
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return lines


@needs("ffmpeg")
@pytest.mark.parametrize(
    ("fps", "between", "duration_s"),
    [
        (None, None, None),
        ("x2", "interpolate", None),
        ("x2", "predict", 0.5),
        ("45", "interpolate", None),
        ("10", "interpolate", None),
        ("10", "none", None),
        ("60", "none", None),
    ],
)
def test_the_progress_bar_ends_where_the_run_does(
    fps: str | None, between: str | None, duration_s: float | None, clips: Clips
) -> None:
    rate, how = parse_made_frames(fps, between)
    settings = StreamSettings(
        source=str(clips.plain()),
        sinks=(parse_sink("null:"),),
        scale=1,
        backend="reference",
        rate=rate,
        between=how,
        duration_s=duration_s,
    )

    async def scenario() -> tuple[int | None, int]:
        stream = await open_stream(settings, clock=MonotonicClock())
        expected = expected_frames(stream)
        await stream.run()
        return expected, stream.metrics.counted("sent")

    expected, sent = asyncio.run(scenario())
    assert expected is not None
    # What follows the last real frame is not always made.
    assert sent in (expected, expected - 1)


@pytest.mark.parametrize(("handler", "is_heard"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_is_heard_unless_nohup_says_otherwise(
    handler: signal.Handlers,
    is_heard: bool,  # noqa: FBT001
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in ending_signals()) == is_heard
    finally:
        signal.signal(signal.SIGHUP, before)
