from __future__ import annotations

from functools import partial

from streamer.rungs import Rung
from streamer.trials import EASED, FIRST_PAUSE_NS, HOPELESS_NS, LONGEST_NS, PAUSE_NS, Loss, Trial

SECOND = 1_000_000_000


def pauses_s(count: int, *, is_kept: bool = False, is_hopeless: bool = False) -> list[float]:
    """Between trials of which each fails at once."""
    loss, now_ns, found = Loss.now(0), 0, list[float]()
    for _ in range(count):
        now_ns = loss.retry_ns
        loss.put_off(now_ns, is_kept=is_kept, is_hopeless=is_hopeless)
        found.append((loss.retry_ns - now_ns) / SECOND)
    return found


def test_pauses_double_to_what_a_trial_costs() -> None:
    assert pauses_s(6) == [2, 4, 8, 8, 8, 8]
    assert pauses_s(8, is_hopeless=True) == [2, 4, 8, 16, 32, 60, 60, 60]
    assert LONGEST_NS == 8 * SECOND
    assert HOPELESS_NS == 60 * SECOND


def test_what_was_kept_once_is_tried_often_unless_it_is_lost_for_long() -> None:
    kept_s = pauses_s(40, is_kept=True)
    assert kept_s[:5] == [2] + [PAUSE_NS / SECOND] * 4
    assert max(kept_s) == kept_s[-1] <= LONGEST_NS / SECOND
    assert kept_s == sorted(kept_s)
    assert kept_s[-1] > PAUSE_NS / SECOND


def test_a_trial_that_says_nothing_leaves_the_pause_as_it_is() -> None:
    loss = Loss.now(0)
    loss.put_off(SECOND, is_kept=False, is_hopeless=False)
    loss.repeat(3 * SECOND)
    assert loss.retry_ns == 3 * SECOND + FIRST_PAUSE_NS
    loss.put_off(4 * SECOND, is_kept=False, is_hopeless=False)
    assert loss.retry_ns == 8 * SECOND


def test_what_a_frame_or_two_cost_is_expected_of_a_rung_only_when_it_was_measured_twice() -> None:
    """Once, it may have been a machine that stopped for a moment."""
    asked = list[float]()

    def fits(new_ms: float) -> bool:
        asked.append(new_ms)
        return new_ms <= 15

    loss = Loss.now(0)
    for now_ns in (SECOND, 3 * SECOND):
        loss.compare(40.0, 10.0, held="lite", is_certain=False)
        loss.put_off(now_ns, is_kept=False, is_hopeless=False)
        loss.is_over(now_ns, held="lite", held_ms=10.0, fits=fits)
    assert asked == [0.0, 40.0]
    loss.compare(10.0, 10.0, held="lite", is_certain=False)
    loss.is_over(0, held="lite", held_ms=12.0, fits=fits)
    assert asked[-1] == 12.0, "the smaller one counts, and follows the load"
    loss.compare(40.0, 10.0, held="lite", is_certain=True)
    loss.is_over(0, held="lite", held_ms=10.0, fits=fits)
    assert asked[-1] == 40.0


def test_what_does_not_fit_waits_the_longest_pause_and_what_fits_the_usual_one() -> None:
    loss = Loss.now(0)
    loss.compare(20.0, 10.0, held="lite", is_certain=True)
    assert not loss.is_over(LONGEST_NS - 1, held="lite", held_ms=10.0, fits=lambda _: False)
    assert loss.is_over(LONGEST_NS, held="lite", held_ms=10.0, fits=lambda _: False)
    assert loss.is_over(FIRST_PAUSE_NS, held="lite", held_ms=10.0, fits=lambda _: True)
    assert loss.is_over(FIRST_PAUSE_NS, held="nano", held_ms=10.0, fits=lambda _: False), (
        "nothing is known beside another tier"
    )


def test_a_load_that_has_visibly_gone_ends_the_pause() -> None:
    loss = Loss.now(0)
    for _ in range(3):
        loss.put_off(SECOND, is_kept=False, is_hopeless=False)
    loss.compare(20.0, 10.0, held="lite", is_certain=True)
    gone_ms = EASED * 10.0
    assert not loss.is_over(2 * SECOND, held="lite", held_ms=gone_ms + 0.1, fits=lambda _: True)
    assert loss.is_over(2 * SECOND, held="lite", held_ms=gone_ms, fits=lambda _: True)
    loss.put_off(2 * SECOND, is_kept=False, is_hopeless=False)
    assert loss.retry_ns == 4 * SECOND, "and pauses begin anew"


def test_a_trial_owes_what_its_frames_took_beyond_the_interval() -> None:
    trial = Trial(Rung("lite"), began_ns=0, left_ms=70.0, made=1)
    assert not trial.owe(38.0, 32.0)
    assert trial.owed_ms == 6.0
    assert not trial.owe(20.0, 32.0)
    assert trial.owed_ms == 0.0
    assert trial.owe(41.0, 32.0)


def test_a_load_that_has_gone_is_an_occasion_for_one_trial() -> None:
    """One that says nothing of the rung was followed by the next at once, four times a second."""
    loss = Loss.now(0)
    loss.compare(20.0, 10.0, held="lite", is_certain=True)
    loss.put_off(SECOND, is_kept=False, is_hopeless=False)
    ask = partial(loss.is_over, held="lite", held_ms=EASED * 10.0, fits=lambda _: True)
    assert ask(2 * SECOND)
    loss.repeat(2 * SECOND)
    assert not ask(2 * SECOND + FIRST_PAUSE_NS // 2)
    assert ask(2 * SECOND + FIRST_PAUSE_NS)
