"""The one door to what is compiled for this machine's processor (``kernels/cpu``), by ctypes.

A function takes one structure of plain fields and runs without the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import logging
import platform
from functools import cache

from kernels.native_build import LEVELS, library_path, sources_key

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
        self._library.compiled_sources.restype = ctypes.c_uint64

    @property
    def name(self) -> str:
        return NAMES[self.level]

    def call(self, function: str, fields: ctypes.Structure) -> None:
        """Runs a function; the addresses among its fields are the caller's word."""
        getattr(self._library, function)(ctypes.byref(fields))

    def ask(self, function: str) -> int:
        """What a function without arguments answers."""
        return int(getattr(self._library, function)())

    @property
    def is_current(self) -> bool:
        """Whether it was compiled of the sources that are here: others may take other fields."""
        return bool(self._library.compiled_sources() == sources_key())

    def level_of_processor(self) -> int:
        """The best level that this processor runs."""
        return self.ask("processor_level")


@cache
def native() -> Native | None:
    """At the best level that was made and this processor runs; ``None`` where there is none."""
    try:
        plain = Native(1)
    except (OSError, AttributeError):
        return None
    if not plain.is_current:
        _log.warning(
            "kernels/cpu has changed since it was compiled, so networks and made frames take the "
            "slower way; install streamer again, or run: python -m kernels.native_build"
        )
        return None
    best = plain.level_of_processor()
    for level in sorted(LEVELS, reverse=True):
        if level <= best:
            try:
                found = Native(level)
            except (OSError, AttributeError):
                continue
            if found.is_current:
                return found
    return None
