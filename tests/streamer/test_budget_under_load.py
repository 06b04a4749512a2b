"""From arrived to left, through everything in between: the budget while a machine is busy."""

from __future__ import annotations

import pytest

from tests.streamer.stream_model import BUDGET_MS, Doubled, Left


def loaded(load: float, *, seed: int = 1) -> Left:
    """Eight seconds under a load, after seven without: what was held for five was kept."""
    model = Doubled(load=lambda time_s: load if 7 <= time_s < 15 else 1.0, seed=seed)
    return model.run(21)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("load", [1.3, 1.6, 2.0])
def test_frames_leave_within_the_budget_from_the_beginning_of_a_load_on(
    load: float, seed: int
) -> None:
    left = loaded(load, seed=seed)
    assert left.worst_p95_ms(3, 15) <= BUDGET_MS
    assert len(left.latencies_ms(0, 22)) == 630, "every real frame left"
    assert left.settled_s("lite+made", 15) <= 5.0


@pytest.mark.parametrize(("load", "most_ms"), [(6.0, 190), (8.0, 230)])
def test_where_even_the_plain_upscale_is_too_much_frames_are_left_out_but_not_late(
    load: float, most_ms: float
) -> None:
    """All links full of frames that are over their time: 250 and 300 ms for as long as that lasted."""
    left = loaded(load)
    assert left.worst_p95_ms(8, 15) <= most_ms
    # The encoder, which nothing can make cheaper, is still what decides how many there are.
    assert len(left.latencies_ms(8, 15)) >= 0.9 * 7000 / (load * 7)
    assert left.left_out > 0
    assert left.settled_s("lite+made", 15) <= 5.0


def test_what_a_stall_left_waiting_is_caught_up_with_and_nothing_is_left_out() -> None:
    def late_ms(number: int) -> float:
        return max(0.0, 90 - (number % 100) * 1000 / 30) if number >= 100 else 0.0

    left = Doubled(late_ms=late_ms).run(20)
    assert (left.left_out, left.overflowed) == (0, 0)


def test_what_came_late_at_first_holds_nothing_that_comes_sooner_later() -> None:
    """How long a frame is held is counted from its own arrival: connecting once cost a third of a
    second, which was given back within ten."""
    left = Doubled(late_ms=lambda number: max(0.0, 120 - 6.0 * number)).run(6)
    assert left.latencies_ms(1, 6)[-1] <= BUDGET_MS
