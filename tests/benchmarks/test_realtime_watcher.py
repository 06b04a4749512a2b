"""What the viewer kept of a stream, decoded when all is over."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from aiortc.rtp import RtpPacket

from benchmarks.latency.camera import HEAD, Pictures
from benchmarks.realtime.screen import Screen
from benchmarks.realtime.watcher import Recorder, Watcher
from streamer.clock import ManualClock
from streamer.ops.memory import planes_in

WIDTH, HEIGHT, FPS, MS = 320, 184, Fraction(30), 1_000_000
NUMBERS = [*range(6), *range(5, 9)]
"""Of the camera's pictures; the sixth is sent twice."""


def recorded(clock: ManualClock) -> Recorder:
    """The pictures, coded, in packets that come 7 ms apart, the marked one last."""
    pictures = Pictures(width=WIDTH, height=HEIGHT, fps=FPS)
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = 1 / FPS
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"}
    recorder = Recorder(clock, io.BytesIO())
    sequence = 65_530
    for place, number in enumerate(NUMBERS):
        planes = planes_in(
            pictures.picture(number, (1000 + number) * MS)[HEAD.size :], WIDTH, HEIGHT
        )
        rows = np.concatenate([one.reshape(-1, WIDTH) for one in planes])
        frame = av.VideoFrame.from_ndarray(rows, format="yuv420p")
        frame.pts = place
        (packet,) = encoder.encode(frame)
        data = bytes(packet)
        for marker, part in enumerate((data[:20], data[20:])):
            clock.advance_ms(7)
            sent = RtpPacket(
                payload_type=96,
                marker=marker,
                sequence_number=sequence % 65_536,
                timestamp=(3000 * place + (1 << 32) - 6000) % (1 << 32),
                payload=part,
            )
            sent._data = part  # type: ignore[attr-defined]
            assert recorder.add(sent) == (False, None), "nothing is to be decoded while it runs"
            sequence += 1
    return recorder


def test_each_picture_has_the_instant_of_its_last_packet_however_late_it_is_decoded() -> None:
    clock = ManualClock()
    began_ns = clock.now_ns()
    recorder = recorded(clock)
    clock.advance_ms(10_000)
    watcher = Watcher(None)
    rows = [
        watcher.see(picture, ticks=ticks, at_ns=at_ns)[0]
        for ticks, at_ns, picture in recorder.pictures()
    ]
    assert [row[1] - began_ns for row in rows] == [14 * MS * (n + 1) for n in range(len(NUMBERS))]
    assert [row[0] for row in rows[:3]] == [(1 << 32) - 6000, (1 << 32) - 3000, 0]
    assert [row[2:4] for row in rows] == [(number, 1000 + number) for number in NUMBERS]
    assert min(rows, key=lambda row: row[4]) is rows[6], "what was sent twice is hardly new"


def test_what_is_on_the_screen_is_known_at_the_moment_of_the_picture() -> None:
    recorder = recorded(ManualClock())
    pictures = Pictures(width=WIDTH, height=HEIGHT, fps=FPS)
    watcher = Watcher(Screen(pictures, width=WIDTH, height=HEIGHT, interval=1 / FPS))
    known = [
        (at_ns, watcher.see(picture, ticks=ticks, at_ns=at_ns)[1])
        for ticks, at_ns, picture in recorder.pictures()
    ]
    assert all(instant == at_ns for at_ns, found in known for instant, _ in found)
    compared = {one.number: one for _, found in known for _, one in found}
    assert set(compared) == set(NUMBERS)
    # At the moment of picture 6 the one before it was sent again.
    assert compared.pop(6).frozen_db
    assert all(one.db > 25 and not one.frozen_db for one in compared.values())
