"""So many WebRTC viewers, real ones of aiortc, who receive and answer everything but decode nothing.

Their offers go to standard output, the answers come in on standard input, a JSON line each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from benchmarks.latency.observer import say
from benchmarks.latency.viewer import CountingBuffer, Viewer

_TELL_S = 0.1


async def watch(number: int) -> None:
    """Join, and tell how many pictures came to each, until stopped."""
    buffers = [CountingBuffer() for _ in range(number)]
    viewers = [Viewer(buffer, lambda _: None) for buffer in buffers]
    say("offers", sdps=[await viewer.offer() for viewer in viewers])
    line = await asyncio.to_thread(sys.stdin.readline)
    for viewer, answer_sdp in zip(viewers, json.loads(line)["sdps"], strict=True):
        await viewer.accept(answer_sdp)
    while True:
        pictures = [buffer.pictures for buffer in buffers]
        say("pictures", pictures=pictures, at_ns=time.monotonic_ns())
        await asyncio.sleep(_TELL_S)


def main() -> None:
    """Watch until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="so many viewers")
    asyncio.run(watch(parser.parse_args().number))


if __name__ == "__main__":
    main()
