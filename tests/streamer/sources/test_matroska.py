from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamer.sources.matroska import missing_bytes
from tests.clips import Clips
from tests.programs import needs

HEAD = bytes.fromhex("1a45dfa3 83 428101")
"""An EBML element of three bytes."""

SEGMENT = bytes.fromhex("18538067")


@needs("ffmpeg")
@pytest.mark.parametrize("taken", [1, 100, 20_000])
def test_a_file_that_was_cut_lacks_what_was_cut_off(
    taken: int, clips: Clips, tmp_path: Path
) -> None:
    whole = clips.plain(".mkv")
    assert missing_bytes(whole) == 0
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[:-taken])
    assert missing_bytes(cut) == taken


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (HEAD + SEGMENT + b"\x85" + bytes(5), 0),
        (HEAD + SEGMENT + b"\x85" + bytes(9), 0),
        (HEAD + SEGMENT + b"\x85" + bytes(3), 2),
        # A recording that was never finished does not know its size.
        (HEAD + SEGMENT + b"\xff" + bytes(3), 0),
        (HEAD + SEGMENT + b"\x01" + b"\xff" * 7 + bytes(3), 0),
        (HEAD + SEGMENT, 0),
        (HEAD, 0),
        (HEAD[:3], 0),
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
