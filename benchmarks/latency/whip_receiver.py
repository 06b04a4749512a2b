"""Takes what a WebRTC publisher sends, decodes it and reads the counter: with our door, or aiortc.

It reads the offer, one JSON line, from standard input and says its answer on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from benchmarks.latency.observer import Observer, luma_of, observe, say
from streamer.clock import MonotonicClock
from streamer.errors import StreamerError
from streamer.sources.whip import WhipDoor

PUBLISHES_WITHIN_S = 30.0


def main() -> None:
    """Receive until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("receiver", choices=("streamer", "aiortc"))
    options = parser.parse_args()
    offer_sdp = str(json.loads(sys.stdin.readline())["sdp"])
    receive = receive_with_ours if options.receiver == "streamer" else receive_with_aiortc
    asyncio.run(receive(offer_sdp))


async def receive_with_ours(offer_sdp: str) -> None:
    """Door, source and decoder as the pipeline runs them."""
    clock = MonotonicClock()
    door = WhipDoor("camera", clock=clock)
    session = await door.answer(offer_sdp)
    say("answer", sdp=session.answer_sdp)
    source = await door.source(timeout_s=PUBLISHES_WITHIN_S)
    say("open", receiver="streamer")
    await observe(source, clock)


async def receive_with_aiortc(offer_sdp: str) -> None:
    """aiortc as it comes: its jitter buffer, its decoder thread, its queue."""
    clock = MonotonicClock()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue(1)
    connection.on("track", tracks.put_nowait)
    await connection.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    say("answer", sdp=connection.localDescription.sdp)
    track = await tracks.get()
    observer = Observer(clock)
    say("open", receiver="aiortc")
    while True:
        picture = await track.recv()
        now_ns = clock.now_ns()
        assert isinstance(picture, av.VideoFrame)
        observer.see(luma_of(picture), now_ns)


if __name__ == "__main__":
    try:
        main()
    except StreamerError as error:
        sys.exit(str(error))
