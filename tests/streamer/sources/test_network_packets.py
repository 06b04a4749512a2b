from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import MonotonicClock
from streamer.sources.network_packets import (
    Piece,
    Pieces,
    _Headers,
    audio_specific_config,
    without_adts,
)
from tests.clips import Clips, ffmpeg
from tests.programs import needs

CLOCK = MonotonicClock()


def pieces(path: Path) -> tuple[Pieces, list[Piece]]:
    with av.open(str(path)) as container:
        opened = Pieces(container, clock=CLOCK)
        return opened, list(opened)


@needs("ffmpeg")
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_every_container_gives_the_same_annex_b_and_bare_aac(clips: Clips, suffix: str) -> None:
    opened, got = pieces(clips.with_sound(suffix))
    films = [piece for piece in got if piece.is_video]
    sounds = [piece for piece in got if not piece.is_video]
    assert len(films) == 30
    assert opened.sound is not None
    assert opened.sound.extradata[:2] == audio_specific_config(44_100, 1)
    assert not any(piece.payload.startswith((b"\xff\xf1", b"\xff\xf9")) for piece in sounds)
    for film in films:
        assert film.payload.startswith(b"\0\0\0\1")
        # Annex B: no length prefix, and SPS (7) and PPS (8) in front of every keyframe.
        sets = {film.payload[at + 3] & 0x1F for at in starts(film.payload)}
        assert not film.is_keyframe or {7, 8, 5} <= sets
    assert films[0].video is not None
    assert [piece.video for piece in films[1:]] == [None] * 29
    assert films[0].dts == 0


def starts(data: bytes) -> list[int]:
    return [at for at in range(len(data) - 3) if data[at : at + 3] == b"\0\0\1"]


class _Film:
    """As much of a stream as ``_Headers`` asks for."""

    class codec_context:  # noqa: N801 - libav's name for it
        name = "h264"
        extradata = b"\0\0\0\1\x67sps\0\0\1\x68pps"


def test_a_keyframe_without_parameter_sets_gets_the_last_ones() -> None:
    headers = _Headers(_Film())
    bare = b"\0\0\0\1\x65slice"
    assert headers.complete(bare) == b"\0\0\0\1\x67sps\0\0\0\1\x68pps" + bare
    own = b"\0\0\1\x67new\0\0\1\x68own" + bare
    assert headers.complete(own) == own
    assert headers.complete(bare).startswith(b"\0\0\0\1\x67new\0\0\0\1\x68own")


@given(st.binary(max_size=300))
def test_noise_holds_parameter_sets_or_none_but_no_error(noise: bytes) -> None:
    assert isinstance(_Headers(_Film()).of(noise), bytes)


@needs("ffmpeg")
def test_adts_is_taken_off_and_its_rate_and_channels_are_in_the_config() -> None:
    for rate, channels in ((48_000, 2), (44_100, 1), (8_000, 1)):
        tone = f"sine=sample_rate={rate}:duration=0.3"
        data = ffmpeg(
            *("-f", "lavfi", "-i", tone, "-ac", str(channels), "-c:a", "aac", "-f", "adts", "-")
        )
        context: Any = av.CodecContext.create("aac", "r")
        context.extradata = audio_specific_config(rate, channels)
        samples = 0
        while data:
            size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
            for frame in context.decode(av.Packet(without_adts(data[:size]))):
                assert (frame.sample_rate, frame.layout.nb_channels) == (rate, channels)
                samples += frame.samples
            data = data[size:]
        assert samples >= 0.29 * rate


@given(st.binary(max_size=40))
def test_noise_is_no_adts_and_no_error(noise: bytes) -> None:
    assert len(without_adts(noise)) <= len(noise)
    assert without_adts(b"\xff\xf1" + bytes(3) + b"\xff\xff" + noise) == b""


def test_what_two_bytes_cannot_say_is_no_config() -> None:
    assert audio_specific_config(44_101, 2) == b""
    assert audio_specific_config(48_000, 7) == b""
    assert audio_specific_config(48_000, 2) == bytes.fromhex("1190")
