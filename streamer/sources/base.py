"""What every source offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from streamer.frame import Frame, Packet
from streamer.media import AudioInfo, VideoInfo


class Source(Protocol):
    """An opened input. ``async with`` it; then read ``packets()`` or ``frames()`` once."""

    @property
    def video(self) -> VideoInfo: ...

    @property
    def audio(self) -> AudioInfo | None: ...

    async def request_keyframe(self) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class PacketSource(Source, Protocol):
    """Gives encoded packets of video and audio, in the order they arrive."""

    def packets(self) -> AsyncIterator[Packet]: ...


@runtime_checkable
class FrameSource(Source, Protocol):
    """Gives pictures: nothing needs to be decoded."""

    @property
    def skipped(self) -> int:
        """Pictures that never came, because the source itself was late."""

    def frames(self) -> AsyncIterator[Frame]: ...
