import asyncio
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from streamer.decode import Decoder
from streamer.errors import ConfigError, SourceError, SourceLost
from streamer.frame import Packet
from streamer.metrics import Metrics
from streamer.sources import network
from streamer.sources.network import NetworkSource
from tests.programs import needs
from tests.rtsp_camera import camera, needs_gstreamer
from tests.streamer.sources.network_reader import CLOCK, DEADLINE_S, check, read
from tests.streamer.sources.peers import (
    UDP,
    encoded,
    flv,
    free_port,
    send_until,
    sending,
    ts,
    until,
)

pytestmark = needs("ffmpeg")


def has_said(caplog: pytest.LogCaptureFixture, text: str, count: int) -> bool:
    return sum(text in message for message in caplog.messages) >= count


def test_a_publisher_with_the_key_is_received_over_rtmp() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/s3cret"

    async def play() -> tuple[NetworkSource, list[Packet]]:
        reading = asyncio.create_task(read(f"{url}?listen=1", 60))
        await send_until(flv(url), reading.done)
        return await reading

    check(*asyncio.run(play()))


def test_a_publisher_with_another_key_is_refused_and_the_listener_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = f"rtmp://127.0.0.1:{free_port()}/live"

    async def play() -> None:
        reading = asyncio.create_task(read(f"{base}/s3cret?listen=1", 60))
        for number, key in enumerate(("guess", "s3cre"), start=1):
            refused = partial(has_said, caplog, "refused: it sent the wrong stream key", number)
            await send_until(flv(f"{base}/{key}"), refused)
        assert not reading.done()
        await send_until(flv(f"{base}/s3cret"), reading.done)
        await reading

    asyncio.run(play())
    assert "s3cret" not in caplog.text


def test_garbage_and_mute_peers_do_not_end_an_rtmp_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/key"

    async def play() -> None:
        reading = asyncio.create_task(read(f"{url}?listen=1", 30))
        mute = await connected(port)
        garbage = await connected(port)
        garbage[1].write(b"GET / HTTP/1.1\r\n\r\n" * 200)
        await until(partial(has_said, caplog, "no RTMP", 1))
        with sending(flv(url)):
            await reading
        for _, writer in (mute, garbage):
            writer.close()

    asyncio.run(play())


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SourceError, match="Address already in use"):
            asyncio.run(read(f"rtmp://127.0.0.1:{port}/live/key?listen=1", 1))


def test_rtmp_is_pulled_from_a_server() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    with sending(flv(url, "-listen", "1")):
        check(*asyncio.run(read_when_there(url, 60)))


async def read_when_there(url: str, count: int) -> tuple[NetworkSource, list[Packet]]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await read(url, count)
            except SourceError as error:
                if "refused" not in str(error) and "did not answer" not in str(error):
                    raise


