"""The one door to what is compiled for this machine's processor (``kernels/cpu``), by ctypes.

A function takes one structure of plain fields and runs without the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import logging
import platform
from functools import cache

from kernels.native_build import LEVELS, is_current, library_path

_log = logging.getLogger(__name__)

NAMES = {
    1: "NEON" if platform.machine() in ("aarch64", "arm64") else "C++",
    3: "AVX2",
    4: "AVX-512",
    5: "AVX-512 VNNI",
}
"""What the levels are called by those who are not compilers."""


class Native:
    """The compiled functions at one level."""

    def __init__(self, level: int) -> None:
        """``OSError`` where that level was not made, or is another machine's."""
        self.level = level
        self._library = ctypes.CDLL(str(library_path(level)))

    @property
    def name(self) -> str:
        return NAMES[self.level]

    def call(self, function: str, fields: ctypes.Structure) -> None:
        """Runs a function; the addresses among its fields are the caller's word."""
        getattr(self._library, function)(ctypes.byref(fields))

    def ask(self, function: str) -> int:
        """What a function without arguments answers."""
        return int(getattr(self._library, function)())

    def level_of_processor(self) -> int:
        """The best level that this processor runs."""
        return self.ask("processor_level")


@cache
def native() -> Native | None:
    """At the best level that was made and this processor runs; ``None`` where there is none."""
    if not library_path(1).exists():
        return None
    if not is_current(1):
        _log.warning(
            "kernels/cpu has changed since it was compiled, or that was for another machine, so "
            "networks and made frames take the slower way; install streamer again, or run: python -m "
            "kernels.native_build"
        )
        return None
    best = Native(1).level_of_processor()
    best_first = sorted((level for level in LEVELS if level <= best), reverse=True)
    # Each that is looked at stays loaded.
    return Native(next(filter(is_current, best_first)))
