"""The one door to what is compiled for this machine's processor (``kernels/cpu``), by ctypes.

A function takes one structure of plain fields and runs without the interpreter's lock.
"""

from __future__ import annotations

import ctypes
from functools import cache

from kernels.native_build import LEVELS, library_path

NAMES = {1: "C++", 3: "AVX2", 4: "AVX-512"}
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
        self._library[function](ctypes.byref(fields))

    def level_of_processor(self) -> int:
        """The best level that this processor runs."""
        return int(self._library.processor_level())


@cache
def native() -> Native | None:
    """At the best level that was made and this processor runs; ``None`` where there is none."""
    try:
        plain = Native(1)
        best = plain.level_of_processor()
        return Native(max(level for level in LEVELS if level <= best))
    except OSError:
        return None