@pytest.mark.parametrize("form", ["flv", "mpegts"])
def test_what_http_sends_without_an_end_is_live(form: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/live"
    # Without -t, whose length FLV would state.
    endless = encoded()[:-2]
    with sending([*endless, "-f", form, "-listen", "1", url]):
        source, got = asyncio.run(read_when_there(url, 60))
    check(source, got)
    assert source.video.is_live


def test_mpeg_ts_is_received_over_udp() -> None:
    port = free_port(UDP)
    with sending(ts(f"udp://127.0.0.1:{port}?pkt_size=1316")):
        check(*asyncio.run(read(f"udp://127.0.0.1:{port}", 60)))


def test_a_multicast_group_is_heard_from_the_senders_that_are_named() -> None:
    port, here = free_port(UDP), "localaddr=127.0.0.1"
    with sending(ts(f"udp://232.1.1.1:{port}?pkt_size=1316&{here}")):
        check(*asyncio.run(read(f"udp://232.1.1.1:{port}?{here}&sources=127.0.0.1", 60)))


def test_hevc_over_udp_is_described_by_its_keyframe() -> None:
    port = free_port(UDP)
    hevc = ("-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency")
    log = ("-x265-params", "log-level=none:repeat-headers=1")
    with sending(ts(f"udp://127.0.0.1:{port}?pkt_size=1316", video=(*hevc, *log))):
        source, got = asyncio.run(read(f"udp://127.0.0.1:{port}", 60))
    assert (source.video.codec, source.video.width, source.video.height) == ("hevc", 320, 180)
    decoder = Decoder(source.video, low_delay=True, clock=CLOCK, metrics=Metrics())
    films = [packet for packet in got if packet.stream == "video"]
    assert sum(len(decoder.decode(packet)) for packet in films) == len(films)


def test_srt_is_called_with_its_passphrase_and_a_wrong_one_is_said() -> None:
    port = free_port(UDP)
    with sending(ts(f"srt://127.0.0.1:{port}?mode=listener&passphrase=longenough1")):
        call = f"srt://127.0.0.1:{port}?latency=50000&passphrase="
        with pytest.raises(SourceError, match="another passphrase") as refused:
            asyncio.run(read_when_there(f"{call}wrongwrong99", 1))
        assert "wrongwrong99" not in str(refused.value)
        check(*asyncio.run(read(f"{call}longenough1", 60)))


@pytest.mark.parametrize("streamid", ["mine", "#!::r=live/mine,m=publish"])
def test_srt_listens_for_the_caller_with_its_streamid(
    streamid: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port(UDP)
    call = f"srt://127.0.0.1:{port}?passphrase=longenough1&streamid="

    async def play() -> tuple[NetworkSource, list[Packet]]:
        listen = f"srt://:{port}?mode=listener&streamid={streamid}&passphrase=longenough1"
        reading = asyncio.create_task(read(listen, 60))
        await send_until(ts(f"{call}other"), partial(has_said, caplog, "another streamid", 1))
        await send_until(ts(f"{call}{streamid}"), reading.done)
        return await reading

    check(*asyncio.run(play()))


@contextmanager
def mute() -> Iterator[int]:
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("url", ["rtmp://{}/live/key", "http://{}/a.ts", "rtsp://{}/cam"])
def test_a_mute_server_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_WITHIN_S", 1.0)
    monkeypatch.setattr(network, "PACKET_WITHIN_S", 1.0)
    with mute() as port, pytest.raises(SourceError, match="check the address") as given_up:
        asyncio.run(read(url.format(f"127.0.0.1:{port}"), 1))
    assert "key" not in str(given_up.value)


def test_silence_on_a_udp_port_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_WITHIN_S", 1.0)
    with pytest.raises(SourceError, match="check the address, and that it is sending"):
        asyncio.run(read(f"udp://127.0.0.1:{free_port(UDP)}", 1))


def test_a_sender_that_stops_is_lost_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PACKET_WITHIN_S", 1.0)
    port = free_port(UDP)

    async def play() -> None:
        with sending(ts(f"udp://127.0.0.1:{port}?pkt_size=1316")) as sender:
            source = await NetworkSource.open(f"udp://127.0.0.1:{port}", clock=CLOCK)
            try:
                async for _ in source.packets():
                    sender.kill()
            finally:
                await source.close()

    with pytest.raises(SourceLost):
        asyncio.run(play())


@pytest.mark.parametrize("url", ["udp://127.0.0.1:{}", "http://127.0.0.1:{}/x"])
def test_garbage_is_one_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_WITHIN_S", 2.0)
    port = free_port(UDP)
    done = threading.Event()
    server = socket.create_server(("127.0.0.1", port))

    def flood() -> None:
        noise = bytes(range(256)) * 5
        with socket.socket(socket.AF_INET, UDP) as sender:
            while not done.wait(0.001):
                sender.sendto(noise, ("127.0.0.1", port))

    def answer() -> None:
        while not done.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"\x00\xff nonsense\r\n\r\n" * 10)

    threads = [threading.Thread(target=one) for one in (flood, answer)]
    for thread in threads:
        thread.start()
    try:
        with pytest.raises(SourceError) as refused:
            asyncio.run(read(url.format(port), 1))
    finally:
        done.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in threads:
            thread.join()
    assert "\n" not in str(refused.value)


def test_an_address_that_cannot_be_read_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(NetworkSource.open("gopher://host/", clock=CLOCK))


def test_closing_while_it_opens_and_while_it_reads_ends_the_child() -> None:
    async def play() -> None:
        port = free_port(UDP)
        opening = asyncio.create_task(NetworkSource.open(f"udp://127.0.0.1:{port}", clock=CLOCK))
        await asyncio.sleep(0.3)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with sending(ts(f"udp://127.0.0.1:{port}?pkt_size=1316")):
            source = await NetworkSource.open(f"udp://127.0.0.1:{port}", clock=CLOCK)
            reading = asyncio.create_task(count_all(source))
            await asyncio.sleep(0)
            await source.close()
            await source.close()
            async with asyncio.timeout(DEADLINE_S):
                await reading
            assert not source._child.is_running

    async def count_all(source: NetworkSource) -> int:
        return len([packet async for packet in source.packets()])

    asyncio.run(play())


@needs_gstreamer()
def test_rtsp_is_read_by_libav_where_our_own_client_cannot() -> None:
    with camera("--codec", "h264", "--audio", "aac", "--size", "320x240") as server:
        source, got = asyncio.run(read(server.url, 60))
    assert (source.video.codec, source.video.width) == ("h264", 320)
    assert source.audio is not None
    assert source.audio.codec == "aac"
    films = [packet for packet in got if packet.stream == "video"]
    assert films[0].is_keyframe
    decoder = Decoder(source.video, low_delay=True, clock=CLOCK, metrics=Metrics())
    assert sum(len(decoder.decode(packet)) for packet in films) == len(films)


@needs_gstreamer()
def test_a_wrong_rtsp_password_is_said_and_not_shown() -> None:
    with (
        camera("--user", "me", password="right") as server,
        pytest.raises(SourceError) as refused,
    ):
        asyncio.run(read(server.url_with("me:wr0ng"), 1))
    assert "wr0ng" not in str(refused.value)
    assert "password" in str(refused.value)


PARENT = """
import asyncio, sys
from streamer.clock import MonotonicClock
from streamer.sources.network import NetworkSource
asyncio.run(NetworkSource.open(sys.argv[1], clock=MonotonicClock()))
"""


def test_the_child_ends_with_its_parent() -> None:
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/key?listen=1"
    with subprocess.Popen([sys.executable, "-c", PARENT, url]) as parent:
        try:
            asyncio.run(close_when_connected(port))
        finally:
            parent.kill()
    # It listened; its port is free again once it has ended.
    asyncio.run(until(lambda: is_free(port)))


async def close_when_connected(port: int) -> None:
    _, writer = await connected(port)
    writer.close()


def is_free(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
