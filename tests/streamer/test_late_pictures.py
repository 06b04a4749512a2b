"""Pictures that lost their end are handed on late: what is done with them then, and with what follows."""

from __future__ import annotations

import asyncio
from fractions import Fraction

from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.frame import Origin, Packet
from streamer.metrics import Metrics
from streamer.rtp.unit import TrackFormat
from streamer.sources.rtsp.reception import Reception
from streamer.sources.rtsp.tracks import Track
from tests.streamer.losses import TICKS, of_picture, pieces, video
from tests.streamer.viewer_model import Arrival, Seen, Stream

CUT = 10
INTERVAL_MS = 1000 / 30


def handed_on(lost: set[int], clock: ManualClock) -> list[Packet]:
    """What a camera's packets become over TCP, where no gap is waited for."""
    packets: list[Packet] = []
    track = Track(
        kind="video",
        format=TrackFormat(codec="h264", clock_rate=90_000, payload_type=96),
        control_url="",
        profile="AVP",
        takes_pli=False,
    )
    reception = Reception([track], is_udp=False, clock=clock, on_packet=packets.append)

    async def receive() -> None:
        before = 0
        for index, (number, data) in enumerate(pieces(1)):
            clock.advance_ms((number - before) * INTERVAL_MS)
            before = number
            if index not in lost:
                reception.receive(0, data)

    asyncio.run(receive())
    return packets


def test_the_time_for_a_picture_that_lost_its_end_begins_when_that_is_known() -> None:
    """It is known by the next packet that comes, here three pictures later."""
    lost = {*of_picture(CUT, 1)[1:], *of_picture(CUT + 1, 1), *of_picture(CUT + 2, 1)}
    clock = ManualClock()
    packets = handed_on(lost, clock)
    decoder = Decoder(video(), low_delay=True, clock=clock, metrics=Metrics())
    frames = {frame.pts // TICKS: frame for one in packets for frame in decoder.decode(one)}
    began_ms = frames[CUT - 1].arrived_ns / 1e6
    cut = frames[CUT]
    assert round((cut.arrived_ns / 1e6 - began_ms) / INTERVAL_MS) == 1
    assert round((cut.stamps_ns["released"] / 1e6 - began_ms) / INTERVAL_MS) == 4
    whole = frames[CUT + 4]
    assert whole.stamps_ns["released"] == whole.arrived_ns


def seen_by(stream: Stream, lost: range, *, late_ms: float = 0.0, since: int = 200) -> Seen:
    """A camera whose pictures come later by ``late_ms`` from one of them on."""
    numbers = (number for number in range(200) if number not in lost)
    return stream.watch(
        [Arrival(n, n * INTERVAL_MS + (late_ms if n >= since else 0.0)) for n in numbers]
    )


def test_what_stands_in_is_there_before_the_next_picture_comes_however_slow_the_machine_is() -> (
    None
):
    """Real pictures are ready late in their interval: by then the next one is on its way already."""
    for lost in (60, 85, 123):
        stream = Stream(real_ms=28.0, stand_in_ms=15.0, encode_ms=8.0)
        seen = seen_by(stream, range(lost, lost + 1))
        assert seen.count(Origin.PREDICTED) == 1
        assert max(seen.stands_ms) <= 1.7 * INTERVAL_MS
        numbers = [frame.time_s * 30 for frame, _ in seen.shown]
        assert numbers == [Fraction(number) for number in range(200)]


def test_a_line_that_becomes_slower_for_good_has_pictures_replaced_for_a_moment_only() -> None:
    seen = seen_by(Stream(stand_in_ms=15.0), range(0), late_ms=25.0, since=100)
    replaced = [frame.time_s * 30 for frame, _ in seen.shown if frame.origin is Origin.PREDICTED]
    assert [number for number in replaced if not 100 <= number <= 115] == []
    assert [frame.time_s * 30 for frame, _ in seen.shown] == list(range(200))
