"""A capture device of this machine as a source (Video4Linux)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

from streamer.clock import Clock
from streamer.errors import ConfigError, SourceLost
from streamer.frame import Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.sources.demux import Demuxer
from streamer.worker import Worker

USAGE = "device:/dev/video0, or with a wish for its mode: device:/dev/video0?size=640x360&fps=30"


def parse(url: str) -> tuple[str, dict[str, str]]:
    """The device's path and libav's options; raises ``ConfigError``."""
    match = re.fullmatch(r"device:(/[^?]+)(?:\?(.*))?", url)
    if match is None:
        raise ConfigError(f"{url!r} names no device; use {USAGE}")
    options = {}
    for pair in filter(None, (match[2] or "").split("&")):
        key, _, value = pair.partition("=")
        if key == "size" and re.fullmatch(r"\d+x\d+", value):
            options["video_size"] = value
        elif key == "fps" and re.fullmatch(r"\d+(/\d+)?", value):
            options["framerate"] = value
        elif key == "format" and re.fullmatch(r"\w+", value):
            options["input_format"] = value
        else:
            raise ConfigError(f"{pair!r} says nothing about a device; use {USAGE}")
    return match[1], options


class DeviceSource:
    """Frames as the driver delivers them; live, so whoever is slow loses frames."""

    def __init__(self, demuxer: Demuxer, worker: Worker) -> None:
        self._demuxer = demuxer
        self._worker = worker
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, clock: Clock) -> DeviceSource:
        """Open the device; raises ``SourceError`` with the reason."""
        path, options = parse(url)
        worker = Worker("read")
        try:
            demuxer = await worker.call(
                lambda: Demuxer(path, name=path, clock=clock, format="v4l2", options=options)
            )
        except BaseException:
            await worker.close()
            raise
        return cls(demuxer, worker)

    @property
    def video(self) -> VideoInfo:
        return replace(self._demuxer.video, is_live=True, frames=0, duration_s=None)

    @property
    def audio(self) -> AudioInfo | None:
        return None

    async def packets(self) -> AsyncIterator[Packet]:
        """Packets as they arrive, the first at zero; raises ``SourceLost`` when the device goes away.

        A driver counts from the machine's start, and a recording would begin days late.
        """
        zero: int | None = None
        while not self._closed:
            packet = await self._worker.call(self._demuxer.next_packet)
            if packet is None:
                raise SourceLost(f"{self._demuxer.name} stopped; check its cable")
            zero = packet.pts if zero is None else zero
            yield replace(packet, pts=packet.pts - zero, dts=packet.dts - zero)

    async def request_keyframe(self) -> None:
        """Capture devices give whole pictures, or cannot be asked."""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._worker.call(self._demuxer.close)
        await self._worker.close()
