"""For how long a picture stands when frames are lost, on a modelled line and a modelled worker."""

from __future__ import annotations

from statistics import median

import pytest

from streamer.frame import Origin
from tests.streamer.losses import FRAMES, decoded, of_picture, received
from tests.streamer.viewer_model import Arrival, Line, Seen, Stream

INTERVAL_MS = 1000 / 30


def steady(count: int, *, lost: frozenset[int] = frozenset()) -> list[Arrival]:
    return [Arrival(n, n * INTERVAL_MS) for n in range(count) if n not in lost]


def longest(seen: Seen) -> float:
    """In intervals of the source."""
    return max(seen.stands_ms) / INTERVAL_MS


@pytest.mark.parametrize("stand_in_ms", [2.0, 10.0, 24.0])
@pytest.mark.parametrize("in_a_row", [1, 2, 3, 4])
def test_no_picture_stands_longer_than_two_intervals_where_up_to_four_frames_are_lost(
    in_a_row: int, stand_in_ms: float
) -> None:
    lost = frozenset(n for start in (40, 60, 90) for n in range(start, start + in_a_row))
    seen = Stream(stand_in_ms=stand_in_ms).watch(steady(120, lost=lost))
    assert seen.count(Origin.PREDICTED) == len(lost)
    assert longest(seen) <= 2.0
    assert longest(Stream(conceals=False).watch(steady(120, lost=lost))) >= 0.9 + in_a_row


@pytest.mark.parametrize("lost", [{16}, {14, 15, 16, 17}, {15, 16, 31, 32, 33}])
def test_what_a_decoder_makes_of_lost_h264_pictures_stands_no_longer_either(lost: set[int]) -> None:
    """At the 16th and 32nd frame numbers begin anew."""
    pieces = {index for number in lost for index in of_picture(number, 1)}
    arrivals = [
        Arrival(number, number * INTERVAL_MS, is_damaged=frame.damage is not None)
        for number, frame in decoded(received(1, pieces)).items()
    ]
    seen = Stream().watch(arrivals)
    assert longest(seen) <= 2.0
    assert len(seen.shown) == FRAMES


def test_more_than_four_in_a_row_are_held_after_the_fourth() -> None:
    seen = Stream().watch(steady(120, lost=frozenset(range(60, 68))))
    assert seen.count(Origin.PREDICTED) == 4
    assert longest(seen) <= 8 - 4 + 1


def test_a_frame_that_is_only_late_is_shown_and_no_other_stands_in_for_it() -> None:
    arrivals = [Arrival(n, n * INTERVAL_MS + (12 if n in (50, 70, 71) else 0)) for n in range(120)]
    seen = Stream(stand_in_ms=10).watch(arrivals)
    assert seen.count(Origin.PREDICTED) == 0
    assert seen.count(Origin.DECODED) == 120


def test_a_line_with_jitter_makes_nothing_stand_in() -> None:
    seen = Stream(stand_in_ms=25).watch(Line(share=0.0, jitter_ms=12, seed=3).arrivals(300))
    assert seen.count(Origin.PREDICTED) <= 6
    assert len(seen.shown) == 300


@pytest.mark.parametrize("reorder_ms", [0.0, 50.0])
@pytest.mark.parametrize("stand_in_ms", [10.0, 24.0])
def test_of_five_percent_lost_in_bursts_hardly_any_picture_stands_longer_than_two_intervals(
    stand_in_ms: float, reorder_ms: float
) -> None:
    arrivals = Line(reorder_ms=reorder_ms, seed=1).arrivals(900)
    seen = Stream(stand_in_ms=stand_in_ms).watch(arrivals)
    without = Stream(conceals=False).watch(arrivals)
    stood, stood_without = (
        sum(stand > 2.1 * INTERVAL_MS for stand in each.stands_ms) for each in (seen, without)
    )
    assert stood <= 5
    assert stood_without >= 10 * max(stood, 3)
    assert longest(seen) <= 2.8
    assert longest(seen) < 0.75 * longest(without)


def test_where_making_takes_longer_than_an_interval_the_output_does_not_fall_behind() -> None:
    lost = frozenset(range(60, 64))
    seen = Stream(stand_in_ms=50).watch(steady(120, lost=lost))
    real = [at - frame.arrived_ns / 1e6 for frame, at in seen.shown[-40:]]
    assert seen.count(Origin.PREDICTED) <= 3
    assert max(real) < INTERVAL_MS


def test_where_all_that_is_done_takes_as_long_as_it_does_on_two_cores_two_intervals_are_kept() -> (
    None
):
    """Costs and their spread as traced while a camera lost packets; 5 ms are waited for a gap."""
    longest_of_turns, stood = [], 0
    for seed in range(1, 6):
        arrivals = Line(reorder_ms=5.0, jitter_ms=2.0, seed=seed).arrivals(900)
        stream = Stream(real_ms=10.0, mend_ms=9.5, stand_in_ms=10.5, encode_ms=4.5, spread=0.25)
        seen = stream.watch(arrivals)
        longest_of_turns.append(longest(seen))
        stood += sum(stand > 2 * INTERVAL_MS for stand in seen.stands_ms)
    assert median(longest_of_turns) <= 2.0
    assert stood <= 3
