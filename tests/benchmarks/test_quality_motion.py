"""Flow, warps, what is made from them, and the measures in time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.quality import methods
from benchmarks.quality.concealment import lost_frames
from benchmarks.quality.flow import Dis, warp, warp_plane
from benchmarks.quality.metrics import psnr
from benchmarks.quality.temporal import Step
from streamer.frame import Planes
from tests.benchmarks.drawn import panned

INNER = (slice(16, -16), slice(16, -16))


def inner_psnr(result: Planes, original: Planes) -> float:
    """Without the edges, behind which nothing is known."""
    return psnr(result[0][INNER], original[0][INNER])


@pytest.mark.parametrize("dis", [Dis("medium"), Dis("fast", part=2)], ids=["medium", "fast half"])
def test_flow_points_from_each_pixel_to_where_its_content_lies(dis: Dis) -> None:
    before, after = panned(0, speed=4)[0], panned(1, speed=4)[0]
    # The camera moves right, so what it sees moves left.
    flow = dis.flow(before, after)[INNER]
    assert float(np.median(flow[..., 0])) == pytest.approx(-4, abs=0.2)
    assert float(np.median(flow[..., 1])) == pytest.approx(0, abs=0.2)


def test_a_warp_fetches_luma_and_chroma_from_the_same_place() -> None:
    first, second = panned(0, speed=4), panned(1, speed=4)
    flow = np.zeros((*first[0].shape, 2), np.float32)
    flow[..., 0] = -4
    # Looking four pixels to the left in the later frame finds the earlier one.
    seen = warp(second, flow)
    assert np.array_equal(seen[0][:, 4:], first[0][:, 4:])
    assert np.array_equal(seen[1][:, 2:], first[1][:, 2:])
    assert np.array_equal(warp_plane(first[0], flow, 0.0), first[0])


def test_in_the_middle_of_a_pan_flow_beats_averaging_beats_repeating() -> None:
    before, original, after = (panned(index) for index in range(3))
    scores = {
        name: inner_psnr(method.between(before, after, 0.5), original)
        for name, method in methods.interpolation_baselines().items()
    }
    assert scores["repetition"] + 1 < scores["averaging"]
    assert scores["averaging"] + 6 < scores["DIS fast, half size"]
    assert scores["averaging"] + 10 < scores["DIS medium, full size"]


@pytest.mark.parametrize("t", [0.25, 0.75])
def test_flow_finds_other_moments_than_the_middle(t: float) -> None:
    before, after = panned(0), panned(4)
    made = methods.DisWarp("medium", part=1).between(before, after, t)
    others = {index: inner_psnr(made, panned(index)) for index in range(5)}
    assert max(others, key=lambda index: others[index]) == round(4 * t)


@pytest.mark.parametrize("step", [Fraction(1), Fraction(2)])
def test_a_pan_goes_on_at_its_speed(step: Fraction) -> None:
    made = methods.DisWarp("medium", part=1).ahead(panned(0), panned(1), float(step))
    others = {index: inner_psnr(made, panned(index)) for index in range(5)}
    assert max(others, key=lambda index: others[index]) == 1 + step
    assert others[int(1 + step)] > 35


def test_the_line_through_two_frames_continues_a_fade_and_is_clipped() -> None:
    def grey(code: int) -> Planes:
        chroma = np.full((4, 4), 128, np.uint8)
        return np.full((8, 8), code, np.uint8), chroma, chroma

    assert np.unique(methods.Blend().ahead(grey(100), grey(110), 1.0)[0]).tolist() == [120]
    assert np.unique(methods.Blend().ahead(grey(100), grey(110), 2.0)[0]).tolist() == [130]
    assert np.unique(methods.Blend().ahead(grey(50), grey(10), 1.0)[0]).tolist() == [0]
    assert np.unique(methods.Blend().between(grey(100), grey(110), 0.5)[0]).tolist() == [105]


def test_the_originals_own_motion_differs_by_nothing() -> None:
    before, after = panned(0)[0], panned(1)[0]
    step = Step(before, after)
    assert step.tof(before, after) == 0.0
    assert step.warping_error(before, after) == step.original_warping_error
    assert step.original_warping_error < 2.0


def test_a_picture_that_stands_still_differs_by_the_whole_motion() -> None:
    before, after = panned(0, speed=4)[0], panned(1, speed=4)[0]
    # Four pixels in x and none in y.
    assert Step(before, after).tof(before, before) == pytest.approx(2.0, abs=0.2)


def test_flicker_costs_warping_error_and_not_flow() -> None:
    before, after = panned(0)[0], panned(1)[0]
    step = Step(before, after)
    lighter = np.minimum(after.astype(int) + 12, 255).astype(np.uint8)
    assert step.warping_error(before, lighter) > step.original_warping_error + 8


def test_losses_have_the_share_and_the_bursts_they_are_announced_with() -> None:
    is_lost = lost_frames(200_000, np.random.default_rng(5))
    starts = np.count_nonzero(is_lost[1:] & ~is_lost[:-1])
    assert not is_lost[:2].any()
    assert is_lost.mean() == pytest.approx(0.05, abs=0.004)
    assert is_lost.sum() / starts == pytest.approx(2.0, abs=0.06)
