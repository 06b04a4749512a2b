"""What comes through a pipe: read as it comes, and let go of where nothing does."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from streamer.clock import MonotonicClock
from streamer.sources import pipe
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


class _Told(logging.Handler):
    """Calls ``then`` once somebody says that nothing comes."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self._then()


@pytest.fixture
def when_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], _Told]]:
    """Has something done when it is said, at once, that nothing comes."""
    handlers: list[_Told] = []

    def listen(then: Callable[[], object]) -> _Told:
        handlers.append(_Told(then))
        pipe.log.addHandler(handlers[-1])
        return handlers[-1]

    monkeypatch.setattr(pipe, "QUIET_S", 0.05)
    monkeypatch.setattr(pipe.log, "level", logging.INFO)
    yield listen
    for handler in handlers:
        pipe.log.removeHandler(handler)


@pytest.fixture
def terminal() -> Iterator[str]:
    """The name of a device that gives nothing."""
    other, own = pty.openpty()
    tty.setraw(own)
    yield os.ttyname(own)
    os.close(own)
    os.close(other)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_gives_nothing_is_no_longer_waited_for(
    kind: str,
    fifo: tuple[str, int],
    terminal: str,
    when_told: Callable[[Callable[[], object]], _Told],
) -> None:
    path = fifo[0] if kind == "pipe" else terminal

    async def give_up() -> None:
        loop, is_waiting = asyncio.get_running_loop(), asyncio.Event()
        when_told(partial(loop.call_soon_threadsafe, is_waiting.set))
        opening = asyncio.create_task(FileSource.open(path, clock=MonotonicClock(), paced=False))
        await is_waiting.wait()
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening

    asyncio.run(asyncio.wait_for(give_up(), LIMIT_S))


def test_a_pipe_into_which_nothing_comes_is_said_and_waited_for(
    fifo: tuple[str, int], clips: Clips, when_told: Callable[[Callable[[], object]], _Told]
) -> None:
    path, number = fifo
    content = clips.plain(".mkv").read_bytes()
    told = when_told(Thread(target=fill, args=(number, content), daemon=True).start)

    async def opened() -> int:
        source = await FileSource.open(path, clock=MonotonicClock(), paced=False)
        await source.close()
        return source.video.width

    assert asyncio.run(asyncio.wait_for(opened(), LIMIT_S)) > 0
    assert told.texts == [f"nothing has come from {path} yet; waiting for who fills it"]
