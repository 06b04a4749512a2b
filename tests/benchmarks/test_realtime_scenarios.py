"""The arithmetic of the scenarios, on values made for it."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import cv2
import numpy as np
import pytest

from benchmarks.latency.camera import HEAD, Pictures
from benchmarks.latency.rtsp_server import Bursts
from benchmarks.quality.metrics import psnr
from benchmarks.realtime.cuts import FPS, at_cuts, share_of_next
from benchmarks.realtime.doubling import over_time
from benchmarks.realtime.load import back_after_s, worst_p95_ms
from benchmarks.realtime.loss import (
    above_freezing_db,
    gained,
    quality,
    share_frozen,
    waits_in_reach_ms,
)
from benchmarks.realtime.screen import Compared, Screen
from benchmarks.realtime.session import RECENT_S, Sample
from benchmarks.realtime.shown import Shown
from streamer.frame import Plane
from streamer.ops.memory import planes_in
from tests.benchmarks.drawn import texture

S = 1_000_000_000
WIDTH, HEIGHT = 320, 180


def sampled(rates: list[dict[str, int]], *, each_s: float = 0.5) -> list[Sample]:
    """Samples of a streamer that treats and makes so many frames between two of them."""
    total: Counter[str] = Counter()
    samples = [Sample(0, {})]
    for number, counts in enumerate(rates, start=1):
        total.update(counts)
        samples.append(Sample(round(number * each_s * S), dict(total)))
    return samples


GOOD, PLAIN, NONE = {"lite": 15, "interpolated": 15}, {"plain": 15}, {"lite": 15}
BEFORE = [GOOD] * 10


@pytest.mark.parametrize(
    ("after", "back_s"),
    [
        ([GOOD] * 10, 0.0),
        ([PLAIN] * 4 + [GOOD] * 6, 2.0),
        ([PLAIN] * 2 + [NONE] * 2 + [GOOD] * 6, 2.0),
        ([GOOD] + [PLAIN] + [GOOD] * 8, 1.0),
        ([PLAIN] * 9 + [GOOD], None),
        ([PLAIN] * 10, None),
    ],
)
def test_quality_is_back_when_tiers_and_made_frames_come_as_before_and_stay(
    after: list[dict[str, int]], back_s: float | None
) -> None:
    samples = sampled(BEFORE + after)
    found = back_after_s(samples, before_ns=(0, 5 * S), after_ns=(5 * S, 10 * S))
    assert found == back_s


def test_the_worst_of_a_load_is_that_of_samples_which_know_of_nothing_before_it() -> None:
    samples = [Sample(n * S, {}, sent) for n, sent in enumerate([None, 200.0, 70.0, 75.0, 90.0])]
    begin_ns = 3 * S - round(RECENT_S * S)
    assert worst_p95_ms(samples, (begin_ns, 3 * S)) == 75.0
    assert worst_p95_ms(samples, (begin_ns, 4 * S)) == 90.0
    assert worst_p95_ms(samples, (begin_ns - S, 4 * S)) == 90.0
    assert worst_p95_ms(samples, (0, 4 * S)) is None


def test_frames_over_time_are_those_between_two_samples_of_the_span() -> None:
    found = over_time(sampled([PLAIN, GOOD, NONE]), (S // 2, 3 * S // 2))
    assert found == [(0.0, 0.5, GOOD), (0.5, 1.0, NONE)]


def test_the_frozen_share_counts_only_waits_that_are_seen() -> None:
    assert share_frozen([33.3] * 30 + [1001.0]) == pytest.approx(0.5, abs=0.001)
    assert share_frozen([33.3] * 30) == 0
    assert share_frozen([]) is None


def test_waits_in_reach_leave_out_those_in_which_more_than_four_pictures_in_a_row_were_lost() -> (
    None
):
    # 10 to 13 are lost and predicted, unreadable or read as the one before; so are 20 to 23 of 20 to
    # 25, and 24 and 25 are held. 31 is lost and nothing stands for it.
    real = [number for number in range(40) if not 10 <= number < 14 and not 20 <= number < 26]
    real.remove(31)
    read = {n: n for n in real} | {10: 9, 11: -1, 12: -1, 13: 9, 20: 19, 21: -1, 22: -1, 23: -1}
    shown = [Shown(3000 * n, n * S // 30, number, 0, 5.0) for n, number in sorted(read.items())]
    lost = [*range(10, 14), *range(20, 26), 31]
    waits = waits_in_reach_ms(shown, (0, 2 * S), lost=lost)
    # The five distances between 19 and 26 are left out.
    assert len(waits) == len(shown) - 1 - 5
    assert max(waits) == pytest.approx(2 * 1000 / 30, abs=0.01)
    everything = waits_in_reach_ms(shown, (0, 2 * S), lost=[])
    assert max(everything) == pytest.approx(3 * 1000 / 30, abs=0.01)
    assert waits_in_reach_ms(shown, (0, S // 3), lost=lost) == waits[:9]


def test_quality_of_nothing_is_nothing() -> None:
    assert quality([]) == {"n": 0, "mean": None, "p50": None, "p5": None}
    assert quality([30.0, 40.0]) == {"n": 2, "mean": 35.0, "p50": 30.0, "p5": 30.0}


def test_a_network_loses_its_share_in_bursts_of_its_length_and_again_the_same_by_its_seed() -> None:
    def fates(seed: int) -> str:
        bursts = Bursts(share=0.2, mean_packets=4, seed=seed)
        return "".join("x" if bursts.loses_next() else "." for _ in range(100_000))

    one = fates(1)
    lost = one.count("x")
    assert lost / len(one) == pytest.approx(0.2, rel=0.07)
    assert lost / len(list(filter(None, one.split(".")))) == pytest.approx(4, rel=0.07)
    assert one == fates(1)
    assert one != fates(2)


def shot(seed: int) -> Plane:
    return texture(96, 128, seed=seed, sigma=12.0)


def test_a_blend_has_its_share_of_the_next_shot_and_a_copy_none() -> None:
    before, after = shot(1), shot(2)
    for share in (0.0, 0.25, 0.5, 1.0):
        mixed = np.asarray(cv2.addWeighted(before, 1 - share, after, share, 0), dtype=np.uint8)
        assert share_of_next(mixed, before, after) == pytest.approx(share, abs=0.02)
    moved = np.roll(before, 2, axis=1)
    assert share_of_next(moved, before, after) == pytest.approx(0, abs=0.1)
    assert share_of_next(before, before, before) is None


def test_only_what_stands_between_two_shots_is_judged() -> None:
    before, after = shot(1), shot(2)
    blend = np.asarray(cv2.addWeighted(before, 0.5, after, 0.5, 0), dtype=np.uint8)
    pictures = [
        (Fraction(half, 2 * FPS), before if half <= 10 else blend if half == 11 else after)
        for half in range(20)
    ]
    (made,) = at_cuts(pictures, [6, 4])
    assert made.mixed == pytest.approx(0.5, abs=0.02)
    assert made.time_s == pytest.approx(5.5 / FPS)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(width=WIDTH, height=HEIGHT, fps=Fraction(FPS), drawn=12)


def drawn(pictures: Pictures, number: int) -> Plane:
    return planes_in(pictures.picture(number, 0)[HEAD.size :], WIDTH, HEIGHT)[0].copy()


def screen_of(pictures: Pictures) -> Screen:
    return Screen(pictures, width=WIDTH, height=HEIGHT, interval=Fraction(1, FPS))


def test_a_picture_that_stands_for_lost_ones_is_compared_with_each_of_them(
    pictures: Pictures,
) -> None:
    screen = screen_of(pictures)
    assert screen.see(drawn(pictures, 3), ticks=9000, number=3) == [(3, 99.0, ())]
    found = {one.number: one for one in screen.see(drawn(pictures, 6), ticks=18_000, number=6)}
    assert list(found) == [4, 5, 6]
    assert found[6] == (6, 99.0, ())
    assert found[5].db < found[4].db < 60
    # Frozen it was: since the moment before, and since both before.
    assert found[4].frozen_db == (found[4].db,)
    assert found[5].frozen_db == (found[5].db, found[5].db)


def test_a_made_picture_stands_for_its_time_whatever_it_reads(pictures: Pictures) -> None:
    for number in (-1, 3):
        screen = screen_of(pictures)
        screen.see(drawn(pictures, 3), ticks=9000, number=3)
        ((of, db, frozen_db),) = screen.see(drawn(pictures, 4), ticks=12_000, number=number)
        assert (of, db) == (4, 99.0)
        assert list(frozen_db) == [pytest.approx(psnr_of(pictures, 3, 4), abs=0.01)]


def test_what_a_freeze_would_have_been_worth_is_told_of_as_many_moments_as_are_made_up_for(
    pictures: Pictures,
) -> None:
    screen = screen_of(pictures)
    for number in range(6):
        screen.see(drawn(pictures, number), ticks=3000 * number, number=number)
    (one,) = screen.see(drawn(pictures, 5), ticks=18_000, number=-1)
    wanted = [psnr_of(pictures, number, 6) for number in (5, 4, 3, 2)]
    assert one.frozen_db == pytest.approx(wanted, abs=0.01)


def psnr_of(pictures: Pictures, shown: int, wanted: int) -> float:
    """Of one of the camera's pictures in place of another, below the counter."""
    below = slice(HEIGHT // 8, None)
    return psnr(drawn(pictures, shown)[below], drawn(pictures, wanted)[below])


def test_lost_pictures_are_compared_with_the_one_that_stood_before_the_first_of_them() -> None:
    # 10 and 11 are lost together, of 20 to 25 the last two are held; 31 came in time after all; of 40
    # nothing is known.
    compared = [Compared(n, 30.0 + n, tuple(20.0 + n - k for k in range(4))) for n in range(10, 26)]
    compared.append(Compared(31, 35.0, ()))
    found = above_freezing_db(compared, lost=[10, 11, *range(20, 26), 31, 40])
    assert found == [[10.0, 10.0], [11.0, 11.0], [12.0], [13.0]]
    assert above_freezing_db([], lost=[1, 2]) == [[], [], [], []]


def test_what_stood_in_is_told_with_how_often_it_was_worse_and_how_often_nothing_did() -> None:
    found = gained([[3.0, 0.0, -1.0], [2.0], [], []])
    assert (found["n"], found["mean"]) == (4, 1.0)
    assert (found["worse_share"], found["nothing_stood_in_share"]) == (0.25, 0.25)
    assert [step["n"] for step in found["by_step"]] == [3, 1, 0, 0]
    assert gained([[], []])["worse_share"] is None


def test_an_enlarged_picture_is_compared_at_the_cameras_size(pictures: Pictures) -> None:
    large = cv2.resize(drawn(pictures, 2), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found = screen_of(pictures).see(np.asarray(large, dtype=np.uint8), ticks=0, number=2)
    assert found == [(2, 99.0, ())]


def test_before_a_number_was_read_nothing_is_compared(pictures: Pictures) -> None:
    assert screen_of(pictures).see(drawn(pictures, 2), ticks=0, number=-1) == []
