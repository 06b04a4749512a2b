"""Where a recording goes whose name is taken."""

from __future__ import annotations

from pathlib import Path


def free_path(path: Path) -> Path:
    """``path``, or the first of ``name-2.mkv``, ``name-3.mkv``, … that holds nothing."""
    free, number = path, 1
    while free.exists() and free.stat().st_size > 0:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
