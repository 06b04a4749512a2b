"""Pushing to real receivers, to bad ones, and to none."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.fanout import FanOut
from streamer.sinks.muxer_session import Patience
from streamer.sinks.network import NetworkSink
from tests.programs import needs
from tests.streamer.sinks.network_peers import (
    DEADLINE_S,
    G711,
    Camera,
    MutePeer,
    Peer,
    free_port,
    holds,
)

pytestmark = needs("ffmpeg")


def pushing(
    camera: Camera,
    url: str,
    *,
    audio: AudioInfo | None = None,
    open_s: float = DEADLINE_S,
    take_s: float = DEADLINE_S,
    finish_s: float = 3.0,
) -> NetworkSink:
    """A peer on a machine that stands still is not given up, unless a test is about that."""
    return NetworkSink(
        url,
        audio=audio,
        clock=camera.clock,
        metrics=camera.metrics,
        request_keyframe=camera.request_keyframe,
        label="peer",
        patience=Patience(open_s=open_s, take_s=take_s, finish_s=finish_s),
        dice=random.Random(1),
    )


def children() -> dict[int, str]:
    """The processes below this one that write a stream, and what their command lines show."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
            lines[int(folder.name)] = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            )
        except OSError:
            continue

    def is_ours(number: int) -> bool:
        while number in parents and number != os.getpid():
            number = parents[number]
        return number == os.getpid()

    return {
        number: line for number, line in lines.items() if "muxer_child" in line and is_ours(number)
    }


class Collect:
    """A sink that keeps the times of what it gets."""

    def __init__(self) -> None:
        self.got: list[int] = []

    async def send(self, packet: Packet) -> None:
        self.got.append(packet.pts)

    async def close(self) -> None: ...


RECEIVERS: dict[str, tuple[Callable[[int], Peer], str]] = {
    "rtmp": (Peer.rtmp, "rtmp://127.0.0.1:{port}/live/key"),
    "rtsp": (Peer.rtsp, "rtsp://127.0.0.1:{port}/live/key"),
    "udp": (
        lambda port: Peer.ffmpeg("-i", f"udp://127.0.0.1:{port}"),
        "udp://127.0.0.1:{port}?buffer_size=1000000",
    ),
    "srt": (
        lambda port: Peer.ffmpeg(
            "-i", f"srt://127.0.0.1:{port}?mode=listener&passphrase=only-for-tests"
        ),
        "srt://127.0.0.1:{port}?passphrase=only-for-tests&streamid=publish-key",
    ),
}


@pytest.mark.parametrize("scheme", list(RECEIVERS))
def test_picture_and_sound_reach_a_receiver(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver, url = RECEIVERS[scheme]
    port = free_port(socket.SOCK_DGRAM if scheme in ("udp", "srt") else socket.SOCK_STREAM)

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = pushing(camera, url.format(port=port), audio=G711)
        with receiver(port) as peer:
            await camera.film(sink, lambda: peer.count(0) >= 30 and peer.count(1) >= 20)
            shown = children()
            assert len(shown) == 1
            await sink.close()
            pictures = [packet for packet in peer.packets if packet.stream == 0]
            assert peer.times(0) == sorted(set(peer.times(0)))
            assert peer.times(1) == sorted(set(peer.times(1)))
            if scheme != "udp":  # a receiver of UDP may have come in between keyframes
                assert pictures[0].is_keyframe
            for secret in ("key", "only-for-tests"):
                assert secret not in caplog.text
                assert not any(secret in line for line in shown.values())

    asyncio.run(scenario())
    # Where the receiver was not there yet, it is tried again.
    assert "peer: open" in caplog.text or "peer: is back" in caplog.text
    assert children() == {}


def test_every_packet_arrives_at_its_own_time() -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port()
        sink = pushing(camera, f"rtsp://127.0.0.1:{port}/live/key")
        sent: list[int] = []
        with Peer.rtsp(port) as peer:
            await camera.film(sink, lambda: sink.is_connected)
            await camera.film(sink, lambda: peer.count() > 0)
            for _ in range(60):
                for packet in camera.next_packets():
                    sent.append(packet.pts)
                    await sink.send(packet)
                await asyncio.sleep(0.005)
            await holds(lambda: len(peer.times()) >= 60)
            await sink.close()
            got = peer.times()[-60:]
            assert [pts - got[0] for pts in got] == [pts - sent[0] for pts in sent]

    asyncio.run(scenario())


def test_a_server_that_comes_later_gets_the_stream_from_a_keyframe_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        camera, port = Camera(), free_port()
        sink = pushing(camera, f"rtmp://127.0.0.1:{port}/live/key")
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") >= 2)
        asked_without_server = camera.keyframes_asked
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            assert peer.packets[0].is_keyframe
            await sink.close()
        assert asked_without_server == 0
        assert camera.keyframes_asked >= 1
        assert camera.metrics.counted("dropped.sink.peer") > 0

    asyncio.run(scenario())
    assert caplog.text.count("cannot be opened (Connection refused)") == 1
    assert caplog.text.count("peer: is back after ") == 1


def test_a_peer_that_dies_and_comes_back_gets_the_stream_from_a_keyframe_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        camera, port = Camera(with_sound=True), free_port()
        sink = pushing(camera, f"rtmp://127.0.0.1:{port}/live/key", audio=G711)
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 10)
            # It may have been called before it listened.
            restarts = camera.metrics.counted("sink.restarts.peer")
        await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") > restarts)
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count(0) >= 10 and peer.count(1) >= 10)
            first = next(packet for packet in peer.packets if packet.stream == 0)
            assert first.is_keyframe
            # Each connection counts from its own beginning, in milliseconds.
            assert first.pts is not None
            assert first.pts < 1000
            await sink.close()

    asyncio.run(scenario())
    assert caplog.text.count("peer: lost (") == 1
    assert (
        len(re.findall(r"peer: is back after \d+\.\d s", caplog.text.partition("lost (")[2])) == 1
    )


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
def test_a_mute_peer_stops_nothing_but_itself(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        camera, peer, other = Camera(), MutePeer(), Collect()
        stuck = pushing(camera, f"{scheme}://127.0.0.1:{peer.port}/live/key", open_s=1.0)
        fanout = FanOut(
            [("stuck", stuck), ("other", other)],
            may_drop=True,
            request_keyframe=camera.request_keyframe,
        )
        wanted: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fanout.run())
            # Long enough for the peer to be given up and tried anew.
            while camera.metrics.counted("sink.restarts.peer") < 1 or peer.accepted < 2:
                for packet in camera.next_packets():
                    wanted.append(packet.pts)
                    await fanout.send(packet)
                await asyncio.sleep(0.01)
                # It gets the packet before the next one comes, while the other one hangs.
                await holds(lambda: other.got == wanted)
            await fanout.close()
        peer.close()
        assert camera.metrics.counted("dropped.sink.peer") > 0
        # The fan-out's own ring never filled: the sink takes everything and drops it itself.
        assert fanout.dropped["sink.stuck"] == 0
        assert "peer was never reached" in str(fanout.failures)

    asyncio.run(asyncio.wait_for(scenario(), 180))
    assert children() == {}
    assert "peer: cannot be opened" in caplog.text


