from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from streamer.clock import ManualClock
from streamer.frame import RTP_TIME_BASE, Frame, Origin
from streamer.hold import EVERY_NS, HOLD_AFTER_S, SLATE_AFTER_S, Hold, slate
from tests.streamer.pictures import frame_of, noise


def shown_frame(pts: int = 900_000) -> Frame:
    picture = frame_of(noise(width=320, height=180), pts=pts)
    return replace(picture, time_base=RTP_TIME_BASE)


def test_nothing_is_made_before_a_first_picture() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(30))
    clock.advance_ms(60_000)
    assert hold.make() is None


def test_a_short_wait_is_no_break() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(30))
    hold.shown(shown_frame())
    clock.advance_ms(1000 * HOLD_AFTER_S - 1)
    assert hold.make() is None
    assert hold.next_ns == clock.now_ns() + 1_000_000


def test_the_last_picture_is_held_at_the_time_it_is_now() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(30))
    last = shown_frame()
    hold.shown(last)
    clock.advance_ms(1500)
    held = hold.make()
    assert held is not None
    assert held.time_s == last.time_s + Fraction(3, 2)
    assert held.planes is last.planes
    assert held.origin is Origin.REPEATED
    assert held.arrived_ns == clock.now_ns()
    assert hold.next_ns == clock.now_ns() + EVERY_NS


def test_held_frames_run_forward_and_a_real_one_ends_them() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(30))
    hold.shown(shown_frame())
    clock.advance_ms(1000)
    times = []
    for _ in range(40):
        held = hold.make()
        assert held is not None
        times.append(held.pts)
        clock.advance_ms((hold.next_ns - clock.now_ns()) / 1e6)
    assert times == sorted(set(times))
    hold.shown(shown_frame(pts=times[-1] + 18_000))
    assert hold.make() is None


def test_a_slow_camera_is_not_silent_between_two_pictures() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(1, 2))
    hold.shown(shown_frame())
    clock.advance_ms(4_000)
    assert hold.make() is None
    clock.advance_ms(2_100)
    assert hold.make() is not None


def test_after_a_while_the_picture_becomes_a_slate_which_is_drawn_once() -> None:
    clock = ManualClock()
    hold = Hold(clock, fps=Fraction(30))
    last = shown_frame()
    hold.shown(last)
    clock.advance_ms(1000 * SLATE_AFTER_S)
    first, second = hold.make(), hold.make()
    assert first is not None
    assert second is not None
    assert first.planes is second.planes
    assert first.planes[0].shape == last.planes[0].shape
    assert first.planes[0].mean() < last.planes[0].mean() / 2


def test_a_slate_is_dark_and_grey_and_says_what_is_wrong() -> None:
    y, u, v = slate(noise(width=640, height=360), black=16)
    assert (u == 128).all()
    assert (v == 128).all()
    assert y[:100].max() < 120
    assert np.count_nonzero(y[150:210] > 200) > 500
    assert y.min() >= 16 - 6  # noise holds codes below black
