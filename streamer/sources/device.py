"""A capture device of this machine as a source (Video4Linux)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

from streamer.clock import Clock
from streamer.errors import ConfigError, SourceError, SourceLost
from streamer.frame import Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.sources.demux import Demuxer
from streamer.worker import Worker

_NOT_WAITING = {"fflags": "+4"}
"""AVFMT_FLAG_NONBLOCK, which has no name there. libav itself waits for a picture without end, and nothing
could close a camera that has stopped sending, nor open it again."""

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

    def __init__(self, demuxer: Demuxer, worker: Worker, *, number: int) -> None:
        """``number`` is the descriptor by which ``demuxer`` reads."""
        self._demuxer = demuxer
        self._number = number
        self._worker = worker
        self._closed = False
        self._news = asyncio.Event()
        """There is a picture, the device is gone, or nobody wants it any more."""

    @classmethod
    async def open(cls, url: str, *, clock: Clock) -> DeviceSource:
        """Open the device; raises ``SourceError`` with the reason."""
        path, options = parse(url)
        worker = Worker("read")
        try:
            demuxer = await worker.call(
                lambda: Demuxer(
                    path,
                    name=path,
                    clock=clock,
                    format="v4l2",
                    options={**options, **_NOT_WAITING},
                )
            )
            number = _descriptor_of(path)
        except BaseException:
            await worker.close()
            raise
        return cls(demuxer, worker, number=number)

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
            try:
                packet = await self._worker.call(self._next_packet)
            except BlockingIOError:
                await self._wait()
                continue
            if packet is None:
                raise SourceLost(f"{self._demuxer.name} stopped; check its cable")
            zero = packet.pts if zero is None else zero
            yield replace(packet, pts=packet.pts - zero, dts=packet.dts - zero)

    def _next_packet(self) -> Packet | None:
        """A copy, as the driver's memory is gone after ``close``, and libav's books about it as well."""
        packet = self._demuxer.next_packet()
        return packet and replace(packet, payload=bytes(packet.payload))

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._news.clear()
        if self._closed:
            return
        loop.add_reader(self._number, self._news.set)
        try:
            await self._news.wait()
        finally:
            if not self._closed:
                loop.remove_reader(self._number)

    async def request_keyframe(self) -> None:
        """Capture devices give whole pictures, or cannot be asked."""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # Before its number may be another file's.
        asyncio.get_running_loop().remove_reader(self._number)
        self._news.set()
        await self._worker.call(self._demuxer.close)
        await self._worker.close()


def _descriptor_of(path: str) -> int:
    """The descriptor of this process for the device, which has just been opened."""
    with suppress(OSError):
        device = os.stat(path).st_rdev
        for name in os.listdir("/proc/self/fd"):
            # One of them was that of the list.
            with suppress(OSError):
                if os.fstat(int(name)).st_rdev == device:
                    return int(name)
    raise SourceError(f"{path} has just gone; check its cable")
