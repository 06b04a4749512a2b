"""The command line as a test calls it: inside this process, or as a process of its own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamer.cli import main

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What it refused with: exactly one line, and exit code 2."""
        assert self.code == 2, self
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("streamer: "), self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("streamer: ").strip()


RunHere = Callable[..., Done]


def run_here(
    monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], arguments: list[str]
) -> Done:
    """``streamer`` with ``arguments`` in this process, where it starts at once."""
    monkeypatch.setattr(sys, "argv", ["streamer", *arguments])
    # Its messages go where a terminal would show them, not to pytest's own log.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    said = capture.readouterr()
    assert isinstance(ended.value.code, int)
    return Done(ended.value.code, said.out, said.err)


def started(*arguments: str, **options: int) -> subprocess.Popen[bytes]:
    """``streamer`` with ``arguments`` as a process of its own, its outputs piped."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", "streamer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    return process
