"""What comes through a pipe: read as it comes, and let go of where nothing does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.clock import MonotonicClock
from streamer.sources.file import FileSource
from tests.clips import Clips
from tests.programs import needs

pytestmark = needs("ffmpeg")

LIMIT_S = 60


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A named pipe, and the descriptor that keeps it open at its other end."""
    path = tmp_path / "camera.mkv"
    os.mkfifo(path)
    number = os.open(path, os.O_RDWR)
    yield str(path), number
    os.close(number)


def fill(number: int, content: bytes) -> None:
    while content:
        content = content[os.write(number, content) :]


def test_a_pipe_that_falls_silent_is_closed(fifo: tuple[str, int], clips: Clips) -> None:
    path, number = fifo

    async def read() -> int:
        filling = asyncio.create_task(
            asyncio.to_thread(fill, number, clips.plain(".mkv").read_bytes())
        )
        source = await FileSource.open(path, clock=MonotonicClock(), paced=False)
        has_come = asyncio.Event()

        async def take() -> int:
            count = 0
            async for _ in source.packets():
                count += 1
                if count == 15:
                    has_come.set()
            return count

        taking = asyncio.create_task(take())
        await filling
        await has_come.wait()
        await source.close()
        return await taking

    assert asyncio.run(asyncio.wait_for(read(), LIMIT_S)) >= 15


def test_a_pipe_into_which_nothing_comes_is_no_longer_waited_for(fifo: tuple[str, int]) -> None:
    async def give_up() -> None:
        opening = asyncio.create_task(FileSource.open(fifo[0], clock=MonotonicClock(), paced=False))
        await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening

    asyncio.run(asyncio.wait_for(give_up(), LIMIT_S))
