import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from streamer.clock import MonotonicClock
from streamer.decode import Decoder
from streamer.errors import SourceError
from streamer.frame import Packet
from streamer.metrics import Metrics
from streamer.sources.lasting import Lasting, Patience
from streamer.sources.network import NetworkSource
from tests.impairment import TcpProxy
from tests.programs import needs
from tests.streamer.descriptors import no_descriptor_left
from tests.streamer.sources.peers import (
    UDP,
    encoded,
    flv,
    free_port,
    send_until,
    sending,
    serving,
    ts,
    wait_for,
)

pytestmark = needs("ffmpeg")

DEADLINE_S = 60.0
CLOCK = MonotonicClock()
PATIENCE = Patience(silent_after_s=1.5, longest_wait_s=0.5)


async def lasting(url: str, metrics: Metrics) -> Lasting:
    return await Lasting.open(
        lambda: NetworkSource.open(url, clock=CLOCK),
        label=url.partition("/live")[0],
        clock=CLOCK,
        metrics=metrics,
        random=Random(3),
        patience=PATIENCE,
    )


class Reader:
    """Reads a lasting source on a task of its own and keeps what came."""

    def __init__(self, source: Lasting) -> None:
        self.source = source
        self.got: list[Packet] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for packet in self.source.packets():
            self.got.append(packet)

    @property
    def films(self) -> list[Packet]:
        return [packet for packet in self.got if packet.stream == "video"]

    @property
    def restarts(self) -> int:
        """How often it began anew: more often than a test wants where the machine stands still."""
        return sum(packet.follows_loss for packet in self.films)

    def after(self, restarts: int) -> int:
        """Pictures since it began anew once more than so often; 0 before."""
        starts = [n for n, packet in enumerate(self.films) if packet.follows_loss]
        return len(self.films) - starts[restarts] if len(starts) > restarts else 0

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not is_so():
                if self.task.done():
                    self.task.result()
                    raise AssertionError("the source ended")
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.source.close()
        await self.task


def check(reader: Reader, metrics: Metrics) -> None:
    """One timeline, one reconnect for each loss, keyframes first, and all of it decodes."""
    for stream in ("video", "audio"):
        dts = [packet.dts for packet in reader.got if packet.stream == stream]
        assert dts == sorted(set(dts))
        assert dts
    first = reader.films[0]
    for packet in reader.films:
        media_s = float(packet.time_s - first.time_s)
        arrived_s = (packet.arrived_ns - first.arrived_ns) / 1e9
        # As far as a slow machine lags behind, and not as far as the two encoders' times are apart.
        assert abs(media_s - arrived_s) < 15
    restarts = [packet for packet in reader.films if packet.follows_loss]
    assert restarts
    assert all(packet.is_keyframe and packet.video is not None for packet in restarts)
    assert metrics.counted("source.reconnects") == len(restarts)
    assert metrics.timings()["source.reconnect"].n == len(restarts)
    decoder = Decoder(reader.source.video, low_delay=True, clock=CLOCK, metrics=Metrics())
    frames = sum(len(decoder.decode(packet)) for packet in reader.films)
    assert frames == len(reader.films)


def test_a_source_whose_process_cannot_be_started_is_lost_as_any_other() -> None:
    async def play() -> None:
        url = f"http://127.0.0.1:{free_port()}/live"
        with no_descriptor_left(), pytest.raises(SourceError, match="Too many open files") as said:
            await NetworkSource.open(url, clock=CLOCK)
        assert "/live" not in str(said.value)

    asyncio.run(play())


def test_a_publisher_that_is_killed_and_comes_back_larger_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/s3cret"

    async def play() -> None:
        metrics = Metrics()
        opening = asyncio.create_task(lasting(f"{url}?listen=1", metrics))
        publishing = asyncio.create_task(send_until(flv(url), lambda: leave))
        leave = False
        reader = Reader(await opening)
        await reader.until(lambda: len(reader.films) > 20)
        leave = True
        await publishing
        await reader.until(lambda: reader.source.state == "lost")
        known = reader.restarts
        again = flv(url, size="480x270")
        publishing = asyncio.create_task(
            send_until(again, lambda: reader.after(known) > 20 or reader.task.done())
        )
        await reader.until(lambda: reader.after(known) > 20)
        await publishing
        await reader.close()
        check(reader, metrics)
        assert (reader.source.video.width, reader.source.video.height) == (480, 270)

    with caplog.at_level(logging.INFO):
        asyncio.run(play())
    ours = [one.message for one in caplog.records if one.name.endswith("lasting")]
    told = [next(w for w in STATES if f"is {w}" in text) for text in ours if " is " in text]
    assert re.fullmatch("(live lost )+live (lost )?closed", " ".join(told))
    assert "s3cret" not in caplog.text


STATES = ("connecting", "live", "lost", "closed")


def test_a_udp_sender_that_is_killed_and_comes_back_goes_on() -> None:
    async def play() -> None:
        port = free_port(UDP)
        metrics = Metrics()
        arguments = ts(f"udp://127.0.0.1:{port}?pkt_size=1316")
        with sending(arguments):
            reader = Reader(await lasting(f"udp://127.0.0.1:{port}", metrics))
            await reader.until(lambda: len(reader.films) > 20)
        await reader.until(lambda: reader.source.state == "lost")
        known = reader.restarts
        with sending(arguments):
            await reader.until(lambda: reader.after(known) > 20)
        await reader.close()
        check(reader, metrics)

    asyncio.run(play())


@pytest.mark.parametrize("harm", ["cut", "stall"])
def test_a_connection_that_is_cut_or_stalls_is_made_again(harm: str) -> None:
    async def play() -> None:
        port = free_port()
        metrics = Metrics()
        opening = asyncio.create_task(
            lasting(f"rtmp://127.0.0.1:{port}/live/key?listen=1", metrics)
        )
        async with TcpProxy(("127.0.0.1", port)) as proxy:
            is_over = False
            url = f"rtmp://127.0.0.1:{proxy.address[1]}/live/key"
            publishing = asyncio.create_task(send_until(flv(url), lambda: is_over))
            reader = Reader(await opening)
            await reader.until(lambda: len(reader.films) > 20)
            getattr(proxy, harm)()
            await reader.until(lambda: reader.source.state == "lost")
            known = reader.restarts
            # What stalled is dead: the publisher's next connection has to get through.
            proxy.resume()
            proxy.cut()
            await reader.until(lambda: reader.after(known) > 20)
            is_over = True
            await publishing
            await reader.close()
        check(reader, metrics)

    asyncio.run(play())


def test_a_playlist_whose_server_was_away_goes_on(tmp_path: Path) -> None:
    playlist = tmp_path / "live.m3u8"
    hls = ("-f", "hls", "-hls_time", "0.5", "-hls_list_size", "60", "-hls_flags", "delete_segments")

    async def play(port: int) -> None:
        metrics = Metrics()
        async with TcpProxy(("127.0.0.1", port)) as proxy:
            url = f"http://127.0.0.1:{proxy.address[1]}/live.m3u8"
            reader = Reader(await lasting(url, metrics))
            await reader.until(lambda: len(reader.films) > 20)
            proxy.refuse()
            await reader.until(lambda: reader.source.state == "lost")
            known = reader.restarts
            proxy.resume()
            await reader.until(lambda: reader.after(known) > 20)
            await reader.close()
        check(reader, metrics)

    with serving(tmp_path) as server, sending([*encoded(), *hls, str(playlist)]):
        wait_for(playlist, "#EXTINF", 3)
        asyncio.run(play(server.server_port))
