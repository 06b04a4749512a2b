"""What is said at the terminal."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.console import ending_signals, say


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
