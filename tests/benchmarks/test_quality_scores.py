"""How frames become means, and how time is taken."""

from __future__ import annotations

import pytest

from benchmarks.quality.scores import Judged, Stopwatch, averages
from streamer.clock import ManualClock


def judged(name: str, psnr_y: list[float], ms: list[float], *, condition: str = "clips") -> Judged:
    return Judged(
        group="set",
        name=name,
        condition=condition,
        width=64,
        height=64,
        frames=len(psnr_y),
        values={"ours": {"psnr_y": psnr_y, "ms": ms}},
    )


ITEMS = [judged("short", [40.0], [1.0]), judged("long", [20.0, 22.0, 24.0], [2.0, 3.0, 90.0])]


def test_every_item_counts_alike_and_milliseconds_are_the_median_over_frames() -> None:
    (average,) = averages(ITEMS)
    assert average["methods"]["ours"] == {"psnr_y": 31.0, "ms": 2.5}
    assert (average["items"], average["frames"]) == (2, 4)


def test_where_asked_every_frame_counts_alike() -> None:
    (average,) = averages(ITEMS, by_frame=("clips",))
    assert average["methods"]["ours"]["psnr_y"] == pytest.approx(26.5)


def test_an_item_without_judged_frames_changes_no_mean() -> None:
    (average,) = averages([*ITEMS, judged("nothing lost", [], [])])
    assert average["methods"]["ours"] == {"psnr_y": 31.0, "ms": 2.5}


def test_sets_and_conditions_are_kept_apart() -> None:
    conditions = [
        a["condition"] for a in averages([*ITEMS, judged("x", [1.0], [1.0], condition="crf23")])
    ]
    assert conditions == ["clips", "crf23"]


def test_only_the_first_call_at_a_size_is_warmed_up() -> None:
    clock, calls = ManualClock(), []

    def work() -> str:
        calls.append(1)
        clock.advance_ms(7)
        return "made"

    watch = Stopwatch(clock)
    assert watch.timed("ours", (2, 2), work) == ("made", 7.0)
    assert len(calls) == 2
    watch.timed("ours", (2, 2), work)
    assert len(calls) == 3
    watch.timed("ours", (4, 4), work)
    assert len(calls) == 5