def test_a_peer_that_stops_reading_is_given_up_and_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        camera, port, other = Camera(size=(640, 352)), free_port(), Collect()
        sink = pushing(camera, f"rtsp://127.0.0.1:{port}/live/key", take_s=3.0)
        with Peer.rtsp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 5)
            peer.pause()
            # Keyframes only, 100 KB each: soon the sockets between are full.
            camera.request_keyframe()
            keyframe = camera.next_packets()[0]
            assert keyframe.is_keyframe
            number, restarts = 0, camera.metrics.counted("sink.restarts.peer")
            while camera.metrics.counted("sink.restarts.peer") == restarts:
                number += 1
                pts = keyframe.pts + number * 3000
                packet = replace(keyframe, pts=pts, dts=pts)
                await sink.send(packet)
                await other.send(packet)
                await asyncio.sleep(0.005)
            assert len(other.got) == number
            await sink.close()
        assert camera.metrics.counted("dropped.sink.peer") > 0

    asyncio.run(asyncio.wait_for(scenario(), 180))
    assert "peer: lost (" in caplog.text


def test_a_new_picture_size_gets_a_new_connection() -> None:
    async def scenario() -> None:
        camera, port = Camera(), free_port()
        sink = pushing(camera, f"rtmp://127.0.0.1:{port}/live/key")
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 5)
            camera.size = (128, 96)
            restarts = camera.metrics.counted("sink.restarts.peer")
            await camera.film(sink, lambda: camera.metrics.counted("sink.restarts.peer") > restarts)
        with Peer.rtmp(port) as peer:
            await camera.film(sink, lambda: peer.count() >= 5)
            assert "#dimensions 0: 128x96" in peer.said
            await sink.close()

    asyncio.run(scenario())


def test_a_sink_that_never_got_a_picture_closes_at_once() -> None:
    async def scenario() -> None:
        sink = pushing(Camera(), "rtmp://127.0.0.1:9/live/key")
        await sink.close()

    asyncio.run(scenario())
    assert children() == {}


def test_srt_without_the_library_for_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        camera = Camera()
        sink = pushing(camera, "srt://127.0.0.1:9?passphrase=only-for-tests")
        monkeypatch.setattr("streamer.srt._NAMES", ("libnothing.so.1",))
        monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
        with pytest.raises(SinkError, match=r"an srt:// output needs the library libsrt"):
            await camera.film(sink, lambda: False)
        await sink.close()

    asyncio.run(scenario())


def test_a_wrong_passphrase_is_no_connection_and_no_secret_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        camera, port = Camera(), free_port(socket.SOCK_DGRAM)
        sink = pushing(camera, f"srt://127.0.0.1:{port}?passphrase=not-the-right-one")
        listener = f"srt://127.0.0.1:{port}?mode=listener&passphrase=only-for-tests"
        with Peer.ffmpeg("-i", listener) as peer:
            await camera.film(
                sink, lambda: "(it has another passphrase; check it on both sides)" in caplog.text
            )
            assert peer.count() == 0
            with pytest.raises(SinkError, match=r"never reached .*it has another passphrase"):
                await sink.close()

    asyncio.run(scenario())
    assert "not-the-right-one" not in caplog.text
