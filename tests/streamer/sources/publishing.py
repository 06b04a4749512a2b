"""Publishers for the tests: real ones, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from streamer.clock import MonotonicClock
from streamer.sources.whip import WhipDoor, WhipSource
from tests.streamer.sources.whip_peer import Settings, as_argument

Result = TypeVar("Result")

TEST_WITHIN_S = 180.0
WAIT_S = 60.0


def run(scenario: Coroutine[Any, Any, Result]) -> Result:
    """Run a test's scenario on a fresh loop, and not for ever."""

    async def bounded() -> Result:
        return await asyncio.wait_for(scenario, TEST_WITHIN_S)

    return asyncio.run(bounded())


class PublisherProcess:
    """A publisher that is told what to do through its standard input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, settings: Settings) -> PublisherProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.streamer.sources.whip_peer",
            as_argument(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def offer(self) -> str:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
        return str(json.loads(line))

    async def tell(self, value: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        await self.process.stdin.drain()

    async def leave(self) -> None:
        """Say good-bye, as a publisher does that is closed."""
        if self.process.returncode is None and self.process.stdin is not None:
            self.process.stdin.close()
            await asyncio.wait_for(self.process.wait(), WAIT_S)

    def kill(self) -> None:
        self.process.kill()

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def publishing(
    answer: Callable[[str], Awaitable[str]], **settings: Any
) -> AsyncIterator[PublisherProcess]:
    """A publisher whose offer went through ``answer``."""
    publisher = await PublisherProcess.start(Settings(**settings))
    try:
        await publisher.tell(await answer(await publisher.offer()))
        yield publisher
    finally:
        await publisher.close()


@asynccontextmanager
async def door(**options: Any) -> AsyncIterator[WhipDoor]:
    """An open door; closed afterwards."""
    opened = WhipDoor("camera", **{"clock": MonotonicClock(), **options})
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def published(
    opened: WhipDoor, **settings: Any
) -> AsyncIterator[tuple[WhipSource, PublisherProcess]]:
    """The source of a publisher that came through the door."""

    async def answer(offer_sdp: str) -> str:
        return (await opened.answer(offer_sdp)).answer_sdp

    async with publishing(answer, **settings) as publisher:
        source = await opened.source(timeout_s=WAIT_S)
        try:
            yield source, publisher
        finally:
            await source.close()
