from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceLost
from streamer.sources.file import FileSource
from streamer.sources.sequence import first_gap, numbers_of
from tests.clips import Clips, ffmpeg, moving
from tests.programs import needs


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("%d.png", [7, 8, 100]),
        ("%03d.png", [7, 100]),
        ("%3d.png", [7, 100]),
        ("%01d.png", [7, 8, 100]),
        ("a%d.png", [1]),
        ("50%%-%d.png", [4]),
        ("%d-%d.png", []),
        ("7.png", []),
        ("%d.jpg", []),
        ("%s.png", []),
        ("[%d].png", [2]),
        ("x%d.png", []),
    ],
)
def test_a_pattern_means_the_files_that_it_would_name(
    pattern: str, numbers: list[int], tmp_path: Path
) -> None:
    names = ("7.png", "8.png", "007.png", "100.png", "a1.png", "50%-4.png", "[2].png", "x%d.png")
    for name in names:
        (tmp_path / name).touch()
    assert numbers_of(str(tmp_path / pattern)) == numbers
    assert numbers_of(str(tmp_path / "nowhere" / pattern)) == []


def test_a_gap_is_where_a_number_is_missing() -> None:
    assert first_gap([]) is None
    assert first_gap([5]) is None
    assert first_gap([5, 6, 7]) is None
    assert first_gap([5, 6, 8, 9, 12]) == (7, 3)


@needs("ffmpeg")
def test_a_sequence_begins_with_any_number_and_a_gap_is_said(clips: Clips, tmp_path: Path) -> None:
    ffmpeg(*moving(frames=6), "-start_number", "998", str(tmp_path / "%04d.png"))
    pattern = str(tmp_path / "%04d.png")

    async def count() -> int:
        source = await FileSource.open(pattern, clock=MonotonicClock(), paced=False)
        pictures = 0
        try:
            async for _ in source.packets():
                pictures += 1
        finally:
            await source.close()
            assert pictures == (6 if (tmp_path / "1001.png").exists() else 3)
        return pictures

    assert asyncio.run(count()) == 6
    (tmp_path / "1001.png").unlink()
    with pytest.raises(SourceLost, match="has no picture 1001 and 2 that come after it"):
        asyncio.run(count())


@needs("ffmpeg")
@pytest.mark.parametrize("name", ["50% off", "take %d", "a%%b"])
def test_a_folder_may_have_a_percent_sign_in_its_name(
    name: str, clips: Clips, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    ffmpeg(*moving(frames=2), str(tmp_path / "%d.png"))
    for picture in tmp_path.glob("*.png"):
        picture.rename(folder / picture.name)

    async def count() -> int:
        pattern = str(folder / "%d.png")
        source = await FileSource.open(pattern, clock=MonotonicClock(), paced=False)
        try:
            return len([packet async for packet in source.packets()])
        finally:
            await source.close()

    assert asyncio.run(count()) == 2
