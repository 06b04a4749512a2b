"""The command line before anything runs: its version, and Ctrl-C while it is being loaded."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from importlib import metadata

import pytest

from tests.command import ROOT, RunHere


def test_it_says_which_version_it_is(streamer: RunHere) -> None:
    done = streamer("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"streamer {metadata.version('streamer')}\n"


@pytest.mark.parametrize("loaded", ["asyncio", "typer", "streamer.config"])
def test_ctrl_c_while_it_is_loaded_says_nothing(loaded: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "streamer", "describe"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's job in the background is begun with the signal ignored, and so are its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    with process:
        assert process.stderr is not None
        while f" {loaded}\n" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert said == []
    assert process.returncode in (-signal.SIGINT, 130)
