from __future__ import annotations

import cv2
import numpy as np

from benchmarks.quality.methods import STEADYING, shipped
from benchmarks.quality.temporal import Step
from benchmarks.quality.upscaling import PlainUpscaler, SteadyUpscaler
from streamer.frame import Planes
from tests.benchmarks.drawn import panned, texture


def coded(seed: int) -> Planes:
    """A still picture of 96x128 whose codes a coder left one off here and there."""
    y = texture(96, 128, sigma=6.0)
    off = np.random.default_rng(seed).integers(-1, 2, y.shape)
    grey = np.full((48, 64), 128, np.uint8)
    return (y + off).astype(np.uint8), grey, grey.copy()


def test_still_change_is_what_flickers_where_the_originals_stand_still() -> None:
    original = texture(96, 128)
    lighter = original.copy()
    lighter[:, :64] += 10
    step = Step(original, original)
    assert step.still_change(original, original) == 0.0
    assert step.still_change(original, lighter) == 5.0
    half = Step(original, lighter).still_change(original, lighter)
    assert half is not None
    assert half < 0.5


def test_where_all_of_the_original_moves_there_is_no_still_change() -> None:
    before, after = panned(0)[0], panned(8)[0]
    is_moving = cv2.blur(cv2.absdiff(before, after).astype(np.float32), (7, 7)).min() >= 1.0
    assert is_moving
    assert Step(before, after).still_change(before, after) is None


def test_a_steady_upscaler_changes_less_from_frame_to_frame_and_begins_anew_after_a_reset() -> None:
    followers, _ = shipped(STEADYING)
    plain = PlainUpscaler(2)
    steady = SteadyUpscaler(plain, followers["steady-lite"])
    first, second = coded(1), coded(2)
    alone = steady.upscale(second)[0]
    steady.reset()
    before = steady.upscale(first)[0]
    result = steady.upscale(second)[0]
    came = [plain.upscale(planes)[0].astype(int) for planes in (first, second)]
    assert np.abs(result.astype(int) - before).mean() < 0.8 * np.abs(came[1] - came[0]).mean()
    steady.reset()
    assert np.array_equal(steady.upscale(second)[0], alone)
