"""Which state of this code wrote a model: the git commit, if there is one."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent

CODE = (".", ":!streamer/models", ":!export/weights", ":!docs", ":!*.md")
"""What decides the bytes of a model. The models themselves differ from the commit when written."""


def code_commit(root: Path = ROOT) -> str | None:
    """The commit's first twelve digits, ``+`` behind them when files differ from it.

    ``None`` where ``root`` is not the top of a git checkout, as in an installed package.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if top is None or not commit or Path(top).resolve() != root.resolve():
        return None
    changes = _git(root, "status", "--porcelain", "--", *CODE)
    return commit if changes == "" else f"{commit}+"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        # Without the option, status would write to the index under another program's feet.
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
