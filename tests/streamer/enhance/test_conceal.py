from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest

from streamer.enhance.conceal import FEATHER, Concealer, Predict
from streamer.frame import CodedMotion, Damage, Frame, Planes
from streamer.metrics import Metrics
from tests.streamer.losses import (
    FRAMES,
    HEIGHT,
    decoded,
    in_bursts,
    moved_on,
    of_picture,
    psnr,
    received,
)


def mended(
    frames: dict[int, Frame], *, predict: Predict = moved_on, metrics: Metrics | None = None
) -> dict[int, Frame]:
    concealer = Concealer(predict, metrics or Metrics())
    return {number: concealer.mend(frames[number]) for number in sorted(frames)}


def quality(shown: dict[int, Frame], whole: dict[int, Frame], of: Collection[int]) -> float:
    """Mean PSNR in dB; a picture that is not there is the last one again."""
    values = []
    for number in sorted(of):
        last = max(one for one in shown if one <= number)
        values.append(psnr(shown[last].planes[0], whole[number].planes[0]))
    return float(np.mean(values))


def never(earlier: Planes, last: Planes, step: float) -> Planes:
    raise AssertionError("nothing was to be predicted")


def test_pictures_without_damage_pass_as_they_are() -> None:
    frames = decoded(received(1))
    shown = mended(frames, predict=never)
    assert all(shown[number] is frame for number, frame in frames.items())


@pytest.mark.parametrize("slices", [1, 4])
def test_bursts_of_loss_cost_less_than_what_the_decoder_shows_and_far_less_than_freezing(
    slices: int,
) -> None:
    """At 5 % loss the goal is 2 dB over showing the last good picture."""
    whole = decoded(received(slices))
    over_decoded, over_freezing = [], []
    for seed in range(6):
        frames = decoded(received(slices, in_bursts(slices, seed=seed)))
        good = {number: frame for number, frame in frames.items() if frame.damage is None}
        hit = [number for number in range(FRAMES) if number not in good]
        if hit:
            ours = quality(mended(frames), whole, hit)
            over_decoded.append(ours - quality(frames, whole, hit))
            over_freezing.append(ours - quality(good, whole, hit))
    assert np.mean(over_decoded) > 1.0
    assert min(over_freezing) > 2.0


def test_the_traces_of_a_lost_picture_go_away() -> None:
    whole = decoded(received(1))
    frames = decoded(received(1, set(of_picture(10, 1))))
    assert 10 not in frames
    metrics = Metrics()
    shown = mended(frames, metrics=metrics)
    for number in (11, 14, 19):
        wanted = whole[number].planes[0]
        gain = psnr(shown[number].planes[0], wanted) - psnr(frames[number].planes[0], wanted)
        assert gain > 3.0
    assert metrics.counted("concealed.damaged") == FRAMES - 11


def test_what_was_coded_without_another_picture_has_no_traces() -> None:
    frames = decoded(received(1, set(of_picture(10, 1))))
    damage = frames[15].damage
    assert damage is not None
    assert damage.motion is not None
    anew = CodedMotion(damage.motion.vectors, np.zeros_like(damage.motion.is_inter))
    frames[15] = replace(frames[15], damage=replace(damage, motion=anew))
    shown = mended(frames)
    assert shown[14] is not frames[14]
    assert shown[15] is frames[15]
    assert shown[16] is frames[16]


def test_lost_rows_are_predicted_and_all_others_stay() -> None:
    whole = decoded(received(4))
    packets = of_picture(10, 4)
    frames = decoded(received(4, {packets[len(packets) // 2]}))
    shown = mended(frames)[10].planes
    damage = frames[10].damage
    assert damage is not None
    ((first, end),) = damage.lost_rows
    wanted = whole[10].planes[0][first:end]
    assert psnr(shown[0][first:end], wanted) > psnr(frames[10].planes[0][first:end], wanted) + 3
    for part in (slice(0, first - FEATHER), slice(end + FEATHER, HEIGHT)):
        assert np.array_equal(shown[0][part], frames[10].planes[0][part])
    # A keyframe ends it all, without a trace.
    key = replace(frames[20], damage=None)
    assert mended(frames | {20: key})[20] is key


def test_a_prediction_that_shows_another_scene_is_not_used() -> None:
    packets = of_picture(10, 4)
    frames = decoded(received(4, {packets[len(packets) // 2]}))

    def inverted(earlier: Planes, last: Planes, step: float) -> Planes:
        return 255 - last[0], last[1].copy(), last[2].copy()

    shown = mended(frames, predict=inverted)
    assert shown[10] is frames[10]


def test_where_the_decoder_tells_no_motion_its_picture_is_shown() -> None:
    frames = decoded(received(1, set(of_picture(10, 1))))
    untold = {
        number: replace(frame, damage=frame.damage and replace(frame.damage, motion=None))
        for number, frame in frames.items()
    }
    shown = mended(untold)
    assert all(shown[number] is frame for number, frame in untold.items())


def test_another_size_and_the_first_picture_are_taken_as_they_are() -> None:
    frames = decoded(received(1))
    concealer = Concealer(never, Metrics())
    hurt = Damage(pictures_since=0, follows_loss=True, lost_rows=((0, 16),))
    first = replace(frames[0], damage=hurt)
    assert concealer.mend(first) is first
    y, u, v = frames[1].planes
    smaller = replace(frames[1], planes=(y[:96], u[:48], v[:48]), damage=hurt)
    assert concealer.mend(smaller) is smaller


def test_a_long_gap_is_predicted_no_further_than_four_pictures() -> None:
    asked: list[float] = []

    def noted(earlier: Planes, last: Planes, step: float) -> Planes:
        asked.append(step)
        return moved_on(earlier, last, step)

    lost = {index for number in range(10, 16) for index in of_picture(number, 1)}
    mended(decoded(received(1, lost)), predict=noted)
    assert asked == [4.0]


@pytest.mark.parametrize("apart", [2, 5, 6, 15])
def test_a_loss_just_when_a_slow_source_becomes_fast_ends_nothing(apart: int) -> None:
    """Pictures were ten ticks apart: one that comes sooner than five after the last misses none."""
    frames = decoded(received(1, set(of_picture(10, 1))))
    slow = {
        number: replace(frame, pts=10 * number if number < 10 else 90 + apart * (number - 10))
        for number, frame in frames.items()
    }
    metrics = Metrics()
    shown = mended(slow, metrics=metrics)
    misses_one = apart >= 15
    assert (shown[11] is not slow[11]) == misses_one
    assert bool(metrics.counted("concealed.damaged")) == misses_one
