"""Reads an RTSP stream, decodes it and reads the counter: with our client, or with libav's."""

from __future__ import annotations

import argparse
import asyncio
import sys

import av

from benchmarks.latency.observer import Observer, luma_of, observe, say
from streamer.clock import MonotonicClock
from streamer.errors import StreamerError
from streamer.sources.base import PacketSource
from streamer.sources.rtsp import RtspSource

LOW_LATENCY = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "max_delay": "0",
    "reorder_queue_size": "0",
    "analyzeduration": "0",
}
"""What libav offers against waiting; each one makes it faster or changes nothing."""


def main() -> None:
    """Read until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=("streamer", "libav"))
    parser.add_argument("url")
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    options = parser.parse_args()
    if options.client == "libav":
        read_with_libav(options.url, options.transport)
    else:
        asyncio.run(read_with_ours(f"{options.url}?transport={options.transport}"))


async def read_with_ours(url: str) -> None:
    """Source and decoder as the pipeline runs them."""
    clock = MonotonicClock()
    source = await RtspSource.open(url, clock=clock)
    assert isinstance(source, PacketSource)
    say("open", client="streamer")
    await observe(source, clock)


def read_with_libav(url: str, transport: str) -> None:
    """libav's demuxer and decoder with all that it offers against waiting."""
    clock = MonotonicClock()
    observer = Observer(clock)
    options = {"rtsp_transport": transport, **LOW_LATENCY}
    with av.open(url, options=options, timeout=(20.0, 10.0)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "SLICE"
        stream.codec_context.flags |= av.codec.context.Flags.low_delay
        say("open", client="libav")
        for picture in container.decode(stream):
            observer.see(luma_of(picture), clock.now_ns())


if __name__ == "__main__":
    try:
        main()
    except StreamerError as error:
        sys.exit(str(error))
