"""Whether a Matroska or WebM file is whole: libav reads one that was cut short to its end and says
nothing."""

from __future__ import annotations

from pathlib import Path

EBML, SEGMENT = 0x1A45DFA3, 0x18538067
"""The two elements of a file, by RFC 8794 and RFC 9559."""

HEAD_BYTES = 4096
"""The first element, of some 40 bytes, and the beginning of the other."""


def missing_bytes(path: Path) -> int:
    """By how much a file is shorter than it says; 0 where it does not say, and for other files."""
    try:
        if not path.is_file():
            return 0
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        at = 0
        for wanted in (EBML, SEGMENT):
            number, at = _vint(head, at, keeps_marker=True)
            length, at = _vint(head, at)
            if number != wanted or length is None:
                return 0
            at += length
    except (OSError, IndexError):
        return 0
    return max(0, at - size_bytes)


def _vint(data: bytes, at: int, *, keeps_marker: bool = False) -> tuple[int | None, int]:
    """A number of variable length and where it ends; ``None`` for the one that means unknown.

    Raises ``IndexError`` where the data ends before it.
    """
    width = 9 - data[at].bit_length()
    whole = data[at : at + width]
    if len(whole) < width or width > 8:
        raise IndexError
    value = int.from_bytes(whole, "big")
    if keeps_marker:
        return value, at + width
    value &= (1 << 7 * width) - 1
    return (None if value == (1 << 7 * width) - 1 else value), at + width
