"""Programs that some tests need, and what to install where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

INSTALL = {
    "aarch64-linux-gnu-g++": "apt-get install g++-aarch64-linux-gnu",
    "ffmpeg": "apt-get install ffmpeg",
    "ffprobe": "apt-get install ffmpeg",
    "g++": "apt-get install g++",
    "git": "apt-get install git",
    "openssl": "apt-get install openssl",
    "qemu-aarch64-static": "apt-get install qemu-user-static",
}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where a program is missing, and says what to install.

    Where they are promised, ``STREAMER_REQUIRE_PROGRAMS=1`` turns the skip into a failure.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    is_required = os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1"
    reason = "; ".join(f"needs {name}: {INSTALL[name]}" for name in missing)
    return pytest.mark.skipif(bool(missing) and not is_required, reason=reason)


def output_of(program: str, *arguments: str, given: bytes = b"") -> bytes:
    """What ``program`` writes to standard output; fails with what it says when it refuses."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"needs {program}: {INSTALL[program]}")
    done = subprocess.run(
        [path, *arguments], input=given, capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        pytest.fail(f"{program} {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout
