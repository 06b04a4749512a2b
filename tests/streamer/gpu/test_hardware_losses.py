"""Streams that lose packets while a device decodes them: pictures are mended all the same."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import av
import numpy as np
import pytest

from streamer import decode_context
from streamer.clock import ManualClock
from streamer.decode import WHOLE_S, Decoder
from streamer.frame import Frame, Packet
from streamer.gpu import hardware
from streamer.gpu.arrays import CPU
from streamer.gpu.door import Gpu
from streamer.gpu.hardware import Intake
from streamer.gpu.pictures import on_device
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from tests.streamer.gpu.emulated import Emulated
from tests.streamer.gpu.test_hardware import NextToHost
from tests.streamer.losses import FRAMES, TICKS, decoded, in_bursts, of_picture, received, video

LATER = WHOLE_S * 30 * TICKS
"""So many ticks must be without loss."""


@pytest.fixture
def gpu(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """A device, for which libav's decoder on the processor stands in as ``NextToHost``."""
    configured = decode_context._configured

    def opened(info: VideoInfo, *_: Any, **__: Any) -> NextToHost:
        context = av.CodecContext.create(info.codec, "r")
        context.copy_opaque = True
        return NextToHost(context, lambda number: None)

    monkeypatch.setattr(decode_context, "open_decoder", opened)
    monkeypatch.setattr(decode_context, "Intake", partial(Intake, kind=CPU))
    monkeypatch.setattr(
        decode_context,
        "_configured",
        lambda c, *a, **k: c if isinstance(c, NextToHost) else configured(c, *a, **k),
    )
    gpu = emulated.gpu()
    yield gpu
    gc.collect()
    gpu.close()
    gpu.device.close()


def decoded_on(gpu: Gpu, packets: list[Packet]) -> dict[int, Frame]:
    """The frames of a live stream, by the number of their picture."""
    decoder = Decoder(video(), low_delay=True, clock=ManualClock(), metrics=Metrics(), gpu=gpu)
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.flush()
    assert decoder.notice == ""
    assert len({frame.pts for frame in frames}) == len(frames)
    return {frame.pts // TICKS: frame for frame in frames}


def there(frames: dict[int, Frame]) -> list[int]:
    """Numbers of those that stayed on the device."""
    return [number for number, frame in frames.items() if on_device(frame.planes) is not None]


def later(packets: list[Packet], ticks: int) -> list[Packet]:
    """The same again, which begins with a keyframe, so much later."""
    return [replace(one, pts=one.pts + ticks, dts=one.dts + ticks) for one in packets]


@pytest.mark.parametrize("slices", [1, 4])
def test_what_lost_packets_is_decoded_and_told_as_on_the_processor(gpu: Gpu, slices: int) -> None:
    for seed in range(3):
        packets = received(slices, in_bursts(slices, seed=seed))
        seen, wanted = decoded_on(gpu, packets), decoded(packets)
        assert list(seen) == list(wanted)
        first = next(number for number, frame in wanted.items() if frame.damage)
        assert there(seen) == [number for number in wanted if number < first]
        for number, frame in wanted.items():
            for one, other in zip(seen[number].planes, frame.planes, strict=True):
                assert np.array_equal(one, other)
            mine, theirs = seen[number].damage, frame.damage
            assert (mine is None) == (theirs is None)
            if mine is None or theirs is None:
                continue
            assert (mine.lost_rows, mine.pictures_since) == (
                theirs.lost_rows,
                theirs.pictures_since,
            )
            assert mine.motion is not None
            assert theirs.motion is not None
            assert np.array_equal(mine.motion.vectors, theirs.motion.vectors)


def test_the_device_goes_on_with_a_keyframe_once_nothing_was_lost_for_a_while(gpu: Gpu) -> None:
    lost = received(1, set(of_picture(20, 1)))
    soon, after = FRAMES * TICKS, LATER + 21 * TICKS
    frames = decoded_on(gpu, lost + later(received(1), soon) + later(received(1), after))
    numbers = [n for n in range(FRAMES) if n != 20]
    numbers += [n + FRAMES for n in range(FRAMES)] + [n + after // TICKS for n in range(FRAMES)]
    assert list(frames) == numbers
    assert there(frames) == [n for n in numbers if n < 20 or n >= after // TICKS]


def test_a_stream_that_loses_all_the_time_stays_on_the_processor(gpu: Gpu) -> None:
    lost = received(1, set(of_picture(20, 1)))
    apart = LATER * 2 // 3
    packets = [one for n in range(4) for one in later(lost, n * apart)]
    assert there(decoded_on(gpu, packets)) == list(range(20))


def test_a_loss_long_after_a_keyframe_is_mended_from_the_next_one_on(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "REPLAYED_PACKETS", 10)
    lost = received(1, set(of_picture(20, 1)))
    frames = decoded_on(gpu, lost + later(lost, FRAMES * TICKS))
    # Decoding all of it again would hold up the stream.
    first = [n for n in range(FRAMES) if n != 20]
    assert there(frames) == first
    told = [frames[n].damage for n in first if n > 20]
    assert all(damage is not None and damage.motion is None for damage in told)
    again = frames[FRAMES + 21].damage
    assert again is not None
    assert again.motion is not None
