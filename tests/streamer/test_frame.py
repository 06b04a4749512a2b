from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import ManualClock, MonotonicClock
from streamer.frame import RTP_TIME_BASE, Frame, Packet, rescale
from streamer.media import Color

TICKS = st.integers(-(10**15), 10**15)
BASES = st.fractions(min_value=Fraction(1, 10**7), max_value=1)


@given(TICKS, BASES, BASES)
def test_rescaling_is_off_by_at_most_half_a_tick(
    ticks: int, source: Fraction, target: Fraction
) -> None:
    moved = rescale(ticks, source, target)
    assert abs(moved * target - ticks * source) <= target / 2


@given(TICKS, BASES, BASES)
def test_rescaling_treats_both_sides_of_zero_alike(
    ticks: int, source: Fraction, target: Fraction
) -> None:
    assert rescale(-ticks, source, target) == -rescale(ticks, source, target)


@given(TICKS, BASES, st.integers(1, 1000))
def test_rescaling_to_a_finer_base_and_back_changes_nothing(
    ticks: int, base: Fraction, finer: int
) -> None:
    assert rescale(rescale(ticks, base, base / finer), base / finer, base) == ticks


def test_half_a_tick_is_rounded_away_from_zero() -> None:
    assert [rescale(n, Fraction(1, 2), Fraction(1)) for n in (-3, -1, 1, 3, 5)] == [-2, -1, 1, 2, 3]
    assert rescale(1001, Fraction(1, 30_000), RTP_TIME_BASE) == 3003


def test_an_input_that_states_no_colour_follows_its_height() -> None:
    assert Color.untagged(719) == Color(matrix="bt601", range="limited")
    assert Color.untagged(720) == Color(matrix="bt709", range="limited")


def frame() -> Frame:
    planes = tuple(np.zeros(shape, np.uint8) for shape in ((90, 160), (45, 80), (45, 80)))
    return Frame(
        planes=planes,  # type: ignore[arg-type]
        pts=7,
        time_base=Fraction(1, 30),
        arrived_ns=0,
        color=Color(matrix="bt709"),
    )


def test_a_frame_knows_its_size_and_its_exact_time() -> None:
    assert (frame().width, frame().height) == (160, 90)
    assert frame().time_s == Fraction(7, 30)


def test_stamps_are_added_to_a_copy() -> None:
    before = frame()
    after = before.stamped("decoded", 5).stamped("enhanced", 9)
    assert before.stamps_ns == {}
    assert after.stamps_ns == {"decoded": 5, "enhanced": 9}
    packet = Packet(payload=b"", pts=3, dts=2, time_base=Fraction(1, 90), arrived_ns=1)
    assert packet.stamped("encoded", 4).stamps_ns == {"encoded": 4}
    assert packet.time_s == Fraction(1, 30)


def test_frames_do_not_change() -> None:
    with pytest.raises(AttributeError):
        frame().pts = 8  # type: ignore[misc]


def test_clocks_do_not_run_backwards() -> None:
    clock = MonotonicClock()
    instants = [clock.now_ns() for _ in range(100)]
    assert instants == sorted(instants)
    manual = ManualClock(5)
    manual.advance_ms(1.5)
    assert manual.now_ns() == 1_500_005
