"""What this package's own senders cut, its receivers put together again."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.packetise_h264 import H264Packetiser
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import TrackFormat
from tests.streamer.rtp.sending import MS, Sender, through
from tests.streamer.rtp.test_h264 import pictures


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(100, 1400), late_ms=st.integers(0, 10))
def test_h264_that_we_send_comes_back_bit_for_bit(*, seed: int, limit: int, late_ms: int) -> None:
    rng = random.Random(seed)
    made = []
    for picture in pictures(rng, 15, slices=(1, 3), delimiters=True):
        # No encoder leaves zeros that look like a start code, or at the end.
        nals = tuple(nal.replace(b"\0", b"\1") for nal in picture.nals)
        made.append(replace(picture, nals=nals))
    packetiser = H264Packetiser(max_payload_bytes=limit)
    sender = Sender()
    for picture in made:
        for piece in packetiser.split(picture.payload):
            sender.send(piece.payload, marker=piece.is_marked)
        sender.timestamp += 3000
    format = TrackFormat(codec="h264", clock_rate=90_000, payload_type=96)
    receiver = TrackReceiver(format, reorder_ns=late_ms * MS)
    units, _ = through(receiver, sender.sent, rng=rng, late_ms=late_ms)
    assert [unit.payload for unit in units] == [picture.payload for picture in made]
