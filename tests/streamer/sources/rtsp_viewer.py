"""A viewer of RTSP cameras, for tests: our source with patient limits."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from streamer.clock import MonotonicClock
from streamer.config import redacted
from streamer.errors import SourceError
from streamer.frame import Packet
from streamer.sources.base import PacketSource
from streamer.sources.rtsp import RtspSource
from streamer.sources.rtsp.limits import Limits

PATIENT = Limits(connect_s=60, answer_s=60, first_packet_s=60, keyframe_s=60, silence_s=60)


async def opened(
    url: str,
    limits: Limits = PATIENT,
    may_connect: Callable[[str], bool] | None = None,
) -> PacketSource:
    source = await RtspSource.open(
        url, clock=MonotonicClock(), limits=limits, may_connect=may_connect
    )
    assert isinstance(source, PacketSource)
    return source


async def refusal_of(url: str, limits: Limits = PATIENT) -> str:
    with pytest.raises(SourceError) as refusal:
        await opened(url, limits)
    text = str(refusal.value)
    assert re.search(r"; \S", text), f"no next step in {text!r}"
    assert "\n" not in text
    assert "secret" not in text
    assert redacted(text) == text  # messages are cleaned before they are shown
    return text


async def packets_of(source: PacketSource, count: int) -> list[Packet]:
    found: list[Packet] = []
    async with asyncio.timeout(60):
        async for packet in source.packets():
            found.append(packet)
            if len(found) == count:
                break
    return found


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(180):
            await work()

    asyncio.run(bounded())


def with_secret(url: str) -> str:
    return url.replace("://", "://user:secret@")
