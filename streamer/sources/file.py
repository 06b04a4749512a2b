"""A file as a source: as fast as it can be taken, or paced as if it were live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from streamer.clock import Clock
from streamer.errors import SourceLost
from streamer.frame import Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.sources import matroska, riff
from streamer.sources.demux import Demuxer, file_url
from streamer.sources.pipe import Pipe, opened_pipe
from streamer.sources.sequence import escaped, first_gap, numbers_of
from streamer.worker import Worker


class FileSource:
    """Anything libav opens from disk, image sequences (``%04d``) included."""

    def __init__(
        self,
        demuxer: Demuxer,
        worker: Worker,
        clock: Clock,
        *,
        paced: bool,
        gap: tuple[int, int] | None,
        pipe: Pipe | None,
    ) -> None:
        """``gap`` is where an image sequence ends too early, see ``first_gap``; ``pipe`` what
        ``demuxer`` reads from, where that is one."""
        self._demuxer = demuxer
        self._gap = gap
        self._pipe = pipe
        self._worker = worker
        self._clock = clock
        self._paced = paced
        self._closed = False

    @classmethod
    async def open(cls, path: str, *, clock: Clock, paced: bool) -> FileSource:
        """Open ``path``; raises ``SourceError`` with the reason when it is no video."""
        worker = Worker("read")
        # A playlist inside a file must not reach the network.
        options = {"protocol_whitelist": "file,crypto,data"}
        pipe: Pipe | None = None
        try:
            pipe = await worker.call(opened_pipe, path)
            numbers = await worker.call(numbers_of, path)
            if numbers:
                # By itself libav looks for a first number up to 4 only.
                options["start_number"] = str(numbers[0])
            url = file_url(escaped(path) if numbers else path)
            demuxer = await worker.call(
                lambda: Demuxer(pipe or url, name=path, clock=clock, format=None, options=options)
            )
        except BaseException:
            if pipe is not None:
                pipe.stop()
            await worker.close()
            if pipe is not None:
                pipe.close()
            raise
        return cls(demuxer, worker, clock, paced=paced, gap=first_gap(numbers), pipe=pipe)

    @property
    def video(self) -> VideoInfo:
        return self._demuxer.video

    @property
    def audio(self) -> AudioInfo | None:
        return self._demuxer.audio

    async def packets(self) -> AsyncIterator[Packet]:
        """All packets in file order; raises ``SourceLost`` at the end of a file cut short."""
        began: tuple[int, Fraction] | None = None
        while not self._closed:
            try:
                packet = await self._worker.call(self._demuxer.next_packet)
            except SourceLost:
                self._refuse_gap()
                raise
            if packet is None:
                await self._worker.call(self._refuse_short_file)
                return
            if self._paced:
                at_s = packet.dts * packet.time_base
                began = began or (self._clock.now_ns(), at_s)
                await self._wait_until(began[0] + round((at_s - began[1]) * 1_000_000_000))
                packet = replace(packet, arrived_ns=self._clock.now_ns())
            yield packet

    async def request_keyframe(self) -> None:
        """A file's keyframes are where they are."""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._pipe is not None:
            self._pipe.stop()
        await self._worker.call(self._demuxer.close)
        await self._worker.close()
        if self._pipe is not None:
            self._pipe.close()

    async def _wait_until(self, due_ns: int) -> None:
        left_s = (due_ns - self._clock.now_ns()) / 1e9
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _refuse_gap(self) -> None:
        if self._gap is not None:
            number, following = self._gap
            raise SourceLost(
                f"{self._demuxer.name} has no picture {number} and {following} that come after it; "
                "the output ends before, number the files without gaps for the rest"
            )

    def _refuse_short_file(self) -> None:
        self._refuse_gap()
        missing = self._demuxer.missing_packets()
        if missing:
            raise SourceLost(
                f"{self._demuxer.name} ends early: {missing} of its {self.video.frames} frames "
                "are not in the file; the output has the others, copy the file again for the rest"
            )
        path = Path(self._demuxer.name)
        short_bytes = matroska.missing_bytes(path) or riff.missing_bytes(path)
        if short_bytes:
            raise SourceLost(
                f"{self._demuxer.name} ends early: {short_bytes} bytes of what it announces are not in "
                "the file; the output has what came before, copy the file again for the rest"
            )
