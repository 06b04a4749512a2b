"""Where a recording goes whose name is taken."""

from __future__ import annotations

import logging
from pathlib import Path

_log = logging.getLogger(__name__)


def free_path(asked: Path) -> Path:
    """``asked``, or the first of ``name-2.mkv``, ``name-3.mkv``, … that holds nothing, and a warning."""
    free, number = asked, 1
    while free.exists() and free.stat().st_size > 0:
        number += 1
        free = asked.with_stem(f"{asked.stem}-{number}")
    if free != asked:
        _log.warning("%s holds a recording already; this one is %s", asked, free.name)
    return free
