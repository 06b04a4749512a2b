"""Sound coded anew: at its own time, as long as it was, whatever happens to it."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.audio_transcode import AUDIO_REFUSED, AudioTranscoder, Target
from tests.programs import needs
from tests.streamer.sinks.test_audio_format import coded, opened

RATE_HZ = 48_000

PCM = AudioInfo(codec="pcm_s16le", rate_hz=RATE_HZ, channels=1, time_base=Fraction(1, RATE_HZ))


def clicks(*, seconds: float, every_s: float = 0.5) -> NDArray[np.int16]:
    """Silence with a click of one millisecond at every half second."""
    samples = np.zeros(round(seconds * RATE_HZ), np.int16)
    for begin in range(0, len(samples), round(every_s * RATE_HZ)):
        samples[begin : begin + 48] = 20_000
    return samples


def packets_of(
    samples: NDArray[np.int16], *, first_pts: int = 0, rate: float = 1.0, length: int = 960
) -> list[Packet]:
    """PCM packets of 20 ms whose times run ``rate`` times as fast as their samples."""
    return [
        Packet(
            payload=samples[begin : begin + length].tobytes(),
            pts=first_pts + round(begin * rate),
            dts=first_pts + round(begin * rate),
            duration=length,
            time_base=Fraction(1, RATE_HZ),
            arrived_ns=begin,
            stream="audio",
        )
        for begin in range(0, len(samples), length)
    ]


def through(transcoder: AudioTranscoder, packets: list[Packet]) -> list[Packet]:
    coded = [out for packet in packets for out in transcoder.transcode(packet)]
    return coded + transcoder.flush()


def heard(transcoder: AudioTranscoder, packets: list[Packet]) -> tuple[Fraction, NDArray[Any]]:
    """When what a player hears begins, and its samples, mono.

    Decoded without knowledge of the encoder's delay, as over RTP: each packet's own time counts.
    """
    context: Any = av.CodecContext.create(transcoder.audio.codec, "r")
    if transcoder.audio.codec == "aac":
        context.extradata = transcoder.audio.extradata
    context.sample_rate = transcoder.audio.rate_hz
    context.layout = "mono" if transcoder.audio.channels == 1 else "stereo"
    planes = []
    for packet in packets:
        native: Any = av.Packet(bytes(packet.payload))
        native.pts, native.time_base = packet.pts, packet.time_base
        for frame in context.decode(native):
            values = frame.to_ndarray()
            if not frame.format.is_planar:
                values = values.reshape(-1, transcoder.audio.channels).T
            planes.append(values[0].astype(np.float64))
    return packets[0].time_s, np.concatenate(planes)


def click_times(begin_s: Fraction, samples: NDArray[Any]) -> list[float]:
    loud = np.abs(samples) > np.abs(samples).max() * 0.4
    times: list[float] = []
    for index in np.flatnonzero(loud):
        at_s = float(begin_s) + index / RATE_HZ
        if not times or at_s - times[-1] > 0.1:
            times.append(at_s)
    return times


@pytest.mark.parametrize("target", ["aac", "opus"])
@pytest.mark.parametrize("first_pts", [0, 12_345, 48_000 * 3600])
def test_each_sample_keeps_its_moment(target: Target, first_pts: int) -> None:
    transcoder = AudioTranscoder(PCM, target)
    packets = through(transcoder, packets_of(clicks(seconds=3), first_pts=first_pts))
    found = click_times(*heard(transcoder, packets))
    wanted = [first_pts / RATE_HZ + n * 0.5 for n in range(6)]
    assert len(found) == len(wanted)
    assert all(abs(at - want) < 0.002 for at, want in zip(found, wanted, strict=True))


@pytest.mark.parametrize(("target", "samples"), [("aac", 1024), ("opus", 960)])
def test_packets_follow_each_other_without_a_hole(target: Target, samples: int) -> None:
    transcoder = AudioTranscoder(PCM, target)
    packets = through(transcoder, packets_of(clicks(seconds=2), first_pts=777))
    times = [packet.pts for packet in packets]
    assert times == list(range(times[0], times[0] + samples * len(times), samples))
    assert all(packet.time_base == Fraction(1, RATE_HZ) for packet in packets)
    assert packets[0].stream == "audio"
    assert (transcoder.audio.codec, transcoder.audio.rate_hz) == (target, RATE_HZ)
    # All of it is there: the delay lies before the first sample.
    assert packets[-1].time_s + Fraction(samples, RATE_HZ) >= 2 + Fraction(777, RATE_HZ)
    assert packets[0].pts < 777


def test_a_clock_that_runs_fast_does_not_drift_away() -> None:
    transcoder = AudioTranscoder(PCM, "opus")
    # One in a thousand: after a minute the sound would be 60 ms off.
    given_ = packets_of(clicks(seconds=60), rate=1.001)
    packets = through(transcoder, given_)
    last = given_[-1].time_s + Fraction(960, RATE_HZ)
    ahead_s = last - (packets[-1].time_s + Fraction(960, RATE_HZ))
    assert abs(ahead_s) < Fraction(30, 1000)
    found = click_times(*heard(transcoder, packets))
    assert len(found) == 120
    assert all(abs(at - n * 0.5 * 1.001) < 0.015 for n, at in enumerate(found))


def test_a_short_hole_is_filled_with_silence() -> None:
    transcoder = AudioTranscoder(PCM, "opus")
    whole = packets_of(clicks(seconds=3))
    packets = through(transcoder, [p for p in whole if not 1.1 <= p.time_s < 1.4])
    times = [packet.pts for packet in packets]
    assert all(after - before == 960 for before, after in pairwise(times))
    found = click_times(*heard(transcoder, packets))
    assert len(found) == 6
    assert all(abs(at - n * 0.5) < 0.002 for n, at in enumerate(found))


def test_after_a_long_hole_the_time_jumps_and_nothing_is_made_up() -> None:
    transcoder = AudioTranscoder(PCM, "opus")
    before, after = packets_of(clicks(seconds=1)), packets_of(clicks(seconds=1))
    hour = 3600 * RATE_HZ
    later = [
        Packet(
            payload=p.payload,
            pts=p.pts + hour,
            dts=p.dts + hour,
            duration=960,
            time_base=p.time_base,
            arrived_ns=0,
            stream="audio",
        )
        for p in after
    ]
    packets = through(transcoder, before + later)
    assert len(packets) < 110
    times = [packet.pts for packet in packets]
    assert times == sorted(set(times))
    assert sum(pts > hour - 1000 for pts in times) >= 50


def test_sound_that_comes_twice_is_heard_once() -> None:
    transcoder = AudioTranscoder(PCM, "aac")
    whole = packets_of(clicks(seconds=3))
    packets = through(transcoder, whole + whole)
    times = [packet.pts for packet in packets]
    assert times == sorted(set(times))
    assert packets[-1].time_s < 3.2


def test_damaged_packets_are_counted_and_the_rest_is_heard() -> None:
    opus = AudioTranscoder(PCM, "opus")
    good = through(opus, packets_of(clicks(seconds=1)))
    metrics = Metrics()
    again = AudioTranscoder(opus.audio, "aac", refused=partial(metrics.count, AUDIO_REFUSED))
    broken = [
        packet
        if n % 10
        else Packet(
            payload=b"\xff\xff\xff",
            pts=packet.pts,
            dts=packet.dts,
            time_base=packet.time_base,
            arrived_ns=0,
            stream="audio",
        )
        for n, packet in enumerate(good)
    ]
    packets = through(again, broken)
    assert metrics.counted(AUDIO_REFUSED) == len(range(0, len(good), 10))
    assert packets[-1].time_s > 0.9


@given(st.lists(st.tuples(st.integers(-200_000, 400_000), st.binary(max_size=64)), max_size=30))
# Damage that changes the shape of the sound in the middle.
@example([(0, b"\0"), (0, b"\1\0\0"), (0, b"\1\0\0")])
@settings(max_examples=30, deadline=None)
def test_any_times_and_bytes_are_survived(steps: list[tuple[int, bytes]]) -> None:
    audio = AudioInfo(codec="opus", rate_hz=RATE_HZ, channels=2, time_base=Fraction(1, RATE_HZ))
    transcoder = AudioTranscoder(audio, "aac")
    pts, packets = 0, []
    for step, payload in steps:
        pts += step
        packets += transcoder.transcode(
            Packet(
                payload=payload,
                pts=pts,
                dts=pts,
                time_base=Fraction(1, RATE_HZ),
                arrived_ns=0,
                stream="audio",
            )
        )
    times = [packet.pts for packet in packets + transcoder.flush()]
    assert times == sorted(set(times))


def test_telephone_sound_becomes_what_every_player_takes() -> None:
    audio = AudioInfo(codec="pcm_mulaw", rate_hz=8000, channels=1, time_base=Fraction(1, 8000))
    transcoder = AudioTranscoder(audio, "aac")
    assert (transcoder.audio.rate_hz, transcoder.audio.channels) == (48_000, 1)


def test_a_codec_that_cannot_be_decoded_is_said() -> None:
    audio = AudioInfo(codec="no-codec", rate_hz=8000, channels=1, time_base=Fraction(1, 8000))
    with pytest.raises(SinkError, match="no-codec audio cannot be decoded here; let the source"):
        AudioTranscoder(audio, "aac")


@needs("ffmpeg")
@pytest.mark.parametrize("codec", ["opus", "aac", "vorbis", "flac", "mp3", "pcm_alaw", "wmav2"])
def test_what_a_file_holds_is_coded_anew_at_the_same_time(codec: str, tmp_path: Path) -> None:
    container, audio, packets = opened(coded(tmp_path, codec))
    with container:
        metrics = Metrics()
        refused = partial(metrics.count, AUDIO_REFUSED)
        out = through(AudioTranscoder(audio, "aac", refused=refused), packets)
    assert metrics.counted(AUDIO_REFUSED) == 0
    begin_s = packets[0].time_s
    # The encoder's delay lies before; WMA's decoder gives nothing for its first packet.
    assert -0.05 < out[0].time_s - begin_s < (0.1 if codec == "wmav2" else 0.05)
    assert abs(out[-1].time_s - 1) < 0.1
