"""A file's frames, by the demuxer and the decoder alone."""

from __future__ import annotations

from pathlib import Path

from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.frame import Frame
from streamer.metrics import Metrics
from streamer.sources.demux import Demuxer, file_url


def opened(path: Path | str) -> Demuxer:
    url = file_url(str(path))
    return Demuxer(url, name=str(path), clock=ManualClock(), format=None, options={})


def decoder_of(demuxer: Demuxer, *, low_delay: bool = False) -> Decoder:
    return Decoder(demuxer.video, low_delay=low_delay, clock=ManualClock(), metrics=Metrics())


def decoded(path: Path | str) -> list[Frame]:
    """Every frame of the first video stream."""
    demuxer = opened(path)
    decoder = decoder_of(demuxer)
    frames = []
    while (packet := demuxer.next_packet()) is not None:
        if packet.stream == "video":
            frames += decoder.decode(packet)
    frames += decoder.flush()
    demuxer.close()
    return frames
