"""Whether an AVI file is whole: libav reads one that was cut short to its end and says nothing."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = (0, 0xFFFFFFFF)
"""The length of a recording that was never finished."""

HEAD_BYTES = 12
"""``RIFF``, the length of what follows these eight bytes, and the kind."""


def missing_bytes(path: Path) -> int:
    """By how much a file is shorter than it says; 0 where it does not say, and for other files."""
    try:
        if not path.is_file():
            return 0
        size_bytes = path.stat().st_size
        # What goes beyond a gigabyte is in further parts (OpenDML).
        at, wanted = 0, b"AVI "
        with path.open("rb") as file:
            while True:
                file.seek(at)
                head = file.read(HEAD_BYTES)
                length = int.from_bytes(head[4:8], "little")
                if head[:4] != b"RIFF" or head[8:] != wanted or length in UNKNOWN:
                    return 0
                end = at + 8 + length
                if end > size_bytes:
                    return end - size_bytes
                at, wanted = end + length % 2, b"AVIX"
    except OSError:
        return 0
