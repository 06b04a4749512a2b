"""Interlaced pictures as progressive ones, by libav's bwdif."""

from __future__ import annotations

from fractions import Fraction

import av
import av.error
import av.filter


class Deinterlacer:
    """bwdif, one frame out per frame in, so that every pts survives; holds one frame back."""

    def __init__(self, first: av.VideoFrame, time_base: Fraction) -> None:
        self._time_base = time_base
        self.shape = shape_of(first)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=time_base
        )
        filters = [
            source,
            self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*filters).configure()

    def push(self, picture: av.VideoFrame | None) -> list[av.VideoFrame]:
        """The pictures that are ready after this one; the last of them after ``None``."""
        self._graph.push(picture)
        ready: list[av.VideoFrame] = []
        while True:
            try:
                pulled = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return ready
            assert isinstance(pulled, av.VideoFrame)
            ready.append(self._timed(pulled))

    def _timed(self, picture: av.VideoFrame) -> av.VideoFrame:
        """In ticks of the input: bwdif halves the time base to have room for two fields."""
        assert picture.time_base is not None
        ticks = picture.time_base / self._time_base
        if picture.pts is not None:
            picture.pts = round(picture.pts * ticks)
        picture.duration = round(picture.duration * ticks)
        return picture


def shape_of(picture: av.VideoFrame) -> tuple[int, int, str]:
    """What a change of means another picture: width, height, format."""
    return picture.width, picture.height, picture.format.name
