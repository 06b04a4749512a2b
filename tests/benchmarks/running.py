"""``python -m benchmarks`` as a user starts it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.command import ROOT

LIMIT_S = 300


def run(*arguments: object) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints, and the JSON of its last line; fails where it does."""
    done = _done(arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


def refused(*arguments: object) -> str:
    """The one sentence with which a benchmark ends without a result."""
    done = _done(arguments)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("benchmarks: ")
    return done.stderr.removeprefix("benchmarks: ").strip()


def _done(arguments: tuple[object, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
