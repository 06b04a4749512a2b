"""What is said at the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_made_frames, parse_sink
from streamer.console import ending_signals, expected_frames, say
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
