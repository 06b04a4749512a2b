from collections import Counter
from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import MonotonicClock
from streamer.decode import Decoder
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.metrics import Metrics
from streamer.sources.network_headers import Headers
from streamer.sources.network_packets import Pieces
from tests.clips import Clips, moving
from tests.programs import needs

CLOCK = MonotonicClock()
FLV_HEAD_BYTES, FLV_TAG_BYTES, FLV_END_BYTES = 13, 11, 4


class _Film:
    """As much of a stream as ``Headers`` asks for."""

    class codec_context:  # noqa: N801 - libav's name for it
        name = "h264"
        extradata = b"\0\0\0\1\x67sps\0\0\1\x68pps"


def test_a_keyframe_without_parameter_sets_gets_the_last_ones() -> None:
    headers = Headers(_Film())
    bare = b"\0\0\0\1\x65slice"
    assert headers.complete(bare) == b"\0\0\0\1\x67sps\0\0\0\1\x68pps" + bare
    own = b"\0\0\1\x67new\0\0\1\x68own" + bare
    assert headers.complete(own) == own
    assert headers.complete(bare).startswith(b"\0\0\0\1\x67new\0\0\0\1\x68own")


@given(st.binary(max_size=300))
def test_noise_holds_parameter_sets_or_none_but_no_error(noise: bytes) -> None:
    assert isinstance(Headers(_Film()).of(noise), bytes)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_picture_that_changes_its_size_in_flv_is_read_with_its_new_headers(codec: str) -> None:
    first, second = _flv(codec, (160, 96)), _flv(codec, (320, 192))
    stream = BytesIO(first + _later(second[FLV_HEAD_BYTES:], by_ms=1000))
    seen: Counter[int] = Counter()
    told: list[int] = []
    decoder: Decoder | None = None
    with av.open(stream) as container:
        for piece in Pieces(container, clock=CLOCK):
            if piece.video is not None:
                told.append(piece.video.width)
                decoder = decoder or Decoder(
                    piece.video, low_delay=True, clock=CLOCK, metrics=Metrics()
                )
            assert decoder is not None
            packet = Packet(
                payload=piece.payload,
                pts=piece.pts,
                dts=piece.dts,
                time_base=RTP_TIME_BASE,
                arrived_ns=piece.arrived_ns,
                is_keyframe=piece.is_keyframe,
                video=piece.video,
            )
            seen.update(frame.width for frame in decoder.decode(packet))
    assert told == [160, 320]
    assert seen == {160: 20, 320: 20}


def _flv(codec: str, size: tuple[int, int]) -> bytes:
    """20 pictures at 25 a second, a keyframe every 10."""
    made = BytesIO()
    with av.open(
        made, "w", format="flv", options={"flvflags": "no_duration_filesize"}
    ) as container:
        film: Any = container.add_stream(codec, rate=25)
        film.width, film.height = size
        film.pix_fmt, film.gop_size, film.max_b_frames = "yuv420p", 10, 0
        film.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        if codec == "libx264":
            film.options = {"preset": "ultrafast"}
        for number in range(20):
            picture = np.full((size[1], size[0], 3), 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    return made.getvalue()


def _later(tags: bytes, *, by_ms: int) -> bytes:
    """FLV tags with their times moved."""
    moved, at = bytearray(tags), 0
    while at < len(tags):
        time_ms = int.from_bytes(tags[at + 4 : at + 7], "big") + by_ms
        moved[at + 4 : at + 7] = time_ms.to_bytes(3, "big")
        size_bytes = int.from_bytes(tags[at + 1 : at + 4], "big")
        at += FLV_TAG_BYTES + size_bytes + FLV_END_BYTES
    return bytes(moved)


@needs("ffmpeg")
def test_h265_out_of_mp4_gets_start_codes_and_its_parameter_sets(clips: Clips) -> None:
    path = clips.made("hevc.mp4", *moving(size="160x90"), "-c:v", "libx265", "-pix_fmt", "yuv420p")
    with av.open(str(path)) as container:
        film = container.streams.video[0]
        headers = Headers(film)
        packets = [packet for packet in container.demux(film) if packet.size]
        native = headers.as_annex_b(packets[0])[0]
        assert (native.pts, native.dts) == (packets[0].pts, packets[0].dts)
        assert native.time_base == packets[0].time_base
        assert native.is_keyframe
        # VPS, SPS and PPS of the record in the container.
        sets = headers.of(headers.complete(bytes(native)))
        assert [
            sets[at + 4] >> 1 for at in range(len(sets)) if sets.startswith(b"\0\0\0\1", at)
        ] == [*(32, 33, 34)]
        # A length that does not add up: as good as lost.
        assert not headers.as_annex_b(av.Packet(bytes(packets[1])[:-1]))


@given(st.binary(max_size=120))
def test_noise_in_a_record_of_h265_is_no_error(noise: bytes) -> None:
    class Film:
        class codec_context:  # noqa: N801 - libav's name for it
            name = "hevc"
            extradata = b"\1" + noise

    headers = Headers(Film())
    headers.as_annex_b(av.Packet(noise or b"\0"))
    assert isinstance(headers.complete(b"\0\0\0\1\x26"), bytes)
