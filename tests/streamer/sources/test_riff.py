from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from streamer.sources.riff import missing_bytes
from tests.clips import Clips
from tests.programs import needs


@needs("ffmpeg")
@pytest.mark.parametrize("taken", [1, 100, 20_000])
def test_a_file_that_was_cut_lacks_what_was_cut_off(
    taken: int, clips: Clips, tmp_path: Path
) -> None:
    whole = clips.plain(".avi")
    assert missing_bytes(whole) == 0
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[:-taken])
    assert missing_bytes(cut) == taken


def riff(kind: bytes, announced: int, there: int) -> bytes:
    return b"RIFF" + struct.pack("<I", announced + 4) + kind + bytes(there)


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (riff(b"AVI ", 8, 8), 0),
        (riff(b"AVI ", 8, 5), 3),
        # Some announce the padding behind the last chunk, and some do not.
        (riff(b"AVI ", 7, 7), 0),
        (riff(b"AVI ", 7, 8), 0),
        # What goes beyond a gigabyte is in further parts.
        (riff(b"AVI ", 8, 8) + riff(b"AVIX", 6, 6), 0),
        (riff(b"AVI ", 8, 8) + riff(b"AVIX", 6, 1), 5),
        (riff(b"AVI ", 8, 8) + riff(b"AVIX", 6, 0)[:6], 0),
        (riff(b"AVI ", 8, 8) + bytes(100), 0),
        # A recording that was never finished does not know its size.
        (riff(b"AVI ", -4, 100), 0),
        (b"RIFF" + b"\xff" * 4 + b"AVI " + bytes(100), 0),
        (riff(b"WEBP", 100, 8), 0),
        (b"RIFF", 0),
        (b"", 0),
        (bytes(64), 0),
        (b"\0\0\0\x20ftypisom", 0),
    ],
)
def test_what_is_no_cut_file_lacks_nothing(content: bytes, missing: int, tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    assert missing_bytes(path) == missing


def test_what_is_no_file_is_not_touched(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("%04d.png")):
        assert missing_bytes(path) == 0
