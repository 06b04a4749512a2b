"""Where this user's programs keep what can be made again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def user_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CACHE_HOME/streamer`` or ``~/.cache/streamer``; a place where nothing can be kept for users
    without a home."""
    named = Path(environment.get("XDG_CACHE_HOME", ""))
    # A relative path is to be ignored (XDG base directory specification).
    if named.is_absolute():
        return named / "streamer"
    try:
        return Path("~/.cache/streamer").expanduser()
    except RuntimeError:
        # No HOME, and a user number without a name, as in containers.
        return Path(os.devnull) / "streamer"
