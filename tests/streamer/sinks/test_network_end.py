"""What the end of a stream says of a peer that was never there, is lost, or is only slow."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from contextlib import suppress

import pytest

from streamer.errors import SinkError
from tests.programs import needs
from tests.streamer.descriptors import no_descriptor_left
from tests.streamer.sinks.network_peers import DEADLINE_S, Camera, Peer, free_port, holds
from tests.streamer.sinks.test_network import children, pushing

pytestmark = needs("ffmpeg")

DEAD = {
    "rtmp": "rtmp://127.0.0.1:1/live/key",
    "rtsp": "rtsp://127.0.0.1:1/live/key",
    "srt": "srt://127.0.0.1:1?connect_timeout=500",
}


@pytest.mark.parametrize("scheme", list(DEAD))
def test_a_peer_that_was_never_there_is_an_error_at_the_end(scheme: str) -> None:
    async def scenario() -> None:
        camera = Camera()
        sink = pushing(camera, DEAD[scheme])
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") >= 1)
        with pytest.raises(SinkError) as ended:
            await sink.close()
        said = rf"peer was never reached and got none of the {camera.sent} pictures \(.+\); check "
        assert re.match(said, str(ended.value))
        assert camera.metrics.counted("dropped.sink.peer") == camera.sent

    asyncio.run(scenario())
    assert children() == {}


def test_a_peer_that_was_looked_for_in_vain_is_not_waited_for() -> None:
    async def scenario() -> None:
        camera = Camera()
        sink = pushing(camera, DEAD["srt"], finish_s=10 * DEADLINE_S)
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") >= 1)
        await camera.film(sink, lambda: len(children()) == 1)
        for number in children():
            # One that stands still does not end by itself.
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP)
        with pytest.raises(SinkError, match="was never reached"):
            await asyncio.wait_for(sink.close(), DEADLINE_S)

    asyncio.run(scenario())
    assert children() == {}


def test_a_push_that_finds_no_descriptor_is_begun_again_and_ends_no_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port(socket.SOCK_DGRAM)
        sink = pushing(camera, f"udp://127.0.0.1:{port}")
        # What is loaded when first needed is there by then: what draws pictures, and threads.
        await asyncio.to_thread(camera.next_packets)
        camera.request_keyframe()
        with no_descriptor_left():
            await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") >= 1)
        assert "cannot be opened (its process could not be started (Too many open" in caplog.text
        with Peer.ffmpeg("-i", f"udp://127.0.0.1:{port}") as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            await sink.close()

    asyncio.run(scenario())
    assert children() == {}


def test_a_stream_that_ends_before_its_peer_has_answered_still_gets_there() -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port(socket.SOCK_DGRAM)
        url = f"srt://127.0.0.1:{port}?connect_timeout=60000"
        sink = pushing(camera, url, finish_s=DEADLINE_S)
        with Peer.ffmpeg("-i", f"srt://127.0.0.1:{port}?mode=listener") as peer:
            for _ in range(30):
                for packet in camera.next_packets():
                    await sink.send(packet)
            assert not sink.is_connected
            await sink.close()
            await holds(lambda: peer.count() > 0)

    asyncio.run(scenario())


def test_a_peer_that_is_lost_before_the_end_is_no_error_and_what_it_got_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port()
        sink = pushing(camera, f"rtmp://127.0.0.1:{port}/live/key")
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            restarts = camera.metrics.counted("sink.restarts.peer")
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") > restarts)
        await sink.close()
        said = re.search(r"without it \(.+\); it got (\d+) of the (\d+) pictures", caplog.text)
        assert said is not None
        assert int(said[2]) == camera.sent
        assert int(said[2]) - int(said[1]) == camera.metrics.counted("dropped.sink.peer") > 0

    asyncio.run(scenario())


def test_a_peer_that_took_everything_ends_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port(socket.SOCK_DGRAM)
        sink = pushing(camera, f"udp://127.0.0.1:{port}", finish_s=DEADLINE_S)
        await camera.film(sink, lambda: camera.sent >= 30)
        await sink.close()
        assert camera.metrics.counts("dropped.") == {}

    asyncio.run(scenario())
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_srt_keeps_its_end_however_long_the_receiver_waits_before_it_plays() -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port(socket.SOCK_DGRAM)
        sink = pushing(camera, f"srt://127.0.0.1:{port}")
        # The longer one of both sides' latencies holds.
        waits = f"srt://127.0.0.1:{port}?mode=listener&latency=4000000"
        with Peer.ffmpeg("-i", waits) as peer:
            await camera.film(sink, lambda: sink.is_connected and camera.sent >= 60)
            await sink.close()
            await holds(lambda: peer.count() == camera.sent)
        assert camera.metrics.counts("dropped.") == {}

    asyncio.run(scenario())
