"""RTSP as a source (being written)."""

from __future__ import annotations

from streamer.clock import Clock
from streamer.errors import SourceError
from streamer.sources.base import Source


class RtspSource:
    @classmethod
    async def open(cls, url: str, *, clock: Clock) -> Source:
        raise SourceError(url)
