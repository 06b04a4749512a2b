"""Packets that never came: what the decoder makes of the rest, and what it says about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.frame import Packet
from streamer.metrics import Metrics
from tests.streamer.losses import (
    FRAMES,
    SPEED,
    TICKS,
    decoded,
    in_bursts,
    of_picture,
    psnr,
    received,
)
from tests.streamer.test_decode_restart import coded as drawn_as
from tests.streamer.test_decode_restart import described


def test_a_stream_without_loss_says_nothing_of_damage() -> None:
    frames = decoded(received(1))
    assert [frame.damage for frame in frames.values()] == [None] * len(frames)


def test_the_rows_that_the_decoder_made_up_are_told() -> None:
    slices = 4
    packets = of_picture(10, slices)
    whole = decoded(received(slices))
    frames = decoded(received(slices, {packets[len(packets) // 2]}))
    damage = frames[10].damage
    assert damage is not None
    (rows,) = damage.lost_rows
    is_wrong = (frames[10].planes[0] != whole[10].planes[0]).any(axis=1)
    # Deblocking changes up to three rows beyond the edge of a slice.
    assert not is_wrong[: rows[0] - 3].any()
    assert not is_wrong[rows[1] + 3 :].any()
    assert is_wrong[rows[0] + 4 * 16 : rows[1]].all()
    assert rows[1] - rows[0] < 96


def test_what_follows_a_loss_is_damaged_up_to_the_next_keyframe() -> None:
    packets = received(1, set(of_picture(10, 1)))
    frames = decoded(packets)
    assert 10 not in frames
    assert all(frames[n].damage is None for n in range(10))
    told = [frames[n].damage for n in range(11, 14)]
    assert [damage and damage.pictures_since for damage in told] == [0, 1, 2]
    assert [damage and damage.follows_loss for damage in told] == [True, False, False]
    again = [replace(one, is_keyframe=one.pts == 20 * 3000) for one in packets]
    frames = decoded(again)
    assert frames[19].damage is not None
    assert frames[20].damage is None


@pytest.mark.parametrize("lost", [(16,), (14, 15, 16, 17), (15, 31, 32)])
def test_where_frame_numbers_begin_anew_all_that_came_is_shown(lost: tuple[int, ...]) -> None:
    """Every 16th picture; see Note [Missing frame numbers] in rtp/h264_missing.py."""
    metrics = Metrics()
    packets = received(1, {index for number in lost for index in of_picture(number, 1)})
    frames = decoded(packets, metrics=metrics)
    assert list(frames) == [number for number in range(FRAMES) if number not in lost]
    assert [frame.pts for frame in frames.values()] == [packet.pts for packet in packets]
    damaged = {number: frame.damage for number, frame in frames.items() if frame.damage}
    assert list(damaged) == [number for number in frames if number > lost[0]]
    after = {number + 1 for number in lost} - set(lost)
    assert {number for number, damage in damaged.items() if damage.follows_loss} == after
    assert metrics.counted("dropped.decode.refused") == 0


@pytest.mark.parametrize("slices", [1, 4])
def test_whatever_was_lost_all_that_came_is_shown_once_and_in_order(slices: int) -> None:
    for seed in range(6):
        lost = in_bursts(slices, seed=seed, share=0.3, mean=20.0)
        packets = received(slices, lost)
        assert list(decoded(packets)) == [packet.pts // TICKS for packet in packets]


def test_a_damaged_picture_tells_where_each_block_came_from() -> None:
    frames = decoded(received(1, set(of_picture(10, 1))))
    damage = frames[20].damage
    assert damage is not None
    assert damage.motion is not None
    vectors = damage.motion.vectors[damage.motion.is_inter == 1]
    assert len(vectors) > 0.9 * damage.motion.is_inter.size
    # The scene goes to the left and up, so that a block comes from the right and from below.
    assert np.median(vectors, axis=0) == pytest.approx(SPEED, abs=0.3)


@pytest.mark.parametrize("slices", [1, 4])
def test_what_came_of_a_damaged_picture_is_better_than_leaving_it_out(slices: int) -> None:
    gains = []
    for seed in range(4):
        packets = received(slices, in_bursts(slices, seed=seed))
        whole = decoded(received(slices))
        shown = decoded(packets)
        without = decoded([one for one in packets if not one.is_damaged])
        for n in sorted(n for n in shown.keys() & without.keys() if shown[n].damage):
            wanted = whole[n].planes[0]
            gains.append(psnr(shown[n].planes[0], wanted) - psnr(without[n].planes[0], wanted))
    assert len(gains) > 60
    assert np.mean(gains) > 1.0


def test_vp8_shows_nothing_between_a_loss_and_the_next_keyframe() -> None:
    packets: list[Packet] = list(drawn_as("libvpx", width=160, height=96, frames=8, first_pts=0))
    packets[3] = replace(packets[3], follows_loss=True)
    packets[6] = replace(packets[6], is_keyframe=True)
    metrics = Metrics()
    frames = _vp8(packets, metrics)
    assert frames == [0, 1, 2, 6, 7]
    assert metrics.counted("dropped.decode.after_loss") == 3


def _vp8(packets: list[Packet], metrics: Metrics) -> list[int]:
    decoder = Decoder(
        described("vp8", packets[0]), low_delay=True, clock=ManualClock(), metrics=metrics
    )
    return [frame.pts // 3000 for packet in packets for frame in decoder.decode(packet)]
